"""`heddle tune`: measures what the compiler otherwise decides by a model of the machine, and remembers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from numpy.typing import NDArray

import heddle
from heddle.commands import arguments
from heddle.commands.display import OUT, print_json, print_table, progress, shorten
from heddle.core.plugin import get_backend
from heddle.core.plugin.tuning import is_exact
from heddle.inputs import random_inputs
from heddle.measure.timing import default_core, interleaved
from heddle.tune import Tuning, settle
from heddle.tune import tune as measure


def command(
    model: arguments.Model,
    records: Annotated[
        Path | None, typer.Option("--records", "-o", help="The file of records; MODEL.tuning.jsonl by default.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so long; run again to go on.")] = None,
    core: Annotated[int | None, typer.Option(help="The core to measure on; the last one by default.")] = None,
    backends: arguments.Backends = "host",
    set_: arguments.Settings = None,
    strict_math: arguments.StrictMath = False,
    shape: arguments.ShapeTexts = None,
    json: arguments.AsJson = False,
) -> None:
    """Choose kernels for a model by measuring them; what is found is kept in a file of records.

    The same file may serve several models. Compile with `--set host.tuning=FILE` to use it. A run that was stopped is
    taken up where it was; what the file knows is not measured again. At the end the whole model is measured with the
    records and without: while it is slower with them, those that gain least go back to the defaults.

    Examples:

        heddle tune model.onnx

        heddle tune model.onnx --seconds 60 -o machine.jsonl

        heddle compile model.onnx --set host.tuning=model.tuning.jsonl
    """
    path = records or model.with_suffix(".tuning.jsonl")
    names, shapes, options = arguments.names(backends), arguments.shapes(shape), arguments.options(set_, strict_math)
    where = default_core() if core is None else core
    with progress(f"tuning {model.name}") as advance:
        tuning = measure(
            model,
            path,
            names,
            shapes,
            options=options,
            seconds=seconds,
            core=where,
            progress=lambda what, done, total: advance(shorten(what, 40), done, total),
        )
    found = sum(chosen.ratio != 1.0 for chosen in tuning.chosen)
    tuning, ratio = settle(tuning, path, lambda kept: _whole(model, path, names, shapes, options, kept), options)
    kept = sum(chosen.ratio != 1.0 for chosen in tuning.chosen)
    if json:
        chosen = [
            {"backend": c.backend, "what": c.problem.text, "choice": c.choice, "ratio": c.ratio} for c in tuning.chosen
        ]
        told = {"records": str(path), "measured": tuning.measured, "open": tuning.open, "model_ratio": ratio}
        print_json({**told, "found": found, "kept": kept, "chosen": chosen})
        return
    rows = [(shorten(c.problem.text, 60), f"{c.ratio:.2f}", shorten(str(dict(c.choice)), 90)) for c in tuning.chosen]
    print_table("", ("kernel", "cost", "choice"), rows)
    OUT.print(f"{tuning.measured} measurements, {tuning.open} kernels left open, in {path}", highlight=False)
    OUT.print(f"the whole model takes {ratio:.3f} of its time without records", highlight=False)
    if kept < found:
        OUT.print(
            f"with all of them it was slower: {found - kept} of {found} went back to the defaults", highlight=False
        )


def _whole(
    model: Path,
    path: Path,
    backends: list[str],
    shapes: dict[str, list[int | str]] | None,
    options: dict[str, dict[str, Any]],
    tuning: Tuning,
) -> float:
    """The time of the model with the records over that without; 1.0 where none of them can have made it slower."""
    changed = {chosen.backend for chosen in tuning.chosen if chosen.ratio != 1.0}
    changed = {name for name in changed if not is_exact(get_backend(name))}
    if not changed:
        return 1.0
    proto = onnx.load(model)
    tuned = {name: {**options.get(name, {}), "tuning": str(path)} for name in changed}
    plain = {name: {k: v for k, v in fields.items() if k != "tuning"} for name, fields in options.items()}
    without = heddle.compile(proto, backends, shapes, options=plain)
    with_ = heddle.compile(proto, backends, shapes, options={**plain, **tuned})
    feed = random_inputs(without.inputs)
    _agree(without(**feed), with_(**feed), path)
    times = interleaved({"without": lambda: without(**feed), "with": lambda: with_(**feed)}, 15, 0.05, "cpu")
    return times["with"] / times["without"]


def _agree(left: Any, right: Any, path: Path) -> None:
    for name, array in left.items():
        other: NDArray[Any] = right[name]
        if array.dtype.kind == "f" and array.size:
            away = float(np.abs(array.astype(np.float64) - other).max())
            if not away <= 1e-3 * float(np.abs(array).max()):
                raise heddle.HeddleError(
                    f"tune: output {name!r} differs by {away:.2g} with the records; remove {path} and report it"
                )
