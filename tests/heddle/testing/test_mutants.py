"""The kit catches faults that are made mechanically: a sample of them here, all of them in the long run."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

import pytest
from heddle.core.errors import HeddleError


def beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mutants, equivalence = beside("mutants"), beside("equivalence")


def test_the_originals_pass():
    for text in mutants.sources().values():
        assert mutants.caught(text, cases=30) == ""


def test_there_are_enough():
    count = sum(len(list(mutants.mutants(text, mutants.FUNCTIONS[name]))) for name, text in mutants.sources().items())
    assert count >= 200


def made_from(name, change):
    """The original's text, and a mutant's."""
    original = mutants.sources()[name]
    (text,) = [text for told, text in mutants.mutants(original, mutants.FUNCTIONS[name]) if told == change]
    return original, text


@pytest.mark.parametrize(("name", "change", "why"), mutants.EQUIVALENT, ids=lambda text: text[:24])
def test_a_survivor_is_what_it_was_made_from(name, change, why):
    assert equivalence.distinction(*made_from(name, change), name, mutants.load) == "", why


@pytest.mark.parametrize(("name", "change", "why"), mutants.WITHIN_TOLERANCE, ids=lambda text: text[:24])
def test_a_survivor_differs_within_the_tolerance_alone(name, change, why):
    same = equivalence.same_within_tolerance
    assert equivalence.distinction(*made_from(name, change), name, mutants.load, same) == "", why
    assert equivalence.distinction(*made_from(name, change), name, mutants.load), "it belongs into EQUIVALENT"


@pytest.mark.parametrize(
    ("name", "change"),
    [("library", "library_convolve 10.58: 1 -> 0"), ("codegen", "relu -1.28: [dtype('x').equals('float32')] -> []")],
)
def test_what_changes_something_is_told_apart(name, change):
    original, text = made_from(name, change)
    with contextlib.suppress(HeddleError):  # failing tells it apart as well
        assert equivalence.distinction(original, text, name, mutants.load)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_survivors_are_those_that_are_known():
    survivors = {(name, change) for name, change, how in mutants.campaign() if not how}
    assert survivors <= {(name, change) for name, change, _ in (*mutants.EQUIVALENT, *mutants.WITHIN_TOLERANCE)}
