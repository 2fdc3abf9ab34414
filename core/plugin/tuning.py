"""What a backend leaves to measurement, and the records from which compiling takes what was chosen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from heddle.core.errors import BackendError
from heddle.core.plugin.backend import Region

Choice = Mapping[str, Any]
"""One way to do something, as a value for JSON."""


@dataclass(frozen=True)
class Problem:
    """Something that can be done in several ways.

    Equal keys stand for the same problem on the same machine, whatever model it is in. `text` is for people, `payload`
    is the backend's own and crosses to other processes, `weight` is how much time it is expected to take.
    """

    key: str
    text: str
    payload: Any
    weight: float = 1.0


@runtime_checkable
class Tunable(Protocol):
    """A backend with choices to be measured; its `Options` have a field `tuning`, the path of records."""

    def problems(self, region: Region) -> Sequence[Problem]:
        """What there is to choose in a region, once for each place where it occurs."""
        ...

    def candidates(self, problem: Problem) -> Sequence[Choice]:
        """The choices worth measuring, first the one that is made without records."""
        ...

    def measurement(self, problem: Problem, choice: Choice) -> Callable[[], float]:
        """Prepare one choice; each call measures what it costs, in any unit. Called in a process of its own."""
        ...


def is_exact(backend: object) -> bool:
    """Whether a backend's measurements are the same each time, as its attribute `exact` says; by default they are not.

    Any gain then counts, and nothing is learnt from running whole models.
    """
    return bool(getattr(backend, "exact", False))


def read_choices(path: str | os.PathLike[str], backend: str) -> dict[str, Choice]:
    """What was chosen for each problem of a backend, by its key; BackendError when the file holds no records."""
    return {
        record["problem"]: record["chosen"]
        for record in read_records(path)
        if record["backend"] == backend and "chosen" in record
    }


def read_records(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a file, a JSON object in each line; a last line that was cut off while it was written is left out.

    BackendError when the file cannot be read, or holds anything else.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"tuning: {path} cannot be read: {error}") from error
    records = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("backend"), str) or "problem" not in record:
            raise BackendError(f"tuning: {path}, line {number} is no record; `heddle tune` writes such files")
        records.append(record)
    return records
