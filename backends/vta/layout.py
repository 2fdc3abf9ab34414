"""Activations between numpy's order and the accelerator's: channels in blocks, the lanes of a block innermost."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.backends.vta.layers import Tensor, block_of
from heddle.hw.vta.config import Config
from numpy.typing import NDArray


def pack(config: Config, tensor: Tensor, array: NDArray[Any]) -> NDArray[np.uint8]:
    """A dense [batch][channels][height][width] array as the bytes of a tensor; absent lanes are zero."""
    lanes, blocks = block_of(config), tensor.blocks(config)
    shape = (tensor.batch, tensor.channels, tensor.height, tensor.width)
    stored = np.ascontiguousarray(array).view(np.uint8).reshape(shape)
    if tensor.channels % lanes:
        padded = np.zeros((tensor.batch, blocks * lanes, tensor.height, tensor.width), np.uint8)
        padded[:, : tensor.channels] = stored
        stored = padded
    cut = stored.reshape(tensor.batch, blocks, lanes, tensor.height, tensor.width)
    return np.ascontiguousarray(cut.transpose(0, 1, 3, 4, 2)).reshape(-1)


def unpack(config: Config, tensor: Tensor, stored: NDArray[np.uint8]) -> NDArray[Any]:
    """The inverse of `pack`, in the tensor's own dtype."""
    lanes, blocks = block_of(config), tensor.blocks(config)
    cut = stored.reshape(tensor.batch, blocks, tensor.height, tensor.width, lanes).transpose(0, 1, 4, 2, 3)
    whole = cut.reshape(tensor.batch, blocks * lanes, tensor.height, tensor.width)[:, : tensor.channels]
    return np.ascontiguousarray(whole).view(np.uint8 if tensor.unsigned else np.int8)
