"""The command line: commands are mounted here, and errors become one clear line."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.text import Text

from heddle.commands import (
    bench,
    cache,
    calibrate,
    compile,
    demo,
    explain,
    new_backend,
    plugins,
    profile,
    quantize,
    run,
    tune,
    verify,
)
from heddle.commands.display import ERR, OUT
from heddle.core.errors import HeddleError
from heddle.core.plugin import plugins as found_plugins

app = typer.Typer(
    name="heddle",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compile ONNX models across heterogeneous devices: register a backend, compile, simulate.",
)
app.command("compile")(compile.command)
app.command("run")(run.command)
app.command("profile")(profile.command)
app.command("quantize")(quantize.command)
app.command("bench")(bench.command)
app.command("tune")(tune.command)
app.command("explain")(explain.command)
app.command("calibrate")(calibrate.command)
app.command("verify")(verify.command)
app.command("new-backend")(new_backend.command)
app.command("demo")(demo.command)
app.add_typer(cache.app, name="cache")
app.add_typer(plugins.app, name="plugins")
if find_spec("heddle.commands.sim") is not None:
    app.add_typer(import_module("heddle.commands.sim").app, name="sim")


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
