"""`heddle bench`: a model beside other runtimes, in one process, on one core."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from heddle.commands import arguments
from heddle.commands.display import ERR, OUT, print_json, print_table
from heddle.core.codegen import target as targets
from heddle.core.files import write_whole
from heddle.core.frontend import import_model
from heddle.courses import tensor_spec
from heddle.inputs import random_inputs
from heddle.measure import report
from heddle.measure.compare import compare
from heddle.measure.peers import chosen_peers
from heddle.measure.timing import default_core, pin


def command(
    models: arguments.Models,
    against: Annotated[
        str | None,
        typer.Option(help="Peers, separated by commas, or nothing; every known one that is installed by default."),
    ] = None,
    core: arguments.Core = None,
    rounds: arguments.Rounds = 9,
    clock: arguments.Clock = "wall",
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of every runtime; more than one are not pinned to a core.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="The seed of the inputs.")] = 0,
    shape: arguments.ShapeTexts = None,
    set_: arguments.Settings = None,
    strict_math: arguments.StrictMath = False,
    precision: arguments.Precision = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to this .md file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a plot of the ratios to this .svg file.")] = None,
    json: arguments.AsJson = False,
) -> None:
    """Measure models beside other runtimes: one thread on one core, or --threads, in turns, medians.

    A ratio above 1 says by how much Heddle is faster. The share of the peak counts the multiplications of the model
    as written; minimal filtering does with fewer.

    Examples:

        heddle bench model.onnx

        heddle bench model.onnx --against onnxruntime,openvino --core 1 --json

        heddle bench a.onnx b.onnx --plot ratios.svg --strict-math
    """
    peers = chosen_peers(None if against is None else arguments.names(against))
    if threads > 1 and core is not None:
        raise typer.BadParameter("one core is for one thread: leave --core or --threads out", param_hint="--core")
    pinned = pin(default_core() if core is None else core) if threads == 1 else None
    done = []
    settings, shapes = arguments.options(set_, strict_math, precision), arguments.shapes(shape)
    for path in models:
        ERR.print(f"measuring {path.name}", highlight=False, markup=False)
        feed = random_inputs(list(map(tensor_spec, import_model(path, shapes).inputs)), seed)
        how: dict[str, Any] = {"rounds": rounds, "clock": clock, "options": settings, "threads": threads}
        done.append(compare(path.stem, onnx.load(path), feed, peers, **how))
    for target, text in ((markdown, report.markdown), (plot, report.svg)):
        if target is not None:
            write_whole(target, text(done))
    host = targets.host()
    where = {"machine": platform.machine(), "cpu": host.cpu, "core": pinned, "threads": threads, "clock": clock}
    if json:
        print_json({**where, "rounds": rounds, "models": [each.json() for each in done], "means": report.means(done)})
        return
    print_table("", report.columns(peers), map(report.row, done))
    cores = f"core {pinned}, one thread" if threads == 1 else f"{threads} threads"
    OUT.print(f"{host.cpu}, {cores}, medians of {rounds} rounds ({clock})", highlight=False)
    if len(done) > 1:
        for peer, mean in report.means(done).items():
            OUT.print(f"geometric mean of the ratios to {peer}: {mean:.2f}", highlight=False)
