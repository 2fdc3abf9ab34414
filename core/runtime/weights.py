"""Constants in a file: each distinct array once, in the format of safetensors, where compiled code can read it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from heddle.core.dtypes import dtype_name
from heddle.core.errors import ArtifactError
from heddle.core.runtime.storage import ALIGNMENT, SLACK, Mapping
from numpy.typing import NDArray

_SAFETENSORS = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "complex64": "C64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "float8e4m3fn": "F8_E4M3",
    "float8e5m2": "F8_E5M2",
    "float8e8m0": "F8_E8M0",
}
"""Element types by their names in safetensors; the others are stored as their bytes."""


class Pool:
    """Collects arrays to be written; `chunks` gives the bytes of the file's member, `nbytes` their number."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self._known: dict[int, tuple[NDArray[Any], str]] = {}

    def add(self, array: NDArray[Any]) -> str:
        """The digest by which the file knows this array."""
        if id(array) not in self._known:
            dense = np.ascontiguousarray(array)
            if dense.dtype.kind == "O":
                raise ArtifactError("a constant of strings cannot be saved")
            raw = dense.reshape(-1).view(np.uint8) if dense.size else np.empty(0, np.uint8)
            label = f"{dtype_name(dense.dtype)}{list(array.shape)}".encode()
            digest = hashlib.sha256(label + hashlib.sha256(raw.data).digest()).hexdigest()
            self._arrays.setdefault(digest, dense)
            self._known[id(array)] = (array, digest)  # held, so that the identity stays its own
        return self._known[id(array)][1]

    @property
    def _layout(self) -> tuple[bytes, list[tuple[str, int]]]:
        """The header, and for each array in order its digest and the padding after it."""
        entries: dict[str, Any] = {}
        order: list[tuple[str, int]] = []
        at = 0
        for digest in sorted(self._arrays):
            array = self._arrays[digest]
            name, shape = _SAFETENSORS.get(dtype_name(array.dtype)), list(array.shape)
            if name is None:
                name, shape = "U8", [array.nbytes]
            entries[digest] = {"dtype": name, "shape": shape, "data_offsets": [at, at + array.nbytes]}
            at += array.nbytes
            padding = -at % ALIGNMENT
            # Offsets may leave no gaps, so that what pads is a tensor too.
            if padding:
                entries[f"pad{len(order)}"] = {"dtype": "U8", "shape": [padding], "data_offsets": [at, at + padding]}
            at += padding
            order.append((digest, padding))
        entries["slack"] = {"dtype": "U8", "shape": [SLACK], "data_offsets": [at, at + SLACK]}
        text = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % ALIGNMENT)
        return len(text).to_bytes(8, "little") + text, order

    @property
    def nbytes(self) -> int:
        header, order = self._layout
        return len(header) + sum(self._arrays[digest].nbytes + padding for digest, padding in order) + SLACK

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The member's bytes, piece by piece."""
        header, order = self._layout
        yield header
        for digest, padding in order:
            array = self._arrays[digest]
            if array.size:
                yield array.reshape(-1).view(np.uint8).data
            yield bytes(padding)
        yield bytes(SLACK)


def read(member: memoryview, mapped: Mapping) -> dict[str, NDArray[np.uint8]]:
    """The bytes of each array of a member of a mapped file, by digest; they are views of the mapping."""
    size = int.from_bytes(member[:8], "little")
    if size > len(member) - 8:
        raise ArtifactError("the header of the weights is longer than the weights")
    header = json.loads(bytes(member[8 : 8 + size]))
    data = np.frombuffer(member, np.uint8)[8 + size :]
    arrays = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= len(data):
            raise ArtifactError(f"weight {name!r} lies beyond the end of the weights")
        arrays[name] = data[start:end]
    return arrays
