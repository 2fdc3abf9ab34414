"""Arrays behind whose last byte memory may not be touched, so that whoever reads or writes too far is found."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded(array: NDArray[Any]) -> NDArray[Any]:
    """A copy whose last byte is followed by memory that may not be touched; aligned to 64 where its size allows."""
    pages = -(-max(array.nbytes, 1) // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    whole = np.frombuffer(memory, np.uint8)
    end = pages * mmap.PAGESIZE
    assert _libc.mprotect(whole.ctypes.data + end, mmap.PAGESIZE, 0) == 0
    copy = whole[end - array.nbytes : end].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
