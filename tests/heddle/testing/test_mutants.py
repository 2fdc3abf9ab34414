"""The kit catches faults that are made mechanically: some of them here, all of them in the long run."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from heddle.core.errors import HeddleError

from tests.heddle.testing.campaign import campaign, caught
from tests.heddle.testing.equivalence import distinction, same_within_tolerance
from tests.heddle.testing.mutants import drawn, sources
from tests.heddle.testing.survivors import EQUIVALENT, WITHIN_TOLERANCE
from tests.heddle.testing.verdicts import Verdict, append_verdict, document, read_verdicts

RECORD = Path(__file__).parents[3] / "docs" / "vendor" / "mutants.jsonl"
KNOWN = {(backend, change) for backend, change, _ in (*EQUIVALENT, *WITHIN_TOLERANCE)}


def test_the_originals_pass():
    assert [caught(text, cases=30) for text in sources().values()] == ["", ""]


def test_there_are_enough():
    assert len({mutant.key for mutant in drawn()}) == len(drawn()) >= 200


def test_the_record_is_of_these_mutants():
    verdicts = read_verdicts(RECORD)
    assert [verdict.key for verdict in verdicts] == [mutant.key for mutant in drawn()], (
        "the scaffolds have changed: remove the record, run the campaign, and explain each new survivor"
    )
    assert {verdict.key for verdict in verdicts if not verdict.caught} == KNOWN


def test_the_page_is_what_the_record_says():
    assert RECORD.with_suffix(".md").read_text() == document(read_verdicts(RECORD))


@pytest.mark.parametrize("number", range(0, 160, 20))
def test_some_are_caught_as_recorded(number):
    mutant, verdict = drawn()[number], read_verdicts(RECORD)[number]
    assert caught(mutant.text, mutant.change.split()[0])[:40] == verdict.caught[:40]


def test_a_record_is_gone_on_with(tmp_path):
    verdicts = read_verdicts(RECORD)[:2]
    for verdict in verdicts:
        append_verdict(tmp_path / "record", verdict)
    before = read_verdicts(tmp_path / "record")
    assert before == verdicts
    assert next(campaign(before)).key == drawn()[2].key
    with pytest.raises(HeddleError, match="the record is of other mutants: remove it"):
        next(campaign([Verdict("library", "something", "")]))


def made_from(key):
    """The original's text, and a mutant's."""
    (text,) = [mutant.text for mutant in drawn() if mutant.key == key]
    return sources()[key[0]], text


@pytest.mark.parametrize(("backend", "change", "why"), EQUIVALENT, ids=lambda text: text[:24])
def test_a_survivor_is_what_it_was_made_from(backend, change, why):
    assert distinction(*made_from((backend, change)), backend) == "", why


@pytest.mark.parametrize(("backend", "change", "why"), WITHIN_TOLERANCE, ids=lambda text: text[:24])
def test_a_survivor_differs_within_the_tolerance_alone(backend, change, why):
    assert distinction(*made_from((backend, change)), backend, same_within_tolerance) == "", why
    assert distinction(*made_from((backend, change)), backend), "it belongs into EQUIVALENT"


@pytest.mark.parametrize(
    "key",
    [("library", "library_convolve 10.58: 1 -> 0"), ("codegen", "relu -1.28: [dtype('x').equals('float32')] -> []")],
)
def test_what_changes_something_is_told_apart(key):
    original, text = made_from(key)
    with contextlib.suppress(HeddleError):  # failing tells it apart as well
        assert distinction(original, text, key[0])


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_survivors_are_those_that_are_known():
    assert {verdict.key for verdict in campaign() if not verdict.caught} == KNOWN
