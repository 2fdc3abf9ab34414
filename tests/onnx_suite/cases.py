"""ONNX's own backend tests of single operators: a model, inputs, and the outputs that are right."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from heddle.core.dtypes import dtype_name
from onnx import numpy_helper


@dataclass(frozen=True)
class Case:
    """One test: a model, and sets of inputs with the outputs that are expected for them."""

    name: str
    model: onnx.ModelProto
    data: tuple[tuple[tuple[Any, ...], tuple[Any, ...]], ...]
    rtol: float
    atol: float


@cache
def cases() -> dict[str, Case]:
    """All node tests of the installed onnx, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        found = load_model_tests(kind="node")
    return {
        case.name: Case(
            case.name,
            case.model,
            tuple((_values(inputs), _values(outputs)) for inputs, outputs in case.data_sets),
            case.rtol,
            case.atol,
        )
        for case in sorted(found, key=lambda case: case.name)
    }


def _values(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(_value(value) for value in values)


def _value(value: Any) -> Any:
    """An array, a list of arrays, or None; strings as objects."""
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if value is None:
        return None
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "US" else array


def difference(actual: Any, expected: Any, rtol: float, atol: float) -> str | None:
    """What is wrong with an actual value, or None when it is as expected."""
    if expected is None or actual is None:
        return None if actual is expected else f"{actual} where {expected} is expected"
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            return "a sequence of another length"
        return next(filter(None, (difference(a, e, rtol, atol) for a, e in zip(actual, expected, strict=True))), None)
    actual = np.asarray(actual)
    if actual.shape != expected.shape or dtype_name(actual.dtype) != dtype_name(expected.dtype):
        return f"{actual.dtype}{list(actual.shape)} where {expected.dtype}{list(expected.shape)} is expected"
    if expected.dtype.kind in "Ob":
        return None if (actual == expected).all() else "the values differ"
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    if expected.dtype.kind in "iu":
        return None if (actual == expected).all() else "the integers differ"
    a, e = actual.astype(wide), expected.astype(wide)
    if np.allclose(a, e, rtol=rtol, atol=atol, equal_nan=True):
        return None
    with np.errstate(invalid="ignore"):
        return f"the greatest difference is {np.nanmax(np.abs(a - e)):.2g}"
