"""The peak of memory of a process that loads a model and runs it: Heddle from a compiled file, and onnxruntime.

    python -m benchmarks.memory [MODEL...]

Each runs in a process of its own, on one thread. Shown are megabytes: what Heddle says beforehand that it needs, by how
much its process grew, and the peak of the whole process of each, with the interpreter and numpy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

import heddle
from benchmarks.models import build, example

_STATUS = """
import sys
import numpy as np

def resident(what):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(what))
"""

_HEDDLE = f"""{_STATUS}
import heddle
from heddle.core.runtime import executable
x = np.load(sys.argv[2])
before = resident("VmRSS")
loaded = heddle.load(sys.argv[1])
for _ in range(3):
    loaded(x)
print(loaded.memory.peak, resident("VmHWM") - before, resident("VmHWM"))
"""

_ONNXRUNTIME = f"""{_STATUS}
import onnxruntime
x = np.load(sys.argv[2])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
for _ in range(3):
    session.run(None, {{"x": x}})
print(resident("VmHWM"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["resnet50", "mobilenetv2", "minilm"])
    names = parser.parse_args().models
    print(f"{'model':<16}{'reported':>10}{'grown by':>10}{'peak':>10}{'onnxruntime':>13}")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            model, compiled, x = (Path(folder, file) for file in ("model.onnx", "model.heddle", "x.npy"))
            proto = build(name)
            onnx.save(proto, model)
            np.save(x, example(name))
            heddle.compile(proto).save(compiled)
            reported, grown, peak = _numbers(_HEDDLE, compiled, x)
            (other,) = _numbers(_ONNXRUNTIME, model, x)
        print(f"{name:<16}{reported:>10.1f}{grown:>10.1f}{peak:>10.1f}{other:>13.1f}", flush=True)


def _numbers(script: str, *arguments: Path) -> list[float]:
    """What a script prints, in megabytes."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return [int(word) / 1e6 for word in subprocess.run(command, capture_output=True, check=True).stdout.split()]


if __name__ == "__main__":
    main()
