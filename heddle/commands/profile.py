"""`heddle profile`: where the time of a run goes, each layer on the accelerator, one timeline with host and copies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import heddle
from heddle.backends.vta.counted import counted
from heddle.backends.vta.roofline import page, roofline_svg
from heddle.backends.vta.timeline import LayerTime, timeline
from heddle.commands import arguments
from heddle.commands.arguments import Backends, Model, Settings, ShapeTexts
from heddle.commands.display import OUT
from heddle.commands.run import read_arrays
from heddle.core.errors import InputError
from heddle.core.files import write_whole
from heddle.core.runtime.profile import Profile
from heddle.inputs import random_inputs
from heddle.simulators.vta.program import from_bytes

VTA = "vta"


def command(
    model: Model,
    backends: Backends = "vta,host",
    set_: Settings = None,
    shape: ShapeTexts = None,
    inputs: Annotated[Path | None, typer.Option(help="Inputs as .npz; else random ones.")] = None,
    sim: Annotated[str, typer.Option(help="What is behind the accelerator: functional, cycle or rtl.")] = "cycle",
    count: Annotated[
        bool, typer.Option("--count", help="Count each layer's cycles at RTL; takes half as many runs as layers.")
    ] = False,
    trace: Annotated[Path | None, typer.Option(help="A timeline for https://ui.perfetto.dev.")] = None,
    roofline: Annotated[Path | None, typer.Option(help="A roofline plot as .svg.")] = None,
    report: Annotated[Path | None, typer.Option(help="A page of HTML with everything.")] = None,
) -> None:
    """Run a model and say where its time goes, per layer and ONNX node on the accelerator."""
    executable = heddle.compile(
        model, arguments.names(backends), arguments.shapes(shape), options=arguments.settings(set_),
        devices={VTA: {"sim": sim}},
    )  # fmt: skip
    arrays = random_inputs(executable.inputs, 0) if inputs is None else read_arrays(inputs)
    profile = executable.profile(*(arrays[each.name] for each in executable.inputs))
    artifacts = {step.name: step.artifact for schedule in executable.schedules for step in schedule.steps}
    told = counted if count else timeline
    layers = {name: told(artifact) for name, artifact in artifacts.items() if artifact.device == VTA}
    OUT.print(str(profile), highlight=False)
    show([layer for each in layers.values() for layer in each])
    if trace is not None:
        profile.to_perfetto(trace)
        clocks = {name: from_bytes(artifacts[name].code).config.clock_hz for name in layers}
        add_layers(trace, profile, layers, clocks)
    if roofline is None and report is None:
        return
    if not layers:
        raise InputError(f"{model}: nothing of it runs on the accelerator, there is no roofline to draw")
    config = from_bytes(artifacts[next(iter(layers))].code).config
    everything = [layer for each in layers.values() for layer in each]
    if roofline is not None:
        write_whole(roofline, roofline_svg(everything, config.beat_bytes))
    if report is not None:
        write_whole(report, page(model.name, everything, config.beat_bytes))


def show(layers: Sequence[LayerTime]) -> None:
    """Each layer's cycles, its share of the array's peak, what it waited for, its traffic."""
    table = Table("layer", "kind", "cycles", "of peak", "waits for data", "for room", "bytes", box=None)
    for layer in layers:
        used = f"{100 * layer.utilisation:.1f}%" if layer.macs else ""
        table.add_row(
            layer.name, "depthwise" if layer.depthwise else layer.kind, f"{layer.cycles:,}", used,
            f"{layer.wait_load:,}", f"{layer.wait_store:,}", f"{layer.read_bytes + layer.written_bytes:,}",
        )  # fmt: skip
    if layers:
        OUT.print(table)


def add_layers(
    path: Path, profile: Profile, layers: Mapping[str, Sequence[LayerTime]], clocks: Mapping[str, float]
) -> None:
    """Add the layers of the accelerator's steps to a trace, on a track of the accelerator's modelled time."""
    document = json.loads(path.read_text(encoding="utf-8"))
    events: list[dict[str, Any]] = document["traceEvents"]
    devices = list(dict.fromkeys(step.device for step in profile.steps))
    process = devices.index(VTA) + 2 if VTA in devices else 0
    start = 0.0
    for step in profile.steps:
        if step.device != VTA:
            continue
        scale = 1e6 / clocks[step.name]
        for layer in layers[step.name]:
            facts = {
                "nodes": list(layer.nodes), "cycles": layer.cycles, "macs": layer.macs,
                "utilisation": round(layer.utilisation, 4), "array": layer.gemm, "alu": layer.alu,
                "wait_load": layer.wait_load, "wait_store": layer.wait_store,
                "read_bytes": layer.read_bytes, "written_bytes": layer.written_bytes,
            }  # fmt: skip
            events.append({
                "ph": "X", "name": layer.name, "pid": process, "tid": 1000, "ts": start + layer.start * scale,
                "dur": layer.cycles * scale, "args": facts,
            })  # fmt: skip
        start += (step.modelled or 0.0) * 1e6 or sum(layer.cycles for layer in layers[step.name]) * scale
    if process:
        label = {"ph": "M", "name": "thread_name", "pid": process, "tid": 1000, "args": {"name": "layers of vta"}}
        events.append(label)
    write_whole(path, json.dumps(document))
