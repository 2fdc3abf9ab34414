"""Holds arrays against the reference's, within what a backend declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from heddle.core.ir import dtype_name
from heddle.core.plugin import Tolerance


def difference(found: NDArray[Any], expected: NDArray[Any], tolerance: Tolerance) -> str:
    """What is wrong with an array, in words; nothing when it is within the tolerance."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"it is {_type(found)}, the reference has {_type(expected)}"
    if not expected.size:
        return ""
    if expected.dtype.kind in "biu" or "int" in dtype_name(expected.dtype):
        apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
        allowed = np.full(expected.shape, float(tolerance.integers))
    else:
        wide, right = found.astype(np.float64), expected.astype(np.float64)
        special = ~np.isfinite(right)
        if not tolerance.specials:
            wide, right = np.where(special, 0, wide), np.where(special, 0, right)
            special = np.zeros_like(special)
        same = (wide == right) | (np.isnan(wide) & np.isnan(right))
        largest = float(np.abs(right[~special]).max(initial=0))
        epsilon = 4 * float(ml_dtypes.finfo(expected.dtype).eps)  # type: ignore[no-untyped-call] # ml_dtypes leaves it untyped
        margin = max(tolerance.relative, epsilon) * largest + tolerance.absolute
        with np.errstate(invalid="ignore"):
            apart = np.where(same, 0.0, np.abs(wide - right))
        apart = np.where(np.isnan(apart), np.inf, apart)
        allowed = np.where(special, 0.0, margin)
    wrong = apart > allowed
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(np.where(wrong, apart, -1))), apart.shape))
    return (
        f"{int(wrong.sum())} of {wrong.size} elements differ; at {list(at)} it has {found[at]}, "
        f"the reference {expected[at]}"
    )


def differences(
    names: Sequence[str], found: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]], tolerance: Tolerance
) -> str:
    """What is wrong with the first output that is wrong."""
    for name, array, right in zip(names, found, expected, strict=True):
        if wrong := difference(np.asarray(array), np.asarray(right), tolerance):
            return f"output {name}: {wrong}"
    return ""


def _type(array: NDArray[Any]) -> str:
    return f"{dtype_name(array.dtype)}[{','.join(map(str, array.shape))}]"
