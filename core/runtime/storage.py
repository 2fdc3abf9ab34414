"""Memory of this process that compiled code may rely on: aligned, and readable a little past its end."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
SLACK = 64
"""Bytes that may be read after the last byte of a constant."""


class Storage(bytearray):
    """Memory in which constants were placed with their alignment and slack."""


class Mapping(mmap.mmap):
    """A file in memory whose constants have their alignment and slack."""


def aligned(nbytes: int, alignment: int = ALIGNMENT) -> NDArray[np.uint8]:
    """Fresh memory that starts at a multiple of `alignment`; not initialised."""
    raw = np.empty(nbytes + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + nbytes]


def placed(array: NDArray[Any]) -> NDArray[Any]:
    """The same constant where compiled code may read it: itself when it lies so already, else a copy."""
    owner: Any = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if isinstance(owner, Storage | Mapping) and array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0:
        return array
    storage = Storage(array.nbytes + ALIGNMENT + SLACK)
    raw = np.frombuffer(storage, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False
    return copy
