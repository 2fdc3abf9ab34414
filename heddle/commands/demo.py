"""`heddle demo`: a real model across the accelerator and the CPU, its answer, and where each part ran."""

from __future__ import annotations

import time
from importlib.resources import as_file, files
from typing import Annotated

import numpy as np
import typer

import heddle
from heddle.commands import arguments
from heddle.commands.display import OUT, print_json, print_regions, print_table, progress
from heddle.demo.digit import digit, drawing


def command(
    backends: arguments.Backends = "vta,host",
    sim: Annotated[str, typer.Option(help="The accelerator's model: functional, cycle or rtl.")] = "cycle",
    json: arguments.AsJson = False,
) -> None:
    """Recognise a handwritten digit with a quantized MNIST classifier, across an accelerator and the CPU.

    The accelerator is simulated: its results are those of the hardware to the bit, its modelled time is the clock's.
    With `--sim rtl` the hardware description itself runs, which needs the extra `rtl`.

    Examples:

        heddle demo

        heddle demo --sim functional --json
    """
    image = digit()
    start = time.perf_counter()
    with as_file(files("heddle.demo") / "mnist_int8.onnx") as model, progress("compiling mnist") as advance:
        executable = heddle.compile(model, arguments.names(backends), devices={"vta": {"sim": sim}}, progress=advance)
    compiled = time.perf_counter() - start
    scores = executable(image)[0]
    with as_file(files("heddle.demo") / "mnist_int8.onnx") as model:
        alone = heddle.compile(model)(image)[0]
    profile = executable.profile(image)
    answer, same = int(scores.argmax()), bool(np.allclose(scores, alone, rtol=1e-4, atol=1e-4 * np.abs(alone).max()))
    if json:
        print_json(
            {
                "digit": answer,
                "scores": scores.reshape(-1).tolist(),
                "agrees_with_cpu": same,
                "plan": executable.plan.json(),
                "profile": profile.json(),
            }
        )
        return
    OUT.print(drawing(), highlight=False, markup=False)
    OUT.print(f"\nThis is a {answer}.", highlight=False)
    OUT.print(f"The CPU alone {'agrees' if same else 'DISAGREES'}.\n", highlight=False)
    OUT.print(f"Where each part ran (compiled in {compiled:.2f} s):\n", highlight=False)
    print_regions(executable.plan)
    OUT.print("\nWhat it took, in wall time here and in modelled time on the simulated device:\n", highlight=False)
    rows = [
        (
            step.name,
            step.device,
            f"{step.wall * 1e6:.0f} us",
            "" if step.modelled is None else f"{step.modelled * 1e6:.1f} us",
            ", ".join(f"{name} {value}" for name, value in list(step.counters.items())[:3]),
        )
        for step in profile.steps
    ]
    print_table("", ("region", "device", "wall", "modelled", "counted"), rows)
