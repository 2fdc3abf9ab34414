"""Tensor data that lives in files beside the model: mapped, never read outside the model's folder."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
from heddle.core.errors import ModelError
from numpy.typing import NDArray
from onnx import TensorProto


def external_bytes(proto: TensorProto, folder: Path | None) -> NDArray[np.uint8]:
    """The bytes of a tensor that is stored externally, mapped read-only; ModelError when the reference is unsound."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    path = _inside(folder, location, proto.name)
    offset = _count(entries.get("offset", "0"), "offset", proto.name)
    try:
        status = path.stat()
    except OSError as error:
        fact = f"external data {location!r} cannot be read: {error.strerror}"
        raise ModelError(f"tensor {proto.name!r}: {fact}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"tensor {proto.name!r}: external data {location!r} is not a plain file")
    length = _count(entries.get("length", str(max(status.st_size - offset, 0))), "length", proto.name)
    if offset + length > status.st_size:
        raise ModelError(
            f"tensor {proto.name!r}: external data {location!r} has {status.st_size} bytes,"
            f" {length} from {offset} on are wanted"
        )
    if length == 0:
        return np.empty(0, np.uint8)
    return np.memmap(path, np.uint8, "r", offset, (length,))


def _inside(folder: Path | None, location: str, name: str) -> Path:
    if folder is None:
        raise ModelError(
            f"tensor {name!r}: its data is in the file {location!r} beside the model; import the model by its path"
        )
    if not location or "\0" in location or "\\" in location:
        raise ModelError(f"tensor {name!r}: {location!r} is not the name of a file")
    root = folder.resolve()
    path = (root / location).resolve()
    if not path.is_relative_to(root):
        raise ModelError(f"tensor {name!r}: external data {location!r} lies outside of the model's folder")
    return path


def _count(text: str, what: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ModelError(f"tensor {name!r}: the {what} of its external data is {text!r}, a count of bytes is expected")
    return int(text)
