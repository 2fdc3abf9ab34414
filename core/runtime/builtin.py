"""Machine code as a builtin function of Python, whose arguments nothing converts: `heddle_call` of `abi`."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from heddle.core.dtypes import dtype_named
from heddle.core.runtime import abi
from heddle.core.runtime.host import HostProgram
from heddle.core.runtime.schedule import known
from heddle.core.runtime.specs import TensorSpec
from numpy.typing import NDArray

_FASTCALL = 0x0080  # METH_FASTCALL of Python's methodobject.h


class _Definition(ctypes.Structure):
    """PyMethodDef of Python's methodobject.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("documentation", ctypes.c_char_p),
    )


class _Record(np.ndarray[Any, Any]):
    """The words of a record, which hold all that the function needs as long as it lives."""

    kept: tuple[object, ...]


@cache
def possible() -> bool:
    """Whether objects of this Python and of its numpy lie as compiled code expects."""
    if sys.implementation.name != "cpython" or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)() or hasattr(sys, "gettotalrefcount"):
        return False  # the header of objects is longer
    dense = np.arange(8, dtype=np.float32)
    unaligned = dense.view(np.uint8)[1:5].view(np.float32)
    return all(_expected(array) for array in (dense, dense.reshape(2, 4), dense[::2], dense[1:], unaligned, dense[0:0]))


def _expected(array: NDArray[Any]) -> bool:
    def word(offset: int) -> int:
        return ctypes.c_uint64.from_address(id(array) + offset).value

    rank, flags = word(abi.RANK) & 0xFFFFFFFF, word(abi.FLAGS) & 0xFFFFFFFF
    is_dense = array.flags.c_contiguous and array.flags.aligned
    return (
        (word(abi.CLASS), word(abi.DATA), word(abi.DTYPE)) == (id(np.ndarray), array.ctypes.data, id(array.dtype))
        and rank == array.ndim
        and tuple((ctypes.c_int64 * rank).from_address(word(abi.DIMENSIONS))) == array.shape
        and (flags & abi.DENSE == abi.DENSE) == is_dense
    )


def builtin(
    program: HostProgram, arrays: Sequence[TensorSpec], inputs: Sequence[int], outputs: Sequence[int]
) -> Callable[..., int] | None:
    """A function of a frame's table and of arrays of these types, as `abi` has it; None where there can be none.

    `inputs` and `outputs` say which of the arrays the code's pointers are to.
    """
    address = program.address(abi.CALL)
    if address is None or not possible():
        return None
    dtypes = [dtype_named(spec.dtype) for spec in arrays]
    words = {
        "class": id(np.ndarray),
        "constants": ctypes.addressof(program.constants),
        "services": ctypes.addressof(program.services),
        "inputs": len(inputs),
        "pointers": len(inputs) + len(outputs),
        "arrays": len(arrays),
    }
    head = [words[name] if name in words else _python(name) for name in abi.RECORD]
    described = [
        word for spec, dtype in zip(arrays, dtypes, strict=True) for word in (id(dtype), len(known(spec)), *known(spec))
    ]
    record = np.array([*head, *inputs, *outputs, *described], np.uint64).view(_Record)
    definition = _Definition(abi.CALL.encode(), address, _FASTCALL, None)
    record.kept = (definition, program, dtypes)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.py_object)
    function: Callable[..., int] = make(ctypes.addressof(definition), record, abi.CALL)
    return function


def _python(name: str) -> int:
    """The address of a function of Python's C interface."""
    return ctypes.cast(ctypes.pythonapi[name], ctypes.c_void_p).value or 0
