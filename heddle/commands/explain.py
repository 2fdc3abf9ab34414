"""`heddle explain`: where each part of a model would run, and why not elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import heddle
from heddle.commands import arguments
from heddle.commands.display import OUT, print_json
from heddle.commands.pages import write_page, write_regions
from heddle.commands.placing import Placing, spread


@spread
def command(
    model: arguments.Model,
    placing: Placing,
    report: Annotated[Path | None, typer.Option(help="Write a page for a browser to this .html file.")] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(help="Write an ONNX model for viewers, in which each region is a function of its backend."),
    ] = None,
    json: arguments.AsJson = False,
) -> None:
    """Show which backend would compute which node of a model and why, what blocks the others, what would help most.

    A model of which something is only known when it runs is compiled part by part: its stages are shown, and this for
    each part that is known beforehand.

    Examples:

        heddle explain model.onnx --backends vta,host

        heddle explain model.onnx --backends vta,host --report plan.html

        heddle explain model.onnx --backends vta,host --place cost --json

        heddle explain model.onnx --backends vta,host --onnx regions.onnx
    """
    explanation = heddle.explain(model, placing.opened(), placing.shapes, **placing.asked)
    if report is not None:
        write_page(report, explanation)
    if onnx is not None:
        write_regions(onnx, explanation)
    if json:
        print_json(explanation.to_json())
        return
    OUT.print(str(explanation), highlight=False, markup=False, soft_wrap=True)
