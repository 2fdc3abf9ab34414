"""`heddle explain`: where each part of a model would run, and why not elsewhere."""

from __future__ import annotations

import heddle
from heddle.commands import arguments
from heddle.commands.display import OUT, print_json, print_table, shorten


def command(
    model: arguments.Model,
    backends: arguments.Backends = "host",
    place: arguments.Place = "order",
    set_: arguments.Settings = None,
    shape: arguments.ShapeTexts = None,
    pin: arguments.Pins = None,
    exclude: arguments.Exclusions = None,
    strict: arguments.Strict = False,
    json: arguments.AsJson = False,
) -> None:
    """Show which backend would compute which part of a model, and why the others refused.

    Examples:

        heddle explain model.onnx --backends vta,host

        heddle explain model.onnx --backends vta,host --place cost --json
    """
    plan = heddle.plan(
        model,
        arguments.names(backends),
        arguments.shapes(shape),
        place=place,
        demands=arguments.demands(pin, exclude, strict),
        options=arguments.settings(set_),
    )
    if json:
        print_json(plan.to_json())
        return
    OUT.print(str(plan), highlight=False, markup=False, soft_wrap=True)
    if plan.refusals:
        OUT.print()
        rows = [
            (refusal.backend, refusal.pattern.name, f"{refusal.node.op} {shorten(refusal.node.name)}", refusal.reason)
            for refusal in plan.refusals
        ]
        print_table("refused", ("backend", "pattern", "node", "reason"), rows)
