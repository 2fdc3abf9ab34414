"""`heddle compile`: an ONNX model in, one file out that runs without a compiler."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

import heddle
from heddle.commands import arguments
from heddle.commands.display import OUT, print_json, print_memory, print_regions, progress, size
from heddle.commands.pages import write_page
from heddle.commands.placing import Placing, spread
from heddle.commands.run import read_arrays
from heddle.compiler import Decisions
from heddle.core.runtime.host import unfit
from heddle.inputs import gathered


@spread
def command(
    model: arguments.Model,
    placing: Placing,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; MODEL.heddle by default.")
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(
            help="Inputs as .npz, to run once: what is only known when the model runs is compiled for what they need."
        ),
    ] = None,
    on_fault: Annotated[
        str | None, typer.Option(help="`host` adds host code for every region, which answers when a device fails.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="A value inside the model to give out as a further output.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write where each node runs, and why, as a page for a browser to this .html file."),
    ] = None,
    json: arguments.AsJson = False,
) -> None:
    """Compile an ONNX model across backends into one file.

    The file holds the code of every region and the weights; `heddle run` and `heddle.load` need no compiler for it.

    Examples:

        heddle compile model.onnx

        heddle compile model.onnx -o model.heddle --backends vta,host --set vta.config=large

        heddle compile model.onnx --shape input=1,3,224,224 --strict --json

        heddle compile loop.onnx --example inputs.npz

        heddle compile model.onnx --backends vta,host --report plan.html
    """
    start = time.perf_counter()
    opened, decisions = placing.opened(), Decisions()
    with progress(f"compiling {model.name}") as advance:
        executable = heddle.compile(
            model,
            opened,
            placing.shapes,
            **placing.asked,
            on_fault=on_fault,
            keep=tuple(keep or ()),
            progress=advance,
            decisions=decisions,
        )
    if example is not None:
        executable(**gathered(executable.inputs, read_arrays(example)))
    if not executable.programs:
        open_dims = ", ".join(f"{spec.name}: {spec}" for spec in executable.inputs)
        remedy = "fix them with --shape or --example"
        raise heddle.InputError(f"{model}: its inputs have open dimensions ({open_dims}); {remedy}")
    waiting = executable.plan.waiting
    target = output or model.with_suffix(".heddle")
    executable.save(target)
    if report is not None:
        write_page(report, decisions.explanation(opened, placing.demands))
    seconds, written = time.perf_counter() - start, target.stat().st_size
    # Only then is nothing to be opened to know it: other devices, and processors, may be away while a model is compiled
    # for them.
    artifacts = [step.artifact for schedule in executable.schedules for step in schedule.steps]
    on_host = all(artifact.device == "host" and not unfit(artifact) for artifact in artifacts)
    if json:
        what = {"memory": executable.memory.json()} if on_host else {}
        what |= {"plan": executable.plan.json()}
        print_json({"file": str(target), "bytes": written, "seconds": seconds, **what})
        return
    print_regions(executable.plan)
    if on_host:
        print_memory(executable.memory)
    if waiting:
        OUT.print(
            f"{', '.join(waiting)}: not compiled, since what they need is only known when the model runs;"
            " the file cannot run them unless it is compiled with --example inputs.npz",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    OUT.print(f"wrote {target} ({size(written)}) in {seconds:.2f} s", highlight=False, markup=False, soft_wrap=True)
