"""Matrix tiles on trial: before a process relies on them, a product of each kind is compared with plain arithmetic."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import ml_dtypes
import numpy as np
from heddle.core.codegen.kernels import tiled
from heddle.core.codegen.kernels.gemm import Gemm
from heddle.core.codegen.kernels.tail import Place
from heddle.core.codegen.native import Array, aligned, repeated
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import BF16, F32, I8, I32

_ROWS, _COLUMNS, _DEPTH = 19, 40, 72
"""Several tiles down, across and along the sums, the last ones filled in part."""


class TileWarning(UserWarning):
    """The processor's matrix tiles are there, and multiply wrongly."""


@cache
def trusted(target: Target) -> Target:
    """The machine that this process runs on, without its matrix tiles if they multiply wrongly, of which it warns."""
    trials = {"u8s8": target.tiles_of_bytes, "s8s8": target.tiles_of_bytes, "bf16": target.tiles_of_bf16}
    wrong = [kind for kind, there in trials.items() if there and not _multiplies(kind, target)]
    if not wrong:
        return target
    warnings.warn(
        f"host: matrix tiles of this processor ({target.cpu}) give wrong products of {', '.join(wrong)}; "
        "vectors are used instead, which is slower: please report it",
        TileWarning,
        stacklevel=2,
    )
    plain = tuple(feature for feature in target.features if not feature.startswith("amx-"))
    return replace(target, features=plain, played=False)


def _multiplies(kind: str, target: Target) -> bool:
    """Whether a product on tiles is what it is in plain arithmetic; the numbers are such that every sum is exact."""
    halves, signed = kind == "bf16", kind == "s8s8"
    scalar, total, sums = (BF16, F32, np.float32) if halves else (I8, I32, np.int32)
    out = Place((_COLUMNS,), 1, total)
    problem = Gemm(_ROWS, _COLUMNS, _DEPTH, (_DEPTH, 1), out, scalar=scalar, signed=signed)
    low, high = (-8, 8) if halves else (-128, 127) if signed else (0, 255)
    a = _numbers(_ROWS, _DEPTH, low, high)
    b = _numbers(_DEPTH, _COLUMNS, -8, 8) if halves else _numbers(_DEPTH, _COLUMNS, -128, 127)
    stored = (ml_dtypes.bfloat16,) * 2 if halves else (np.int8 if signed else np.uint8, np.int8)
    left, right = a.astype(stored[0]), tiled.pack(b.astype(stored[1]), problem)
    result = aligned(np.zeros((_ROWS, _COLUMNS), sums))
    functions = tiled.gemm("trial", target, problem, tiled.Schedule(), internal=False)
    repeated(functions, target, [[aligned(left), aligned(right), result, result]])(1)
    return bool((result == a @ b).all())


def _numbers(rows: int, columns: int, low: int, high: int) -> Array:
    """Whole numbers from one bound to the other, both among them, in no order that a mistake would preserve."""
    return low + np.arange(rows * columns).reshape(rows, columns) * 97 % (high - low + 1)
