"""The conformance kit, as it is shipped, over every mutant of two sample backends; what came of each is kept.

    python -m tests.heddle.testing.campaign --record docs/vendor/mutants.jsonl

goes on where the record ends, and writes the page beside it. `--count 50` runs so many mutants.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from heddle.core.errors import HeddleError
from heddle.core.files import write_whole
from heddle.core.plugin import patterns_of

from heddle.testing import Kit
from heddle.testing.report import LEAST
from tests.heddle.testing.mutants import drawn, load
from tests.heddle.testing.verdicts import Verdict, append_verdict, document, read_verdicts

RECORD = Path("docs/vendor/mutants.jsonl")


def caught(text: str, changed: str = "", cases: int = LEAST) -> str:
    """How the kit catches a backend given as text, by the first pattern that fails; nothing when it does not.

    The pattern whose own conditions were `changed` is tried first: one that fails is enough.
    """
    kit = Kit(cases, shrinking=0)
    try:
        backend, device = load(text)
        names = sorted((pattern.name for pattern in patterns_of(backend)), key=lambda name: name != changed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in names:
                report = kit.test(backend, devices={backend.name: device}, only=[name])
                if not report.ok:
                    return report.scores[0].verdict
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    return ""


def campaign(after: Sequence[Verdict] = ()) -> Iterator[Verdict]:
    """The verdicts on all mutants, in the order of the seed, that come after those which are there."""
    mutants = drawn()
    if [verdict.key for verdict in after] != [mutant.key for mutant in mutants[: len(after)]]:
        raise HeddleError("the record is of other mutants: remove it")
    for mutant in mutants[len(after) :]:
        how = caught(mutant.text, changed=mutant.change.split()[0])
        yield Verdict(*mutant.key, how.partition("\n")[0][:200])


def main() -> None:
    parser = argparse.ArgumentParser(description="the conformance kit over backends that were changed mechanically")
    parser.add_argument("--record", type=Path, default=RECORD, help="what was found; goes on with it if it is there")
    parser.add_argument("--count", type=int, help="how many mutants to run now; all that are left when left out")
    given = parser.parse_args()
    before = read_verdicts(given.record) if given.record.exists() else []
    for verdict in islice(campaign(before), given.count):
        append_verdict(given.record, verdict)
        print(f"{verdict.backend}: {verdict.change}: {verdict.caught or 'passes'}", flush=True)
    write_whole(given.record.with_suffix(".md"), document(read_verdicts(given.record)))


if __name__ == "__main__":
    main()
