"""`heddle tune`: measures what the compiler otherwise decides by a model of the machine, and remembers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heddle.commands import arguments
from heddle.commands.display import OUT, print_json, print_table, progress, shorten
from heddle.measure.timing import SAME, default_core, pin
from heddle.settling import race, settle
from heddle.tune import Tuning
from heddle.tune import tune as measure


def command(
    model: arguments.Model,
    records: Annotated[
        Path | None, typer.Option("--records", "-o", help="The file of records; MODEL.tuning.jsonl by default.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so long; run again to go on.")] = None,
    core: arguments.Core = None,
    backends: arguments.Backends = "host",
    set_: arguments.Settings = None,
    strict_math: arguments.StrictMath = False,
    precision: arguments.Precision = None,
    shape: arguments.ShapeTexts = None,
    json: arguments.AsJson = False,
) -> None:
    """Choose kernels for a model by measuring them; what is found is kept in a file of records.

    The same file may serve several models. Compile with `--set host.tuning=FILE` to use it. A run that was stopped is
    taken up where it was; what the file knows is not measured again. At the end the whole model is measured with the
    records and without: while no gain is established, choices that save least go back to the defaults. What came out is
    recorded too, so that the same command gives the same choices another time, without measuring.

    Examples:

        heddle tune model.onnx

        heddle tune model.onnx --seconds 60 -o machine.jsonl

        heddle compile model.onnx --set host.tuning=model.tuning.jsonl
    """
    path = records or model.with_suffix(".tuning.jsonl")
    names, shapes, options = (
        arguments.names(backends),
        arguments.shapes(shape),
        arguments.options(set_, strict_math, precision),
    )
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
    found = _count(tuning)
    pin(where)
    tuning, worth = settle(tuning, path, lambda: race(model, path, names, shapes, options), options)
    kept = _count(tuning)
    if json:
        chosen = [
            {"backend": c.backend, "what": c.problem.text, "choice": c.choice, "ratio": c.ratio.median}
            for c in tuning.chosen
        ]
        told = {"records": str(path), "measured": tuning.measured, "open": tuning.open, "model_ratio": worth.median}
        print_json(
            {**told, "model_ratio_bounds": [worth.low, worth.high], "found": found, "kept": kept, "chosen": chosen}
        )
        return
    rows = [
        (shorten(c.problem.text, 60), f"{c.ratio.median:.2f}", shorten(str(dict(c.choice)), 90)) for c in tuning.chosen
    ]
    print_table("", ("kernel", "cost", "choice"), rows)
    OUT.print(f"{tuning.measured} measurements, {tuning.open} kernels left open, in {path}", highlight=False)
    if worth != SAME:
        bounds = f"{worth.low:.3f} to {worth.high:.3f}"
        OUT.print(f"the whole model takes {worth.median:.3f} ({bounds}) of its time without records", highlight=False)
    if kept < found:
        OUT.print(
            f"no gain was established for the whole model: {found - kept} of {found} choices went back to the defaults",
            highlight=False,
        )


def _count(tuning: Tuning) -> int:
    """How many choices differ from the default."""
    return sum(chosen.ratio != SAME for chosen in tuning.chosen)
