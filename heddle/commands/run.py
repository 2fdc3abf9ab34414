"""`heddle run`: a model, or a compiled file, over inputs from a file or at random."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

import heddle
from heddle.commands import arguments
from heddle.commands.display import OUT, numbers, print_arrays, print_json, print_memory, progress
from heddle.commands.placing import Placing, spread
from heddle.core.runtime.file import is_compiled
from heddle.inputs import flattened, gathered, random_inputs


@spread
def command(
    model: Annotated[
        Path, typer.Argument(help="An ONNX model or a compiled file.", metavar="MODEL", show_default=False)
    ],
    placing: Placing,
    inputs: Annotated[
        Path | None,
        typer.Option(help="A .npz file with an array for each input, by name; a sequence `s` as `s.0`, `s.1`, ..."),
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Make inputs up, from --seed.")] = False,
    seed: Annotated[int, typer.Option(help="The seed of --random.")] = 0,
    outputs: Annotated[Path | None, typer.Option(help="Write the outputs to this .npz file.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Run so many times, and say how long a run takes.")] = 1,
    profile: Annotated[Path | None, typer.Option(help="Write a trace of each step for ui.perfetto.dev.")] = None,
    device: arguments.Devices = None,
    threads: arguments.Threads = None,
    json: arguments.AsJson = False,
) -> None:
    """Run an ONNX model or a compiled file.

    An ONNX model is compiled first, for --backends; a compiled file runs as it is, and options of the compiler do not
    apply.

    Examples:

        heddle run model.heddle --inputs x.npz --outputs y.npz

        heddle run model.onnx --random --repeat 100

        heddle run model.heddle --random --device vta.sim=rtl --profile trace.json
    """
    if (inputs is None) != random:
        raise typer.BadParameter("give either --inputs x.npz or --random")
    devices = arguments.device_options(device)
    if is_compiled(model) or model.suffix == ".heddle":
        if placing != Placing():
            raise typer.BadParameter(f"{model} is compiled: options of the compiler do not apply")
        executable = heddle.load(model, devices, threads=threads)
    else:
        with progress(f"compiling {model.name}") as advance:
            executable = heddle.compile(
                model,
                placing.opened(),
                placing.shapes,
                **placing.asked,
                devices=devices,
                threads=threads,
                progress=advance,
            )
    arrays = (
        random_inputs(executable.inputs, seed) if inputs is None else gathered(executable.inputs, read_arrays(inputs))
    )
    results = executable(**arrays)
    given = flattened(results.items())
    times = []
    for _ in range(repeat if repeat > 1 else 0):
        start = time.perf_counter()
        executable(**arrays)
        times.append(time.perf_counter() - start)
    if profile is not None:
        executable.profile(**arrays, repeat=repeat).to_perfetto(profile)
    if outputs is not None:
        write_arrays(outputs, given)
    if json:
        what = {"memory": executable.memory.json(), "plan": executable.plan.json()}
        timing = {"median_seconds": statistics.median(times), "least_seconds": min(times)} if times else {}
        print_json({"outputs": numbers(given.items()), "runs": repeat, **timing, **what})
        return
    print_arrays(given.items())
    print_memory(executable.memory)
    if times:
        median, least = statistics.median(times) * 1e3, min(times) * 1e3
        OUT.print(f"{repeat} runs: median {median:.4g} ms, least {least:.4g} ms", highlight=False)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file by name; nothing is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError) as error:
        raise heddle.InputError(f"{path}: cannot be read as .npz: {error}; numpy.savez writes such files") from error


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write a .npz file."""
    try:
        with open(path, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type] # names of the model, not options
    except OSError as error:
        raise heddle.InputError(f"{path}: cannot be written: {error.strerror}") from error
