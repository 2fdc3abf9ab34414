"""Depth 2, an instruction: convolutions and products of a model by a function of a vendor's library.

    python examples/depth_intrinsic.py tests/models/mnist.onnx

Heddle makes the loops, pads the operands, and calls the function for each tile. The library is a stand-in that Heddle's
LLVM builds here; a vendor has one already and names it in `Symbol`. See docs/vendor/intrinsic.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from heddle.core.codegen import compile_region
from heddle.core.codegen.build import Unit, shared_object
from heddle.core.codegen.intrinsic import Intrinsic, Intrinsics, Symbol
from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import host
from heddle.core.codegen.values import F32
from heddle.core.pattern import attr, const, dim, dtype, maybe_const, ops, pattern, rank

import heddle

ROWS, COLUMNS = 4, 4


def build_library(path: Path) -> None:
    """`void outer(float *acc, long acc_row, const float *a, long a_row, long a_column, const float *b, long, long)`."""
    names = ("acc_row", "a_row", "a_column", "b_row", "b_column")
    pointers = {"acc": names[:1], "a": names[1:3], "b": names[3:]}
    f = Function(
        "outer", [p for name, steps in pointers.items() for p in ((name, "ptr"), *((s, "i64") for s in steps))]
    )
    right = f.load(F32.of(COLUMNS), f["b"])
    for row in range(ROWS):
        left = f.splat(f.load(F32, f.gep(f["a"], f.times(f["a_row"], row), F32)), COLUMNS)
        place = f.gep(f["acc"], f.times(f["acc_row"], row), F32)
        f.store(f.fma(left, right, f.load(F32.of(COLUMNS), place)), place)
    path.write_bytes(shared_object([Unit(module([f], host().triple), explicit=True)], ["outer"], host()))


@pattern(
    "conv",
    conditions=[
        dtype("x").equals("float32"),
        rank("x").equals(4),
        attr("conv", "group").equals(1),
        dim("w", 0).multiple_of(ROWS),
        dim("conv", -1).multiple_of(COLUMNS),
    ],
)
def conv(x):
    return ops.Conv(x, const("w"), maybe_const("b"), label="conv")


class Outer(heddle.Backend):
    name = "outer"
    api = 1
    patterns = (conv,)

    def __init__(self, library: Path) -> None:
        super().__init__()
        self.instruction = Intrinsic(
            "outer",
            tile=(ROWS, COLUMNS, 1),
            meaning=lambda acc, a, b: acc + a * b,
            emit=Symbol(str(library), "outer"),
        )

    def compile(self, region: heddle.Region) -> heddle.Artifact:
        tiles = Intrinsics([self.instruction])
        return tiles.artifact(compile_region(region.body, host(), tiles), self.name)


def main(model: str) -> None:
    with TemporaryDirectory() as folder:
        library = Path(folder) / "libouter.so"
        build_library(library)
        with heddle.compile(model, [Outer(library), "host"]) as there, heddle.compile(model) as here:
            calls = [step.artifact.meta.get("intrinsics", {}).get("outer", 0) for step in there.schedules[0].steps]
            print(there.plan, f"\n{sum(calls)} nests of loops call the library")
            assert sum(calls)
            x = np.random.default_rng(0).standard_normal(here.inputs[0].shape).astype(np.float32)
            for found, expected in zip(there(x).values(), here(x).values(), strict=True):
                away = np.abs(found - expected).max() / np.abs(expected).max()
                print(f"away from the host by {away:.1e} of the largest magnitude")
                assert away <= 1e-5


if __name__ == "__main__":
    main(sys.argv[1])
