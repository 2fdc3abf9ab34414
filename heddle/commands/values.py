"""Inputs and outputs as named arrays: what a .npz file can hold, and a table can show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from heddle.core.runtime.specs import OptionalSpec, SequenceSpec, Spec


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
