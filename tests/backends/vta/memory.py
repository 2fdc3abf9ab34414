"""Memories of the accelerator as arrays of vectors: where values and tensors lie, written a second time."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.backends.vta.layers import Tensor, block_of
from heddle.backends.vta.views import View
from heddle.hw.vta.config import Config
from numpy.typing import NDArray

Array = NDArray[Any]


def positions(view: View) -> tuple[Array, Array]:
    """The vector and the lane of each element of a value."""
    vectors, lanes = np.array(view.offset), np.array(0)
    for axis, (size, pitch) in enumerate(zip(view.sizes, view.pitches, strict=True)):
        index = np.arange(size).reshape(-1, *[1] * (len(view.sizes) - axis - 1))
        if axis == view.channel:
            vectors, lanes = vectors + index // view.lanes * pitch, lanes + index % view.lanes
        else:
            vectors = vectors + index * pitch
    return np.broadcast_to(vectors, view.sizes), np.broadcast_to(lanes, view.sizes)


def view_of(config: Config, tensor: Tensor) -> View:
    """A tensor as the value [batch][channels][height][width]."""
    at = tensor.pitch(config)
    sizes = (tensor.batch, tensor.channels, tensor.height, tensor.width)
    return View(tensor.name, sizes, 1, (at.image, at.block, at.row, at.pixel), block_of(config), at.offset)


class Memories:
    """Named memories that grow as they are written."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._held: dict[str, Array] = {}

    def read(self, view: View) -> Array:
        """The elements of a value."""
        vectors, lanes = positions(view)
        return np.asarray(self._held[view.memory][vectors, lanes])

    def write(self, view: View, array: Array) -> None:
        """Put the elements of a value where they belong."""
        vectors, lanes = positions(view)
        held = self._held.get(view.memory, np.zeros((0, self.lanes), np.int64))
        more = int(vectors.max()) + 1 - len(held)
        if more > 0:
            held = np.concatenate([held, np.zeros((more, self.lanes), np.int64)])
        held[vectors, lanes] = array
        self._held[view.memory] = held
