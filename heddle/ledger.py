"""The file of records of `heddle tune`, as a run reads it and adds to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heddle.core.errors import HeddleError
from heddle.core.plugin.tuning import Choice, Problem, read_records
from heddle.measure.timing import Ratio

WHOLE = "*"
"""Stands for the backend in records of what several choices are worth together."""


class Ledger:
    """What is known of problems, by backend and key: the costs of choices, and what was chosen; and what choices are
    worth together."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.costs: dict[tuple[str, str], dict[str, float | None]] = {}
        self.chosen: dict[tuple[str, str], tuple[Choice, Ratio]] = {}
        self.worth: dict[str, Ratio] = {}
        if path.exists():
            for record in read_records(path):
                self._learn(record)
            self._mend()

    def cost(self, backend: str, problem: Problem, choice: Choice, ratio: float | None) -> None:
        """Note what a choice costs as a part of the default, at a first look; None for one that cannot be had."""
        self._write({**_about(backend, problem), "choice": choice, "ratio": ratio})

    def choose(self, backend: str, problem: Problem, choice: Choice, ratio: Ratio) -> None:
        """Note what is chosen, from which all compiling takes it."""
        self._write({**_about(backend, problem), "chosen": choice, **_written(ratio)})

    def settle(self, key: str, text: str, ratio: Ratio) -> None:
        """Note what choices, which the key names, are worth together."""
        self._write({"backend": WHOLE, "problem": key, "what": text, **_written(ratio)})

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise HeddleError(f"tune: {self.path} cannot be written: {error.strerror}") from error
        self._learn(record)

    def _learn(self, record: Mapping[str, Any]) -> None:
        key = (record["backend"], record["problem"])
        if record["backend"] == WHOLE:
            self.worth[record["problem"]] = _read(record)
        elif "chosen" in record:
            self.chosen[key] = (record["chosen"], _read(record))
        else:
            self.costs.setdefault(key, {})[as_text(record["choice"])] = record["ratio"]

    def _mend(self) -> None:
        """Cut off a last line that was not written to its end, so that the next record begins a line."""
        data = self.path.read_bytes()
        if not data.endswith(b"\n"):
            self.path.write_bytes(data[: data.rfind(b"\n") + 1])


def as_text(choice: Choice) -> str:
    """A choice as a key."""
    return json.dumps(choice, sort_keys=True)


def _about(backend: str, problem: Problem) -> dict[str, str]:
    return {"backend": backend, "problem": problem.key, "what": problem.text}


def _written(ratio: Ratio) -> dict[str, float]:
    return {"ratio": ratio.median, "low": ratio.low, "high": ratio.high}


def _read(record: Mapping[str, Any]) -> Ratio:
    """A ratio of a record; those of earlier versions have no bounds."""
    return Ratio(record["ratio"], record.get("low", record["ratio"]), record.get("high", record["ratio"]))
