"""Activations in blocked layout with a halo, and the windows that slide over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.core.codegen.kernels.tail import Place
from heddle.core.codegen.values import F32, Type
from numpy.typing import NDArray

Halo = tuple[int, int, int, int]


@dataclass(frozen=True)
class Image:
    """A batch of images as [batch][channels / block][halo + height + halo][halo + width + halo][block].

    `block` 1 is NCHW, `block` = channels NHWC. `halo` is (top, left, bottom, right); its elements and the channels that
    fill up the last block hold zeros (or a pooling's neutral element) whenever a kernel reads them.
    """

    channels: int
    height: int
    width: int
    block: int
    halo: Halo = (0, 0, 0, 0)
    batch: int = 1
    scalar: Type = F32
    outer: int = 0

    @property
    def blocks(self) -> int:
        return -(-self.channels // self.block)

    @property
    def row(self) -> int:
        """Elements from one row of pixels to the next."""
        return (self.halo[1] + self.width + self.halo[3]) * self.block

    @property
    def plane(self) -> int:
        """Elements from one block of channels to the next."""
        return (self.halo[0] + self.height + self.halo[2]) * self.row

    @property
    def step(self) -> int:
        """Elements from one image of the batch to the next."""
        return (self.outer or self.blocks) * self.plane

    @property
    def size(self) -> int:
        """All elements."""
        return self.batch * self.blocks * self.plane

    @property
    def origin(self) -> int:
        """The element of the first pixel within the halo."""
        return self.halo[0] * self.row + self.halo[1] * self.block

    def place(self) -> Place:
        """Where the image lies along (batch, channel block, y, x)."""
        strides = (self.step, self.plane, self.row, self.block)
        return Place(strides, 1, self.scalar, self.origin)


def per_channel(block: int, scalar: Type = F32) -> Place:
    """The place of a vector with an element per channel, filled up to whole blocks, beside an image."""
    return Place((0, block, 0, 0), 1, scalar)


def single(scalar: Type = F32) -> Place:
    """The place of one element that serves a whole image."""
    return Place((0, 0, 0, 0), 0, scalar)


@dataclass(frozen=True)
class Window:
    """What slides over an image: sizes and steps as (y, x), and the padding before the first row and column."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def reach(self, source: Image, out: Image) -> Halo:
        """The halo that `source` must have at least for every pixel of `out` to be read within it."""
        before = self.pads
        after = []
        for axis, (extent, size) in enumerate(((out.height, source.height), (out.width, source.width))):
            end = (extent - 1) * self.stride[axis] - before[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1
            after.append(max(0, end - size))
        return (before[0], before[1], after[0], after[1])

    def start(self, source: Image) -> int:
        """The element of `source` that the first tap of the first pixel reads."""
        return source.origin - self.pads[0] * source.row - self.pads[1] * source.block


def arrange(x: NDArray[Any], image: Image, fill: float = 0) -> NDArray[Any]:
    """An array of [batch, channels, height, width] in the layout of `image`; the reference of the layout."""
    top, left, bottom, right = image.halo
    more = image.blocks * image.block - image.channels
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    padded = np.pad(padded, ((0, 0), (0, more), (0, 0), (0, 0)))
    blocked = padded.reshape(image.batch, image.blocks, image.block, *padded.shape[2:])
    return np.ascontiguousarray(blocked.transpose(0, 1, 3, 4, 2))


def restore(y: NDArray[Any], image: Image) -> NDArray[Any]:
    """The inverse of `arrange`: [batch, channels, height, width] without halo."""
    top, left, bottom, right = image.halo
    shape = (image.batch, image.blocks, top + image.height + bottom, left + image.width + right, image.block)
    plain = y.reshape(shape).transpose(0, 1, 4, 2, 3).reshape(image.batch, -1, shape[2], shape[3])
    return np.ascontiguousarray(plain[:, : image.channels, top : top + image.height, left : left + image.width])
