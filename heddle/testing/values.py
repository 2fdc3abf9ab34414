"""Arrays for cases: ordinary numbers, limits, values that are no numbers, and what constants of a role must hold."""

from __future__ import annotations

from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from heddle.core.ir import TensorType

Span = tuple[int, int]
"""Whole numbers from the first up to but without the second."""

Fill = Literal["normal", "zeros", "ones", "limits", "special", "denormal"]
_SPECIAL = (np.nan, np.inf, -np.inf, -0.0)


def fill(type: TensorType, how: Fill, random: np.random.Generator, span: Span | None = None) -> NDArray[Any]:
    """An array of a type, of whole numbers in a span where one is given.

    What a dtype does not have (no NaN in integers) is replaced by ordinary numbers.
    """
    shape, dtype = type.shape or (), type.dtype
    if span is not None:
        low, high = span
        ends = how in ("limits", "special")
        return np.asarray(random.choice([low, high - 1], shape) if ends else random.integers(low, high, shape)).astype(
            dtype
        )
    if how in ("zeros", "ones"):
        return np.full(shape, how == "ones").astype(dtype)
    if dtype.kind == "b":
        return np.asarray(random.integers(0, 2, shape)).astype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if how == "limits":
            return np.asarray(random.choice(np.array([limits.min, limits.max, 0], dtype), shape))
        wide = dtype.itemsize > 1
        low, high = (-100 if limits.min < 0 else 0, 100) if wide else (limits.min, limits.max)
        return np.asarray(random.integers(low, high, shape, endpoint=True)).astype(dtype)
    if dtype.kind not in "fV":
        return np.zeros(shape, dtype)
    numbers = np.asarray(random.standard_normal(shape))
    if how == "limits":
        numbers = np.sign(numbers) * 1e4
    elif how == "denormal":
        numbers = numbers * float(ml_dtypes.finfo(dtype).tiny) / 4  # type: ignore[no-untyped-call] # ml_dtypes leaves it untyped
    elif how == "special":
        numbers = np.where(random.random(shape) < 0.1, random.choice(_SPECIAL, shape), numbers)
    return np.asarray(numbers).astype(dtype)


def constant(
    type: TensorType, role: str, rank: int, random: np.random.Generator, span: Span | None = None
) -> NDArray[Any]:
    """The array of a constant operand that plays this role (the operator's name of it)."""
    shape, dtype = type.shape or (), type.dtype
    if span is not None:
        return fill(type, "normal", random, span)
    if role in ("axes", "axis"):
        return np.asarray(random.integers(0, rank, shape)).astype(dtype)
    if "zero_point" in role:
        return np.asarray(random.integers(0, 100, shape) if random.random() < 0.5 else np.zeros(shape)).astype(dtype)
    if "scale" in role or role in ("var", "input_var"):
        return np.asarray(random.uniform(0.01, 0.2, shape)).astype(dtype)
    if role == "min":
        return np.asarray(np.zeros(shape)).astype(dtype)
    if role == "max":
        return np.asarray(np.full(shape, 6)).astype(dtype)
    return fill(type, "normal", random)
