"""Whether what a function over arrays gives is what its signature promises: as many results, of these types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from heddle.core.dtypes import DType, dtype_name
from heddle.core.runtime.artifact import Port
from numpy.typing import NDArray


class Promised(np.ndarray[Any, np.dtype[Any]]):
    """An output that is written in place: arrays of numbers of another kind are refused, as integers for floats.

    Within a kind numbers are converted as numpy does. What is computed from an output is checked no longer.
    """

    promise: tuple[Port, NDArray[Any]] | None = None

    def __array_finalize__(self, source: object) -> None:
        self.promise = getattr(source, "promise", None)

    def __setitem__(self, where: Any, value: Any) -> None:
        if self.promise is not None and isinstance(value, np.ndarray) and _kind(value.dtype) != _kind(self.dtype):
            port, memory = self.promise
            if np.may_share_memory(self, memory):
                raise TypeError(f"{_promise(port)}, and {_what(value)} is written to it; convert it, y.astype(...)")
        super().__setitem__(where, value)


def promised(array: NDArray[Any], port: Port) -> Promised:
    """The memory of an output as what a call may write to."""
    made = array.view(Promised)
    made.promise = port, array
    return made


def deliver(returned: object, ports: Sequence[Port], outputs: Sequence[NDArray[Any]]) -> None:
    """Put what a call has returned, if it has, into its outputs; TypeError when it is not what was promised.

    One array, or a list or tuple of them; they need not be dense.
    """
    if returned is None:
        return
    results = list(returned) if isinstance(returned, list | tuple) else [returned]
    if len(results) != len(ports):
        names = ", ".join(f"%{port.name}" for port in ports)
        raise TypeError(f"its call returns {len(results)} results, {len(ports)} are promised: {names}")
    for result, port, output in zip(results, ports, outputs, strict=True):
        array = np.asarray(result) if isinstance(result, np.generic) else result
        if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (output.dtype, output.shape):
            raise TypeError(f"{_promise(port)}, and its call returns {_what(array)} for it")
        output[...] = array


def _promise(port: Port) -> str:
    return f"%{port.name} is promised as {port.dtype}{list(port.shape)}"


def _what(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return f"no array but {type(value).__name__}"
    return f"{'Python objects' if value.dtype.kind == 'O' else dtype_name(value.dtype)}{list(value.shape)}"


def _kind(dtype: DType) -> str:
    """`float` for each floating type, and so on."""
    name = "object" if dtype.kind == "O" else dtype_name(dtype)
    return next((kind for kind in ("uint", "int", "float", "bool", "complex") if kind in name), name)
