"""The kit catches faults that are made mechanically: a sample of them here, all of them in the long run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("mutants", Path(__file__).parent / "mutants.py")
mutants = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutants)


def test_the_originals_pass():
    for text in mutants.sources().values():
        assert mutants.caught(text, cases=30) == ""


def test_there_are_enough():
    count = sum(len(list(mutants.mutants(text, mutants.FUNCTIONS[name]))) for name, text in mutants.sources().items())
    assert count >= 200


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_survivors_are_those_that_are_known():
    survivors = {(name, change) for name, change, how in mutants.campaign(1000) if not how}
    assert survivors <= set(mutants.EQUIVALENT)
