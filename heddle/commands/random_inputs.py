"""Inputs made up from a seed, for trying a model out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heddle.core.dtypes import dtype_named
from heddle.core.errors import InputError
from heddle.core.runtime.specs import Spec, TensorSpec


def random_inputs(specs: Sequence[Spec], seed: int = 0) -> dict[str, NDArray[Any]]:
    """An array for each input: normal for floats, 0 or 1 for integers (so that indices are in range) and booleans.

    InputError when a dimension is open, or an input is no tensor.
    """
    generator = np.random.default_rng(seed)
    arrays = {}
    for spec in specs:
        if not isinstance(spec, TensorSpec):
            raise InputError(f"input {spec.name!r} is {spec}: no values are made up for it; give --inputs")
        if spec.shape is None:
            raise InputError(f"input {spec.name!r} is {spec}: its shape is open; fix it with --shape")
        dtype = dtype_named(spec.dtype)
        if dtype.kind == "c":
            parts = generator.standard_normal((2, *spec.shape))
            arrays[spec.name] = (parts[0] + 1j * parts[1]).astype(dtype)
        elif dtype.kind in "iub" or "int" in spec.dtype:
            arrays[spec.name] = generator.integers(0, 2, spec.shape).astype(dtype)
        else:
            arrays[spec.name] = np.asarray(generator.standard_normal(spec.shape)).astype(dtype)
    return arrays
