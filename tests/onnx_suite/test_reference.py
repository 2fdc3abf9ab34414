"""What operators mean, against ONNX's own test cases."""

from __future__ import annotations

import onnx
import pytest

from tests.onnx_suite.backend import Reference
from tests.onnx_suite.cases import cases
from tests.onnx_suite.ledger import STATUSES, outcome, read

LEDGER = read("reference")
LEAST = 1820
"""How many cases must pass, whatever the ledger says."""


@pytest.mark.parametrize("name", LEDGER.outcomes)
def test_case(name):
    if name not in cases():
        pytest.skip(f"onnx {onnx.__version__} has no such case")
    expected, found = LEDGER.outcomes[name], outcome(Reference, cases()[name])
    assert found.status == expected.status, f"{found.status}: {found.reason}; the ledger says {expected}"


@pytest.mark.skipif(onnx.__version__ != LEDGER.onnx, reason=f"the ledger lists the cases of onnx {LEDGER.onnx}")
def test_the_ledger_lists_every_case():
    assert LEDGER.outcomes.keys() == cases().keys()
    assert sum(map(LEDGER.count, STATUSES)) == len(cases())


def test_the_count_does_not_fall():
    assert LEDGER.count("pass") >= LEAST
