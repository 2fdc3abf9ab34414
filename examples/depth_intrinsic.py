"""Depth 2, instructions: all convolutions of a model, depthwise ones too, by two functions of a vendor's library.

    python examples/depth_intrinsic.py tests/models/rfb320.onnx

Heddle makes the loops, pads the operands, and calls a function for each tile. The library is a stand-in that Heddle's
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
from heddle.core.pattern import const, dtype, maybe_const, ops, pattern, rank

import heddle

ROWS, COLUMNS = 4, 4
VECTOR = F32.of(COLUMNS)
STEPS = ("acc_row", "a_row", "a_column", "b_row", "b_column")


def tile_function(name: str) -> Function:
    """`void name(float *acc, long acc_row, const float *a, long a_row, long a_column, const float *b, long, long)`."""
    kinds = ("acc", "acc_row", "a", "a_row", "a_column", "b", "b_row", "b_column")
    return Function(name, [(kind, "i64" if kind in STEPS else "ptr") for kind in kinds])


def outer() -> Function:
    """The products of a column of a and a row of b are added to a square."""
    f = tile_function("outer")
    right = f.load(VECTOR, f["b"])
    for row in range(ROWS):
        left = f.splat(f.load(F32, f.gep(f["a"], f.times(f["a_row"], row), F32)), COLUMNS)
        place = f.gep(f["acc"], f.times(f["acc_row"], row), F32)
        f.store(f.fma(left, right, f.load(VECTOR, place)), place)
    return f


def channels() -> Function:
    """The products of channels, each by its own weight, are added to a vector."""
    f = tile_function("channels")
    f.store(f.fma(f.load(VECTOR, f["a"]), f.load(VECTOR, f["b"]), f.load(VECTOR, f["acc"])), f["acc"])
    return f


def build_library(path: Path) -> None:
    """A shared object with both functions."""
    made = module([outer(), channels()], host().triple)
    path.write_bytes(shared_object([Unit(made, explicit=True)], ["outer", "channels"], host()))


@pattern("conv", conditions=[dtype("x").equals("float32"), rank("x").equals(4)])
def conv(x):
    return ops.Conv(x, const("w"), maybe_const("b"))


class Outer(heddle.Backend):
    name = "outer"
    api = 1
    patterns = (conv,)

    def __init__(self, library: Path) -> None:
        super().__init__()
        where = str(library)
        self.instructions = (
            Intrinsic("outer", (ROWS, COLUMNS, 1), lambda acc, a, b: acc + a * b, Symbol(where, "outer")),
            Intrinsic(
                "channels", (1, COLUMNS, 1), lambda acc, a, b: acc + a * b, Symbol(where, "channels"), lanewise=True
            ),
        )

    def compile(self, region: heddle.Region) -> heddle.Artifact:
        tiles = Intrinsics(self.instructions)
        return tiles.artifact(compile_region(region.body, host(), tiles), self.name)


def main(model: str) -> None:
    with TemporaryDirectory() as folder:
        library = Path(folder) / "libouter.so"
        build_library(library)
        with heddle.compile(model, [Outer(library), "host"]) as there, heddle.compile(model) as here:
            used = [step.artifact.meta.get("intrinsics", {}) for step in there.schedules[0].steps]
            calls = {name: sum(each.get(name, 0) for each in used) for name in ("outer", "channels")}
            print(there.plan, f"\n{calls['outer']} and {calls['channels']} nests of loops call the library")
            assert calls["outer"]
            x = np.random.default_rng(0).standard_normal(here.inputs[0].shape).astype(np.float32)
            for found, expected in zip(there(x).values(), here(x).values(), strict=True):
                away = np.abs(found - expected).max() / np.abs(expected).max()
                print(f"away from the host by {away:.1e} of the largest magnitude")
                assert away <= 1e-5


if __name__ == "__main__":
    main(sys.argv[1])
