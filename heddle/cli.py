"""The command line: commands are mounted here, and errors become one clear line."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from rich.text import Text
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from heddle.commands.display import ERR, OUT
from heddle.core.errors import HeddleError
from heddle.core.plugin import plugins as found_plugins

COMMANDS = (
    *("compile", "run", "profile", "quantize", "bench", "tune", "explain", "calibrate", "verify", "new-backend"),
    *("demo", "cache", "plugins", "sim"),
)
"""Each is a module of `heddle.commands` that has either its `command` or an `app` of several; `sim` may be absent."""


class Commands(TyperGroup):
    """Knows each command by the first line of its module, and imports it when it is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        own = {name: TyperCommand(name, help=help) for name in COMMANDS if (help := _glance(name)) is not None}
        self.commands = {**own, **self.commands}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is named first, imported, and what is left of the line."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _imported(name) if name in COMMANDS else command, rest


def _glance(name: str) -> str | None:
    """What the first line of a command's module says that it does; None where the module is not installed."""
    spec = find_spec(_module(name))
    if spec is None or spec.origin is None:
        return None
    with open(spec.origin, encoding="utf-8") as file:
        _, _, does = file.readline().strip().strip('"').partition(": ")
    return does[:1].upper() + does[1:]


def _imported(name: str) -> Any:
    """What runs a command, or a group of them."""
    module = import_module(_module(name))
    if hasattr(module, "app"):
        return get_command(module.app)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(module.command)
    return get_command(alone)


def _module(name: str) -> str:
    return f"heddle.commands.{name.replace('-', '_')}"


app = typer.Typer(
    cls=Commands,
    name="heddle",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compile ONNX models across heterogeneous devices: register a backend, compile, simulate.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        OUT.print(f"heddle {version('heddle')}", highlight=False)
        raise typer.Exit


@app.callback()
def _heddle(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Applies to every command."""


def main() -> None:
    """Run the command line; the exit code is 1 when a command fails and 2 when it is not understood."""
    found_plugins().announce("heddle_commands", app=app)
    try:
        app()
    except HeddleError as error:
        if os.environ.get("HEDDLE_TRACEBACK"):
            raise
        ERR.print(Text(f"error: {error}"), style="red", highlight=False)
        for note in getattr(error, "__notes__", ()):
            ERR.print(Text(f"  {note}"), highlight=False)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell, and flushing at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
