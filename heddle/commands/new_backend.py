"""`heddle new-backend`: a working plugin to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heddle.commands.display import OUT
from heddle.scaffolds import write_scaffold


def command(
    name: Annotated[str, typer.Argument(help="The backend's name, in lower case.", show_default=False)],
    depth: Annotated[
        str, typer.Option(help="library (a call), intrinsic (an instruction in generated loops) or codegen.")
    ] = "library",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The folder; NAME by default.")] = None,
) -> None:
    """Write a plugin that works, installs and passes its tests, to start from.

    Examples:

        heddle new-backend mine --depth library

        heddle new-backend mine --depth codegen -o somewhere/mine
    """
    folder = output or Path(name)
    paths = write_scaffold(name, depth, folder)
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
    OUT.print(f"{folder}: {len(paths)} files, {lines} lines. Try it:\n", highlight=False)
    OUT.print(f"  export HEDDLE_PLUGINS={folder / f'heddle_{name}.py'}", highlight=False, soft_wrap=True)
    OUT.print(f"  heddle plugins test {name}", highlight=False)
    OUT.print(f"  heddle run MODEL.onnx --random --backends {name},host", highlight=False)
