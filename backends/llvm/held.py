"""How images hold bytes in memory, so that the machine multiplies them well: as they are, biased, or as words.

The byte instruction of VNNI wants an unsigned factor, so there signed bytes are held 128 greater. Without it products
are of words, and bytes are held in 16 bits each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.narrow import storage_type
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I8, I16, Type, Value, constant
from heddle.core.ir.types import DType
from numpy.typing import NDArray

BYTES = ("uint8", "int8")


def held_type(target: Target, dtype: DType) -> Type:
    """The LLVM type of one element of an image."""
    return I16 if dtype.name in BYTES and not target.vnni else storage_type(dtype)


def hold(f: Function, target: Target, dtype: DType, value: Value) -> Value:
    """What an image holds for a value of `dtype`."""
    if dtype.name not in BYTES:
        return value
    if target.vnni:
        return _biased(f, value) if dtype.name == "int8" else value
    return f.convert("sext" if dtype.name == "int8" else "zext", value, I16)


def hold_whole(f: Function, target: Target, dtype: DType, value: Value) -> Value:
    """What an image holds for 32-bit numbers within the range of the bytes of `dtype`."""
    if held_type(target, dtype) != I16:
        return hold(f, target, dtype, f.convert("trunc", value, I8))
    # Clamped to words they are narrowed by one instruction.
    low, high = (constant(bound, value.type) for bound in (-(1 << 15), (1 << 15) - 1))
    return f.convert("trunc", f.intrinsic("smin", f.intrinsic("smax", value, low), high), I16)


def release(f: Function, target: Target, dtype: DType, held: Value) -> Value:
    """The value of `dtype` that an image holds."""
    if dtype.name not in BYTES:
        return held
    if target.vnni:
        return _biased(f, held) if dtype.name == "int8" else held
    return f.convert("trunc", held, I8)


def held_number(target: Target, dtype: DType, number: int) -> int:
    """What an image holds for a known number."""
    return number + 128 if target.vnni and dtype.name == "int8" else number


def largest_sum(weights: NDArray[Any], dtype: DType, target: Target) -> int:
    """The greatest magnitude that a sum of held numbers times each filter's weights can have."""
    filters = weights.reshape(len(weights), -1).astype(np.int64)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    least, most = held_number(target, dtype, int(low)), held_number(target, dtype, int(high))
    positive, negative = np.maximum(filters, 0).sum(1), np.minimum(filters, 0).sum(1)
    extremes = (positive * most + negative * least, positive * least + negative * most)
    return int(max(np.abs(extreme).max(initial=0) for extreme in extremes))


def _biased(f: Function, value: Value) -> Value:
    return f.binary("xor", value, constant(-128, value.type))
