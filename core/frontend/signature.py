"""Gives a model's inputs the shapes that a user asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heddle.core.errors import ModelError
from heddle.core.ir import Dim, OptionalType, SequenceType, TensorType, Type
from heddle.core.ir.types import UNKNOWN

Binding = dict[str, Dim]
"""What each symbol of the model stands for."""


def bind_inputs(
    model: str, declared: Mapping[str, Type], shapes: Mapping[str, Sequence[int | str]]
) -> tuple[dict[str, Type], Binding]:
    """The types of the inputs with `shapes` applied, and what became of the model's symbols."""
    symbols = {dim for type in declared.values() for dim in _dims(type) if isinstance(dim, str) and dim != UNKNOWN}
    binding: Binding = {}
    rest: dict[str, tuple[Dim, ...]] = {}
    for name, dims in shapes.items():
        given = tuple(dims)
        if any(not isinstance(dim, str) and (isinstance(dim, bool) or int(dim) < 0) for dim in given):
            raise ModelError(f"{model}: shape {list(given)} for {name!r}: sizes are not negative")
        given = tuple(dim if isinstance(dim, str) else int(dim) for dim in given)
        if name not in declared and name in symbols and len(given) == 1:
            _bind(model, binding, name, given[0], f"symbol {name!r}")
            continue
        if name not in declared:
            raise ModelError(
                f"{model}: shape for {name!r}: there is no such input; inputs are {', '.join(declared)}"
                + (f"; symbols are {', '.join(sorted(symbols))}" if symbols else "")
            )
        type = declared[name]
        if not isinstance(type, TensorType):
            raise ModelError(f"{model}: shape for {name!r}: it is a {type}, only tensors have a shape")
        if type.dims is not None and len(type.dims) != len(given):
            raise ModelError(
                f"{model}: shape {list(given)} for {name!r}: it is {type}, {len(type.dims)} sizes are wanted"
            )
        for dim, size in zip(type.dims or (), given, strict=False):
            if isinstance(dim, int) and dim != size:
                raise ModelError(f"{model}: shape {list(given)} for {name!r}: it is {type}, whose {dim} is fixed")
            if isinstance(dim, str) and dim != UNKNOWN:
                _bind(model, binding, dim, size, f"input {name!r}")
        rest[name] = given
    types: dict[str, Type] = {}
    for name, type in declared.items():
        if name in rest and isinstance(type, TensorType):
            old = type.dims if type.dims is not None else (UNKNOWN,) * len(rest[name])
            dims = tuple(size if dim == UNKNOWN else dim for dim, size in zip(old, rest[name], strict=True))
            type = TensorType(type.dtype, dims)
        types[name] = bound_type(type, binding)
    return types, binding


def bound_type(type: Type, binding: Mapping[str, Dim]) -> Type:
    """A type with its symbols replaced by what they stand for."""
    if isinstance(type, SequenceType):
        return SequenceType(bound_type(type.element, binding))
    if isinstance(type, OptionalType):
        return OptionalType(bound_type(type.element, binding))
    if type.dims is None or not binding:
        return type
    return TensorType(type.dtype, tuple(binding.get(dim, dim) if isinstance(dim, str) else dim for dim in type.dims))


def _dims(type: Type) -> tuple[Dim, ...]:
    while not isinstance(type, TensorType):
        type = type.element
    return type.dims or ()


def _bind(model: str, binding: Binding, symbol: str, size: Dim, where: str) -> None:
    if binding.setdefault(symbol, size) != size:
        raise ModelError(f"{model}: {where}: {symbol!r} is {size} here and {binding[symbol]} elsewhere")
