"""What a program reads besides activations: weight tiles, micro-ops and drain parameters, each stored once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from heddle.backends.vta.layers import Scaling
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import encode_uop
from numpy.typing import NDArray


class Images:
    """Collects byte images into one block of memory; the same bytes get the same place."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._places: dict[bytes, int] = {}
        self._parts: list[bytes] = []
        self._beats = 0

    def add(self, data: bytes) -> int:
        """The offset of these bytes in beats from the start of the block."""
        place = self._places.get(data)
        if place is None:
            place = self._places[data] = self._beats
            beats = -(-len(data) // self.config.beat_bytes)
            self._parts.append(data.ljust(beats * self.config.beat_bytes, b"\0"))
            self._beats += beats
        return place

    def bytes(self) -> bytes:
        """The whole block."""
        return b"".join(self._parts)


Uop = tuple[int, int, int]


@lru_cache(maxsize=4096)
def uop_image(config: Config, uops: tuple[Uop, ...]) -> bytes:
    """Micro-ops (dst, src, wgt) as LOAD reads them."""
    size = config.uop_bits // 8
    return b"".join(encode_uop(config, *uop).to_bytes(size, "little") for uop in uops)


def tile_image(config: Config, weights: NDArray[np.int8]) -> bytes:
    """Weights [tiles][up to bo][up to bi] as tiles, the missing rows and columns zero."""
    tiles, rows, columns = weights.shape
    padded = np.zeros((tiles, config.bo, config.bi), np.int8)
    padded[:, :rows, :columns] = weights
    return padded.tobytes()


def parameter_image(config: Config, scaling: Scaling, block: int) -> bytes:
    """The drain parameters of the `block`-th bo channels."""
    here = slice(block * config.bo, (block + 1) * config.bo)
    parts = []
    for array, dtype in ((scaling.bias, "<i4"), (scaling.multiplier, "<u4"), (scaling.shift, "u1")):
        padded = np.zeros(config.bo, dtype)
        part = array[here]
        padded[: len(part)] = part
        parts.append(padded.tobytes())
    return b"".join(parts)
