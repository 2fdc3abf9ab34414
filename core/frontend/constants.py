"""The array of a `Constant` node, in whichever of its attributes it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.frontend.builder import Array

_DTYPES: dict[str, Any] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_string": object,
    "value_strings": object,
}


def constant_array(attributes: Mapping[str, Any]) -> Array:
    """The array that a Constant's attributes describe; GraphError unless exactly one of them is given."""
    if len(attributes) != 1:
        raise GraphError(f"Constant: one attribute is expected, found {', '.join(attributes) or 'none'}")
    ((name, value),) = attributes.items()
    if name in _DTYPES:
        return np.array(value, _DTYPES[name])
    if name not in ("value", "sparse_value") or not isinstance(value, np.ndarray):
        raise GraphError(f"Constant: attribute {name!r} is not known")
    return value
