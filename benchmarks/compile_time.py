"""How long models take to compile: cold, and again in a new process from the cache of objects.

    python -m benchmarks.compile_time [MODEL ...]      names of benchmarks.models, or paths of .onnx files

Every figure is the least of three processes; the cold ones have an empty cache each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

DEFAULT = ("tests/models/mnist.onnx", "mobilenetv2", "resnet50", "minilm")
ROUNDS = 3

_PROGRAM = """
import sys, time
from benchmarks.models import NAMES, build
model = build(sys.argv[1]) if sys.argv[1] in NAMES else sys.argv[1]
start = time.perf_counter()
import heddle
heddle.compile
imported = time.perf_counter()
executable = heddle.compile(model)
executable.prepare()
print(imported - start, time.perf_counter() - imported)
"""


def measure(model: str, cache: str) -> tuple[float, float]:
    """The seconds to import and to compile in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM, model],
        env={**os.environ, "HEDDLE_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    imported, compiled = map(float, ran.stdout.split())
    return imported, compiled


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"default: {', '.join(DEFAULT)}")
    models = parser.parse_args().models
    print(f"{'model':32} {'import':>8} {'cold':>8} {'cached':>8}  seconds")
    for model in models or DEFAULT:
        cold, cached, imports = [], [], []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as cache:
                cold.append(measure(model, cache)[1])
                imported, compiled = measure(model, cache)
                imports.append(imported)
                cached.append(compiled)
        print(f"{model:32} {min(imports):8.2f} {min(cold):8.2f} {min(cached):8.2f}", flush=True)


if __name__ == "__main__":
    main()
