"""Scaffolds: working plugins to start from, one for each depth of integration."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path

from heddle.core.errors import HeddleError

DEPTHS = ("library", "intrinsic", "codegen")


def write_scaffold(name: str, depth: str, folder: Path) -> tuple[Path, ...]:
    """Write a plugin of this name into a folder that does not exist yet, and give its files.

    HeddleError when the name is no Python name in lower case, the depth is unknown, or the folder is there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise HeddleError(f"new-backend: the name is {name!r}, lower-case letters, digits and _ are expected")
    if depth not in DEPTHS:
        raise HeddleError(f"new-backend: the depth is {depth!r}, it is one of {', '.join(DEPTHS)}")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise HeddleError(f"{folder}: it is there already; remove it or give another --output") from None
    texts = {
        f"heddle_{name}.py": _template(f"{depth}.py"),
        "pyproject.toml": _template("pyproject.toml").replace(
            "@device@\n", "" if depth == "intrinsic" else _template("device.toml")
        ),
        f"test_{name}.py": _template("test.py"),
    }
    for file, text in texts.items():
        filled = text.replace("@name@", name).replace("@Class@", "".join(map(str.capitalize, name.split("_"))))
        (folder / file).write_text(filled, encoding="utf-8")
    return tuple(folder / file for file in texts)


def _template(file: str) -> str:
    return files(__name__).joinpath(f"{file}.in").read_text(encoding="utf-8")
