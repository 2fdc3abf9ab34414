"""Fits the arrays of a call to what the model declares; an input that does not fit is an error that says what would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from heddle.core.dtypes import dtype_name, dtype_named
from heddle.core.errors import InputError
from heddle.core.runtime.specs import OptionalSpec, SequenceSpec, Spec, TensorSpec
from numpy.typing import NDArray

Array = NDArray[Any]


def bind_inputs(specs: Sequence[Spec], args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """The dense arrays of a call in the order of `specs`, given by position, then by name; InputError if one is bad.

    A sequence is a list of arrays, an optional value that is absent is None.
    """
    wanted = ", ".join(f"{spec.name}: {spec}" for spec in specs) or "none"
    if len(args) > len(specs):
        raise InputError(f"{len(args)} inputs were given, the model takes {len(specs)} ({wanted})")
    given = dict(zip((spec.name for spec in specs), args, strict=False))
    names = {spec.name for spec in specs}
    for name, value in named.items():
        if name not in names:
            raise InputError(f"there is no input {name!r}; the model takes {wanted}")
        if name in given:
            raise InputError(f"input {name!r} was given twice, by position and by name")
        given[name] = value
    missing = [spec.name for spec in specs if spec.name not in given]
    if missing:
        raise InputError(f"missing {', '.join(missing)}; the model takes {wanted}")
    values = [_fit(spec, given[spec.name], spec.name) for spec in specs]
    _bind_symbols([(spec, value) for spec, value in zip(specs, values, strict=True) if isinstance(spec, TensorSpec)])
    return values


def bind_outputs(specs: Sequence[Spec], shapes: Sequence[tuple[int, ...]], out: Any) -> list[Array]:
    """The arrays that the caller gave for the outputs: one array, a sequence, or a mapping by name, of all outputs."""
    if isinstance(out, np.ndarray):
        given = [out]
    elif isinstance(out, Mapping):
        unknown = [name for name in out if name not in {spec.name for spec in specs}]
        if unknown:
            names = ", ".join(spec.name for spec in specs)
            raise InputError(f"out: there is no output {unknown[0]!r}; the outputs are {names}")
        given = [out[spec.name] for spec in specs if spec.name in out]
    else:
        given = list(out)
    if len(given) != len(specs):
        raise InputError(f"out: {len(given)} arrays were given, the model has {len(specs)} outputs")
    for spec, shape, array in zip(specs, shapes, given, strict=True):
        if not isinstance(spec, TensorSpec):
            raise InputError(f"out: output {spec.name!r} is {spec}; only tensors are written to arrays that are given")
        fits = isinstance(array, np.ndarray) and array.dtype == dtype_named(spec.dtype) and array.shape == shape
        if not fits or not array.flags.writeable:
            raise InputError(
                f"out: output {spec.name!r} needs a writeable {spec.dtype}[{','.join(map(str, shape))}],"
                f" {_describe(array)} was given"
            )
    return given


def _fit(spec: Spec, value: Any, name: str) -> Any:
    """The value as the spec wants it; `name` is the input's, of which it may be an element."""
    if isinstance(spec, OptionalSpec):
        return None if value is None else _fit(spec.element, value, name)
    if isinstance(spec, SequenceSpec):
        if not isinstance(value, list | tuple):
            raise InputError(f"input {name!r}: {spec} is expected, {_describe(value)} is no list")
        return [_fit(spec.element, item, name) for item in value]
    return _fit_tensor(spec, value, name)


def _fit_tensor(spec: TensorSpec, value: Any, name: str) -> Array:
    try:
        array = np.asarray(value)
    except Exception as error:
        raise InputError(f"input {name!r}: {spec} is expected, {type(value).__name__} is no array") from error
    dtype = dtype_named(spec.dtype)
    fits = spec.dims is None or (
        len(array.shape) == len(spec.dims)
        and all(isinstance(dim, str) or dim == size for dim, size in zip(spec.dims, array.shape, strict=True))
    )
    if array.dtype != dtype or not fits:
        raise InputError(f"input {name!r}: {spec} is expected, {_describe(array)} was given")
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = array.copy(order="C")
    # A dtype may be equal without being the same object; generated entries compare identities. A subclass may lie.
    return array if type(array) is np.ndarray and array.dtype is dtype else np.asarray(array).view(dtype)


def _bind_symbols(given: Sequence[tuple[TensorSpec, Array]]) -> None:
    """InputError when one symbol stands for two sizes."""
    sizes: dict[str, tuple[int, str]] = {}
    for spec, array in given:
        for dim, size in zip(spec.dims or (), array.shape, strict=False):
            if isinstance(dim, str) and dim != "?":
                first, where = sizes.setdefault(dim, (size, spec.name))
                if first != size:
                    raise InputError(
                        f"input {spec.name!r}: dimension {dim} is {size} here and {first} in {where!r};"
                        " it must be the same everywhere"
                    )


def _describe(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    try:
        name = dtype_name(value.dtype)
    except KeyError:
        name = str(value.dtype)
    return f"{name}[{','.join(map(str, value.shape))}]"
