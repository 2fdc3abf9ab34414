"""Inputs and outputs as named arrays: made up from a seed, as a .npz file holds them, as a table shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heddle.core.dtypes import dtype_named
from heddle.core.errors import InputError
from heddle.core.runtime.specs import OptionalSpec, SequenceSpec, Spec, TensorSpec


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


def gathered(specs: Sequence[Spec], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The values of inputs from arrays by name: a sequence `s` from `s.0`, `s.1`, ...; an optional one may lack."""
    values: dict[str, Any] = dict(arrays)
    for spec in specs:
        inner = spec.element if isinstance(spec, OptionalSpec) else spec
        if isinstance(inner, SequenceSpec):
            parts = list(_parts(spec.name, arrays))
            for number in range(len(parts)):
                del values[f"{spec.name}.{number}"]
            values[spec.name] = None if isinstance(spec, OptionalSpec) and not parts else parts
        elif isinstance(spec, OptionalSpec):
            values.setdefault(spec.name, None)
    return values


def _parts(name: str, arrays: Mapping[str, NDArray[Any]]) -> Iterator[NDArray[Any]]:
    number = 0
    while f"{name}.{number}" in arrays:
        yield arrays[f"{name}.{number}"]
        number += 1


def flattened(values: Iterable[tuple[str, Any]]) -> dict[str, NDArray[Any]]:
    """Outputs as arrays by name: the elements of a sequence `s` as `s.0`, `s.1`, ...; what is absent is left out."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in values:
        if isinstance(value, list):
            arrays |= flattened((f"{name}.{number}", item) for number, item in enumerate(value))
        elif value is not None:
            arrays[name] = value
    return arrays
