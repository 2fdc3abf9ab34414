"""`heddle calibrate`: measures regions on this machine's devices, and corrects what backends estimate."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated

import typer

import heddle
from heddle.commands import arguments
from heddle.commands.display import OUT, print_json, print_table
from heddle.commands.random_inputs import random_inputs
from heddle.compiler import open_backends
from heddle.core.plugin import Region, estimate
from heddle.core.plugin.calibration import Correction, Sample, refit, write_record
from heddle.partition.plan import duration


def command(
    models: Annotated[list[Path], typer.Argument(help="ONNX models to measure.", metavar="MODEL.onnx...")],
    backends: arguments.Backends = "host",
    repeat: Annotated[int, typer.Option(min=1, help="Run each so many times; the median counts.")] = 9,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The record; in the cache by default.")] = None,
    json: arguments.AsJson = False,
) -> None:
    """Run models region by region, hold the times against the estimates, and write corrections for `--place cost`.

    Examples:

        heddle calibrate model.onnx

        heddle calibrate model.onnx other.onnx --backends onednn,host --json
    """
    opened = {backend.name: backend for backend in open_backends(arguments.names(backends))}
    samples: list[Sample] = []
    for model in models:
        plan = heddle.plan(model, list(opened.values()))
        with heddle.compile(model, list(opened.values())) as executable:
            inputs = random_inputs(executable.inputs)
            executable(**inputs)
            steps = executable.profile(**inputs, repeat=repeat).steps
        for region in plan.regions:
            times = [s.wall if s.modelled is None else s.modelled for s in steps if s.name == region.name]
            if times:
                predicted = estimate(opened[region.backend], Region(region.name, region.backend, region.body)).compute
                samples.append(Sample(region.backend, region.name, predicted, statistics.median(times)))
    found = refit(samples)
    path = write_record(found, output)
    if json:
        corrected = {name: {"scale": c.scale, "launch": c.launch} for name, c in found.items()}
        print_json({"record": str(path), "corrections": corrected, "samples": [vars(s) for s in samples]})
        return
    rows = [
        (s.region, s.backend, duration(s.predicted), duration(s.measured), duration(_corrected(found, s)))
        for s in samples
    ]
    print_table("", ("region", "backend", "predicted", "measured", "corrected"), rows)
    OUT.print(f"\nwritten to {path}", highlight=False, soft_wrap=True)


def _corrected(found: dict[str, Correction], sample: Sample) -> float:
    return found[sample.backend].applied(heddle.Cost(sample.predicted)).seconds
