"""Functions of other libraries that compiled code calls: found when an artifact is loaded, by library and name."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
from heddle.core.errors import ArtifactError
from heddle.core.runtime.artifact import Artifact
from numpy.typing import NDArray

KEY = "symbols"
"""In an artifact's `meta`: for each constant that is to hold an address, the library and the name of the function."""


def constants_of(artifact: Artifact) -> Mapping[str, NDArray[Any]]:
    """The artifact's constants, addresses filled in; ArtifactError that names a library or function that is missing.

    An empty library means what is loaded in the process already.
    """
    wanted = artifact.meta.get(KEY)
    if not wanted:
        return artifact.constants
    if not isinstance(wanted, dict):
        raise ArtifactError(f"{artifact.backend}: its symbols are {wanted!r}, functions by constant are expected")
    found = dict(artifact.constants)
    for constant, entry in wanted.items():
        match entry:
            case [str(library), str(name)] if constant in found:
                found[constant] = np.array([_address(artifact.backend, library, name)], np.uint64)
            case _:
                raise ArtifactError(
                    f"{artifact.backend}: symbol {constant!r} is {entry!r}, [library, name] is expected"
                )
    return found


def _address(backend: str, library: str, name: str) -> int:
    try:
        opened = ctypes.CDLL(library or None)
    except OSError as error:
        raise ArtifactError(
            f"{backend}: the code calls {name} of {library}, which cannot be loaded: {error}; "
            "install the library, or name its folder in LD_LIBRARY_PATH"
        ) from error
    try:
        return ctypes.cast(opened[name], ctypes.c_void_p).value or 0
    except AttributeError:
        where = library or "this process"
        raise ArtifactError(
            f"{backend}: the code calls {name}, which {where} does not have; install the version that the model was "
            "compiled for"
        ) from None
