"""Which of the choices that were tuned are worth keeping in a whole model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from heddle.compiler import Options, Shapes, compile
from heddle.core.errors import HeddleError
from heddle.core.plugin import get_backend
from heddle.core.plugin.tuning import Tunable, is_exact
from heddle.core.runtime.outputs import Outputs
from heddle.inputs import random_inputs
from heddle.ledger import Ledger, as_text
from heddle.measure.timing import SAME, Ratio, paired, ratio_of
from heddle.tune import Chosen, Tuning, untuned

PAIRS, ROUNDS, SECONDS = 15, 11, 0.02
"""Executables differ by some percent by where their memory happens to lie, equal ones too: so many are compared."""


def settle(
    tuning: Tuning, records: Path, whole: Callable[[], Ratio], options: Options | None = None
) -> tuple[Tuning, Ratio]:
    """The choices that are kept in a whole model, and its cost with them as a part of that without.

    `whole` measures that cost by the file of records. As long as no gain is established, the half of the choices that
    saved least by themselves go back to the defaults, and records say so. What was measured is recorded as well: who
    settles the same choices again measures nothing. Exact costs of kernels are not doubted.
    """
    ledger, plain = Ledger(records), untuned(options or {})
    while doubted := [c for c in tuning.chosen if c.ratio != SAME and not is_exact(_opened(c.backend, plain))]:
        key = _key(tuning)
        if key not in ledger.worth:
            ledger.settle(key, f"{len(doubted)} choices together", whole())
        if ledger.worth[key].gains:
            return tuning, ledger.worth[key]
        doubted.sort(key=lambda c: c.problem.weight * (1 - c.ratio.median))
        weak = {id(c): _reverted(c, ledger, plain) for c in doubted[: -(-len(doubted) // 2)]}
        tuning = replace(tuning, chosen=tuple(weak.get(id(c), c) for c in tuning.chosen))
    return tuning, SAME


def _reverted(chosen: Chosen, ledger: Ledger, options: Options) -> Chosen:
    """The default for a problem; a further record says that it is chosen."""
    default = _opened(chosen.backend, options).candidates(chosen.problem)[0]
    ledger.choose(chosen.backend, chosen.problem, default, SAME)
    return replace(chosen, choice=default, ratio=SAME)


def _opened(backend: str, options: Options) -> Any:
    return get_backend(backend, options.get(backend))


def _key(tuning: Tuning) -> str:
    """What names these choices for these problems."""
    named = sorted((c.backend, c.problem.key, c.problem.weight, as_text(c.choice)) for c in tuning.chosen)
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:24]


def race(
    model: Path, records: Path, backends: Sequence[str], shapes: Shapes | None, options: Options | None = None
) -> Ratio:
    """The time of a model with the records of inexact backends as a part of its time without, the processor's own.

    Each of its rounds is a pair of executables, made anew, one with the records and one without.
    """
    proto, plain = onnx.load(model), untuned(options or {})
    told = {name: {**plain.get(name, {}), "tuning": str(records)} for name in backends if _doubtful(name, plain)}

    def compared(number: int) -> float:
        sides: list[dict[str, Any]] = [{**plain, **told}, dict(plain)]
        made = [compile(proto, backends, shapes, options=side) for side in (sides if number % 2 else sides[::-1])]
        tuned, without = made if number % 2 else made[::-1]
        feed = random_inputs(without.inputs)
        with tuned, without:
            _agree(without(**feed), tuned(**feed), records)
            return paired(lambda: tuned(**feed), lambda: without(**feed), ROUNDS, SECONDS).median

    return ratio_of([compared(number) for number in range(PAIRS)])


def _doubtful(name: str, options: Options) -> bool:
    """Whether a backend is tuned by measurements that differ from one time to the next."""
    opened = _opened(name, options)
    return isinstance(opened, Tunable) and not is_exact(opened)


def _agree(left: Outputs, right: Outputs, records: Path) -> None:
    for name, array in left.items():
        if array.dtype.kind == "f" and array.size:
            away = float(np.abs(array.astype(np.float64) - right[name]).max())
            if not away <= 1e-3 * float(np.abs(array).max()):
                raise HeddleError(
                    f"tune: output {name!r} differs by {away:.2g} with the records; remove {records} and report it"
                )
