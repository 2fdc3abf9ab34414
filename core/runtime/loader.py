"""Makes a shared object out of bytes callable in this process, without leaving a file behind."""

from __future__ import annotations

import _ctypes
import ctypes
import itertools
import os
import tempfile
import weakref
from collections.abc import Callable
from typing import Any

from heddle.core.errors import ArtifactError

_SERIAL = itertools.count()


def load_shared(code: bytes, name: str) -> ctypes.CDLL:
    """The library in `code`; it is unloaded when the returned object is collected. ArtifactError if it cannot be."""
    if not code:
        raise ArtifactError(f"{name}: the artifact holds no code, a shared object is expected")
    try:
        library = _from_memory(code, name) if hasattr(os, "memfd_create") else _from_file(code)
    except OSError as error:
        raise ArtifactError(f"{name}: the code is not a shared object that this machine can load: {error}") from error
    weakref.finalize(library, _unload, library._handle).atexit = False  # a thread may still run its code then
    return library


def symbol(library: ctypes.CDLL, name: str) -> Callable[..., Any]:
    """The function that a library exports under this name; ArtifactError if there is none."""
    try:
        return library[name]
    except AttributeError:
        raise ArtifactError(f"the code exports no function {name}, which the host's interface demands") from None


def _from_memory(code: bytes, name: str) -> ctypes.CDLL:
    descriptor = os.memfd_create(f"heddle:{name}"[:200], os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(code)
        # The linker takes a path that it has seen for the library that it has loaded, and descriptors are used again:
        # so each load spells the path in a way of its own.
        spelling = "".join("/./" if bit == "1" else "/" for bit in f"{next(_SERIAL):b}")
        return ctypes.CDLL(f"/proc/self/fd{spelling}{descriptor}")
    finally:
        os.close(descriptor)


def _from_file(code: bytes) -> ctypes.CDLL:
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(code)
        file.flush()
        return ctypes.CDLL(file.name)


def _unload(handle: int) -> None:
    _ctypes.dlclose(handle)
