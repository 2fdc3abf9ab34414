"""Memory of this process that compiled code may rely on: aligned, and readable a little past its end."""

from __future__ import annotations

import mmap
import threading
import weakref
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
SLACK = 64
"""Bytes that may be read after the last byte of a constant."""

SHARED = 1 << 16
"""Constants of so many bytes are looked for among those that are placed already."""
SAMPLES = 64
"""So many bytes tell constants apart that are not worth comparing."""

_lock = threading.Lock()
_placed: dict[tuple[str, tuple[int, ...], int], list[weakref.ref[NDArray[Any]]]] = {}
_mappings: weakref.WeakValueDictionary[str, Mapping] = weakref.WeakValueDictionary()


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
    """The same constant where compiled code may read it: itself when it lies so already, else a copy.

    A large constant that lies so in this process already, for another program, is not copied a second time.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if isinstance(owner, Storage | Mapping) and array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0:
        return array
    if array.nbytes < SHARED:
        return _copy(array)
    raw = _bytes(array)
    sign = str(array.dtype), array.shape, zlib.crc32(raw[:: len(raw) // SAMPLES].tobytes())
    with _lock:
        alike = [other for reference in _placed.get(sign, []) if (other := reference()) is not None]
        for other in alike:
            if np.array_equal(_bytes(other), raw):
                return other
        copy = _copy(array)
        _placed[sign] = [weakref.ref(other) for other in (*alike, copy)]
    return copy


def once(digest: str, mapping: Mapping) -> Mapping:
    """The mapping of a file with this digest that this process has already, or else this one."""
    with _lock:
        return _mappings.setdefault(digest, mapping)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _copy(array: NDArray[Any]) -> NDArray[Any]:
    storage = Storage(array.nbytes + ALIGNMENT + SLACK)
    raw = np.frombuffer(storage, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False
    return copy
