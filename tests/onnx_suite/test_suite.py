"""ONNX's own test cases: by the operators' meaning and by the code that the host generates; ledgers say which pass."""

from __future__ import annotations

import onnx
import pytest

from tests.onnx_suite.cases import cases
from tests.onnx_suite.ledger import BACKENDS, STATUSES, outcome, read

LEDGERS = {name: read(name) for name in BACKENDS}
LEAST = {"reference": 1820, "host": 1730}
"""How many cases must pass, whatever the ledgers say; those in which the runtime has a part do not count."""


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in LEDGERS for case in LEDGERS[name].outcomes])
def test_case(name, case):
    if case not in cases():
        pytest.skip(f"onnx {onnx.__version__} has no such case")
    expected, found = LEDGERS[name].outcomes[case], outcome(BACKENDS[name], cases()[case])
    assert found.status == expected.status, (
        f"{found.status} {found.reason!r}, the ledger says {expected.status};"
        f" if that is right, python -m tests.onnx_suite.ledger {name}"
    )


@pytest.mark.parametrize("name", LEDGERS)
def test_the_ledger_lists_every_case(name):
    if onnx.__version__ != LEDGERS[name].onnx:
        pytest.skip(f"the ledger lists the cases of onnx {LEDGERS[name].onnx}")
    assert LEDGERS[name].outcomes.keys() == cases().keys()
    assert sum(map(LEDGERS[name].count, STATUSES)) == len(cases())


@pytest.mark.parametrize("name", LEDGERS)
def test_the_count_does_not_fall(name):
    assert LEDGERS[name].count("pass") >= LEAST[name]
