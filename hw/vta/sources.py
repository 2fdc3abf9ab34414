"""Where the hardware's sources are."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

PACKAGE = "vta_pkg.sv"


def rtl_folder() -> Path:
    """The folder of the SystemVerilog sources."""
    return Path(str(resources.files("heddle.hw.vta").joinpath("rtl")))


def rtl_sources() -> list[Path]:
    """All modules in a fixed order, without the package, which depends on the configuration."""
    return sorted(path for path in rtl_folder().glob("*.sv") if path.name != PACKAGE)
