"""`heddle calibrate`: measures regions and links of this machine's devices, and corrects what backends estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import heddle
from heddle.commands import arguments
from heddle.commands.display import ERR, OUT, print_json, print_table
from heddle.commands.run import read_arrays
from heddle.compiler import open_backends
from heddle.core.plugin.calibration import Record, write_record
from heddle.measure.calibrating import Calibration, Effort
from heddle.measure.fitting import Sample
from heddle.partition.plan import duration

_DEFAULT = Effort()


def command(
    models: arguments.Models,
    backends: arguments.Backends = "host",
    set_: arguments.Settings = None,
    rounds: arguments.Rounds = _DEFAULT.rounds,
    seconds: Annotated[float, typer.Option(min=0.0, help="So long is a turn.")] = _DEFAULT.seconds,
    clock: arguments.Clock = _DEFAULT.clock,
    pieces: Annotated[
        int, typer.Option(min=0, help="Measure so many nodes and matches by themselves, the heaviest of each model.")
    ] = _DEFAULT.pieces,
    example: Annotated[
        Path | None,
        typer.Option(
            help="Inputs as .npz for a model that is compiled part by part: each part is measured as they reach it."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The record; in the cache by default.")] = None,
    json: arguments.AsJson = False,
) -> None:
    """Measure models region by region, and the links to devices; `--place cost` prices by what was measured.

    The plans on the host alone, by order and greedily are measured, pieces of the model, and then the plans by cost
    until one is chosen whose regions are all measured. The record takes the place of the one before; it is read from
    HEDDLE_CALIBRATION, else from the cache. `heddle explain` shows predictions beside measurements. A model that is
    compiled part by part is run once, and each part is measured for the shapes and values that come to it first.

    Examples:

        heddle calibrate model.onnx

        heddle calibrate model.onnx other.onnx --backends onednn,host --clock cpu --json

        heddle calibrate loop.onnx --example inputs.npz
    """
    if example is not None and len(models) > 1:
        raise heddle.HeddleError(f"calibrate: --example gives the inputs of one model, {len(models)} are named")
    given = None if example is None else read_arrays(example)
    opened = open_backends(arguments.names(backends), arguments.settings(set_))
    with Progress(console=ERR, transient=True) as bar:
        task = bar.add_task("calibrate", total=None)
        effort = Effort(rounds, seconds, clock, pieces)
        calibration = Calibration(opened, effort=effort, tell=lambda what: bar.update(task, description=what))
        calibration.measure_links()
        for model in models:
            calibration.measure(model.stem, model, given)
    record = calibration.record
    path = write_record(record, output)
    if json:
        print_json(
            {
                "path": str(path),
                "digest": record.digest(),
                "record": record.json(),
                "samples": [vars(sample) for sample in calibration.samples],
                "settled": calibration.settled,
            }
        )
        return
    _show(calibration.samples, record)
    for model_name, settled in calibration.settled.items():
        if not settled:
            OUT.print(f"{model_name}: after {effort.plans} plans by cost, the last has regions that are not measured")
    OUT.print(f"\nwritten to {path}, digest {record.digest()}", highlight=False, soft_wrap=True)


def _show(samples: list[Sample], record: Record) -> None:
    rows = []
    for sample in samples:
        correction = record.corrections[sample.backend]
        corrected = correction.seconds(sample.parts) + correction.launch
        times = (sample.predicted, corrected, sample.measured)
        rows.append((sample.region, sample.backend, str(sample.nodes), *map(duration, times)))
    print_table("", ("region", "backend", "nodes", "declared", "corrected", "measured"), rows)
    OUT.print()
    links = [(name, duration(link.latency), f"{link.bandwidth / 1e9:.3g} GB/s") for name, link in record.links.items()]
    if links:
        print_table("", ("link", "latency", "bandwidth"), links)
        OUT.print()
    rows = [
        (
            name,
            duration(correction.launch),
            f"{correction.error:.0%}",
            ", ".join(f"{part} x{scale:.2f}" for part, scale in correction.scales.items()),
        )
        for name, correction in record.corrections.items()
    ]
    print_table("", ("backend", "launch", "typical error", "corrections"), rows)
