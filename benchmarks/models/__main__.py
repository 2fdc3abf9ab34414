"""`python -m benchmarks.models NAME... -o FILE`: writes models; `-o` may be a folder when there are several."""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx

from benchmarks.models import NAMES, build


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"{', '.join(NAMES)}; add _int8 or _int8s")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="the file, or a folder for several")
    arguments = parser.parse_args()
    for name in arguments.names:
        path = arguments.output / f"{name}.onnx" if arguments.output.is_dir() else arguments.output
        onnx.save(build(name), path)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
