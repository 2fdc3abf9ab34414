"""The conformance kit over the patterns, on a pretended GPU: program, layouts, memory plan and kernels as they are."""

from __future__ import annotations

import pytest
from heddle.backends.cudnn.backend import Cudnn

from heddle.testing import Kit
from tests.backends.cudnn import simulated

NAMES = [pattern.name for pattern in Cudnn().patterns]


def score(name: str, cases: int) -> None:
    simulated.reset()
    (found,) = (
        Kit(cases, shrinking=5).test(simulated.opened(), devices={"cudnn": simulated.device()}, only=[name]).scores
    )
    assert found.ok, f"{name}: {found.verdict}\n{found.case}"


@pytest.mark.parametrize("name", NAMES[::4])
def test_conformance(name: str) -> None:
    score(name, 2)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_conformance_at_length(name: str) -> None:
    score(name, 50)
