"""isa.toml as plain data, read once."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

INSTRUCTION_BITS = 128
HEADER_BITS = 8
BASES = 16


@cache
def description() -> dict[str, Any]:
    """The instruction set as isa.toml describes it."""
    return tomllib.loads(resources.files("heddle.hw.vta").joinpath("isa.toml").read_text())
