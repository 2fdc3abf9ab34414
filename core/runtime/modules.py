"""Modules that the environment's `HEDDLE_PLUGINS` names: plugins without installation, as one file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from heddle.core.errors import BackendError

VARIABLE = "HEDDLE_PLUGINS"
"""Names further plugins: paths of `.py` files or names of modules, separated by commas."""


def named_plugins(variable: str | None = None) -> list[str]:
    """The plugins that `variable`, or else the environment, names, in order."""
    text = os.environ.get(VARIABLE, "") if variable is None else variable
    return [name.strip() for name in text.split(",") if name.strip()]


def load_named(named: str) -> ModuleType:
    """The module of a name, or of a file when it ends in `.py`; each file is executed once in a process.

    BackendError when there is no such file; whatever the module raises when it is executed.
    """
    if not named.endswith(".py"):
        return importlib.import_module(named)
    path = Path(named).expanduser().resolve()
    name = f"heddle_plugin_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise BackendError(f"{path}: there is no such file; {VARIABLE} takes paths of .py files or names of modules")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
