"""`heddle plugins test`: the conformance kit over a backend, as a score card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from heddle.commands import arguments
from heddle.commands.display import ERR, OUT, print_json
from heddle.isolation import IsolatedDevice
from heddle.testing import LEAST, Kit


def command(
    name: Annotated[str, typer.Argument(help="A backend.", show_default=False)],
    only: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Test this pattern; may be repeated.")
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="So many accepted cases of each pattern.")] = LEAST,
    seed: Annotated[int, typer.Option(help="The seed that cases are drawn from.")] = 0,
    save: Annotated[Path, typer.Option(help="The folder for the smallest failing models.")] = Path("conformance"),
    timeout: Annotated[float, typer.Option(help="The most seconds that one step may take.")] = 20.0,
    set_: arguments.Settings = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="DEVICE.FIELD=VALUE", help="An option of a device, as `vta.sim=rtl`."),
    ] = None,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="Run the device of the backend's name in a process of its own.")
    ] = False,
    json: arguments.AsJson = False,
) -> None:
    """Test a backend: for each of its patterns, cases made from its conditions, held against the reference.

    The exit code is 1 when a pattern fails; its smallest failing model is written to --save.

    Examples:

        heddle plugins test vta --cases 20

        HEDDLE_PLUGINS=mine.py heddle plugins test mine --json
    """
    devices: dict[str, Any] = dict(arguments.device_options(device))
    if isolate:
        devices[name] = IsolatedDevice(name, devices.get(name), timeout)
    with Progress(console=ERR, transient=True) as bar:
        task = bar.add_task(name, total=cases)

        def advance(what: str, done: int, total: int) -> None:
            bar.update(task, description=f"{name}.{what}", completed=done, total=total)

        report = Kit(cases, seed, save, advance).test(
            name,
            arguments.settings(set_).get(name),
            devices,
            only or (),
            timeout,
        )
    if json:
        print_json(report.json())
    else:
        OUT.print(report.table())
        for score in report.scores:
            if score.model:
                OUT.print(f"the smallest failing model of {score.pattern} is in {score.model}", highlight=False)
    if not report.ok:
        raise typer.Exit(1)
