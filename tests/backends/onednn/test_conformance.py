"""The conformance kit over every pattern: a few cases of some in each run of the tests, all of them in a campaign."""

from __future__ import annotations

import pytest

from heddle.testing import Kit, Score
from tests.backends.onednn.comparing import missing, needs_library

pytestmark = needs_library


def names() -> list[str]:
    """The patterns of the backend, none where the library is missing."""
    if missing():
        return []
    from heddle.backends.onednn.backend import Onednn

    return [pattern.name for pattern in Onednn().patterns]


def score(name: str, cases: int) -> Score:
    (found,) = Kit(cases, shrinking=5).test("onednn", only=[name]).scores
    return found


ALIKE = frozenset((
    *("tanh", "elu", "abs", "exp", "leakyrelu", "hardswish", "softplus", "mish", "neg", "sub", "mul", "div", "min"),
    *("reducesum", "reducemin", "reduceprod", "reducel2", "reducesumsquare", "log_softmax", "global_max_pool"),
))  # fmt: skip
"""Patterns that are made by the same lines as another; the campaign has them."""


@pytest.mark.parametrize("name", [name for name in names() if name not in ALIKE])
def test_conformance(name: str) -> None:
    found = score(name, 3)
    assert found.ok, f"{name}: {found.verdict}\n{found.case}"


@pytest.mark.long
@pytest.mark.parametrize("name", names())
def test_whole_conformance(name: str) -> None:
    """As `heddle plugins test onednn` does."""
    found = score(name, 200)
    assert found.ok, f"{name}: {found.verdict}\n{found.case}"
