"""What a model declares of its inputs and outputs: tensors, sequences of them, and values that may be absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heddle.core.dtypes import dtype_named
from heddle.core.errors import ArtifactError


@dataclass(frozen=True)
class TensorSpec:
    """The name, element type and dimensions of a tensor.

    A dimension may be the name of a symbol, `"?"` where nothing is known; `dims` is None when even the rank is open.
    """

    name: str
    dtype: str
    dims: tuple[int | str, ...] | None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The dimensions when all are known, else None."""
        if self.dims is None or any(isinstance(dim, str) for dim in self.dims):
            return None
        return tuple(int(dim) for dim in self.dims)

    def __str__(self) -> str:
        return f"{self.dtype}[{'*' if self.dims is None else ','.join(map(str, self.dims))}]"


@dataclass(frozen=True)
class SequenceSpec:
    """The name of a sequence, and what its elements are; given and returned as a list."""

    name: str
    element: Spec

    shape = None
    """A sequence has no shape: how many elements there are is seen at the call."""

    def __str__(self) -> str:
        return f"seq<{self.element}>"


@dataclass(frozen=True)
class OptionalSpec:
    """The name of a value that may be absent, which is None, and what it is when it is there."""

    name: str
    element: Spec

    shape = None
    """Whether there is a value, and of which shape, is seen at the call."""

    def __str__(self) -> str:
        return f"optional<{self.element}>"


Spec = TensorSpec | SequenceSpec | OptionalSpec

_KINDS: Mapping[str, type[SequenceSpec] | type[OptionalSpec]] = {"sequence": SequenceSpec, "optional": OptionalSpec}


def spec_json(spec: Spec) -> dict[str, Any]:
    """A spec as plain data."""
    if isinstance(spec, TensorSpec):
        return {"name": spec.name, "dtype": spec.dtype, "dims": spec.dims}
    kind = next(kind for kind, type in _KINDS.items() if isinstance(spec, type))
    return {"name": spec.name, kind: spec_json(spec.element)}


def spec_of(entry: Mapping[str, Any]) -> Spec:
    """The inverse of `spec_json`; raises whatever nonsense causes."""
    for kind, type in _KINDS.items():
        if kind in entry:
            return type(str(entry["name"]), spec_of(entry[kind]))
    return tensor_spec_of(entry)


def tensor_spec_of(entry: Mapping[str, Any]) -> TensorSpec:
    """The inverse of `spec_json` for a tensor."""
    dtype_named(entry["dtype"])
    dims = entry["dims"]
    checked = None if dims is None else tuple(dim if isinstance(dim, str) else size(dim) for dim in dims)
    return TensorSpec(str(entry["name"]), str(entry["dtype"]), checked)


def size(value: Any) -> int:
    """A number of a file that must be a size."""
    if type(value) is not int or value < 0:
        raise ArtifactError(f"{value!r} is no size, an integer from 0 is expected")
    return value
