"""`heddle verify`: a model on its backends against the reference, region by region."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from heddle.commands import arguments
from heddle.commands.display import OUT, print_json, print_table, shorten
from heddle.commands.placing import Placing, spread
from heddle.commands.run import read_arrays
from heddle.verification import verify


@spread
def command(
    model: arguments.Model,
    placing: Placing,
    inputs: Annotated[
        Path | None, typer.Option(help="A .npz file with an array for each input, by name, as for `heddle run`.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of inputs that are made up.")] = 0,
    save: Annotated[Path, typer.Option(help="The folder for the parts that differ.")] = Path("verify"),
    device: arguments.Devices = None,
    json: arguments.AsJson = False,
) -> None:
    """Run each region on its device with the reference's inputs, and compare; the exit code is 1 when one differs.

    Of a model that is compiled part by part, the regions of each part are compared, for the shapes and values that
    reach it.

    Examples:

        heddle verify model.onnx --backends vta,host

        heddle verify model.onnx --backends mine,host --inputs x.npz --json
    """
    found = verify(
        model,
        placing.opened(),
        None if inputs is None else read_arrays(inputs),
        placing.shapes,
        **placing.asked,
        devices=arguments.device_options(device),
        folder=save,
        seed=seed,
    )
    if json:
        print_json({"ok": found.ok, "regions": [asdict(verdict) for verdict in found.regions]})
    else:
        rows = [(v.region, v.backend, shorten(", ".join(v.nodes)), v.difference or "ok") for v in found.regions]
        print_table("", ("region", "backend", "nodes", "verdict"), rows)
        if found.first is not None:
            first = found.first
            OUT.print(f"\nthe first that differs is {first.region}, at node {first.node!r}", highlight=False)
            OUT.print(f"its smallest part that differs is in {first.model}", highlight=False, soft_wrap=True)
    if not found.ok:
        raise typer.Exit(1)
