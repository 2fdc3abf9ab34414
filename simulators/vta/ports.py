"""Dense arrays to activations in the accelerator's memory and back: what the driver does before and after a program."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Patches:
    """Windows of an image laid out as channels, so that a convolution of few channels fills the array."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    fill: int


@dataclass(frozen=True)
class PortLayout:
    """How one input or output lies in memory, from byte `offset` of the workspace on.

    The order there is `[batch][block][height][width][lane]`. With `last`, the dense array has its channels last. The
    four sizes are those of the dense array; `patches` makes more channels of them.
    """

    batch: int
    channels: int
    height: int
    width: int
    lanes: int
    offset: int
    last: bool = False
    patches: Patches | None = None

    @property
    def nbytes(self) -> int:
        """Bytes in the workspace."""
        return int(np.prod(self.stored))

    @property
    def stored(self) -> tuple[int, int, int, int, int]:
        """The shape in memory."""
        channels, height, width = self.channels, self.height, self.width
        if self.patches is not None:
            p = self.patches
            channels *= p.kernel[0] * p.kernel[1]
            extent = [(k - 1) * d + 1 for k, d in zip(p.kernel, p.dilations, strict=True)]
            height = (height + p.pads[0] + p.pads[2] - extent[0]) // p.strides[0] + 1
            width = (width + p.pads[1] + p.pads[3] - extent[1]) // p.strides[1] + 1
        return self.batch, -(-channels // self.lanes), height, width, self.lanes

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> PortLayout:
        """The inverse of `to_json`, from what JSON made of it."""
        patches = data["patches"]
        if patches is not None:
            listed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in patches.items()}
            patches = Patches(**listed)
        return PortLayout(**{**data, "patches": patches})


def pack(layout: PortLayout, dense: Bytes, memory: Bytes) -> None:
    """Write the bytes of a dense array where a program reads them; lanes without a channel are zero."""
    image = _image(layout, dense)
    if layout.patches is not None:
        image = _patched(layout.patches, image)
    target = _view(layout, memory)
    batch, blocks, height, width, _ = target.shape
    channels = image.shape[1]
    whole = channels // layout.lanes
    if whole:
        cut = image[:, : whole * layout.lanes].reshape(batch, whole, layout.lanes, height, width)
        target[:, :whole] = cut.transpose(0, 1, 3, 4, 2)
    if whole < blocks:
        rest = image[:, whole * layout.lanes :]
        target[:, whole, :, :, : rest.shape[1]] = rest.transpose(0, 2, 3, 1)
        target[:, whole, :, :, rest.shape[1] :] = 0


def unpack(layout: PortLayout, memory: Bytes, dense: Bytes) -> None:
    """Read a dense array back from where a program wrote it."""
    batch, blocks, height, width, lanes = layout.stored
    source = _view(layout, memory).transpose(0, 1, 4, 2, 3).reshape(batch, blocks * lanes, height, width)
    _image(layout, dense)[...] = source[:, : layout.channels]


def _view(layout: PortLayout, memory: Bytes) -> Bytes:
    return memory[layout.offset : layout.offset + layout.nbytes].reshape(layout.stored)


def _image(layout: PortLayout, dense: Bytes) -> Bytes:
    """The dense array as [batch][channels][height][width], without a copy."""
    if layout.last:
        return dense.reshape(layout.batch, layout.height, layout.width, layout.channels).transpose(0, 3, 1, 2)
    return dense.reshape(layout.batch, layout.channels, layout.height, layout.width)


def _patched(patches: Patches, image: Bytes) -> Bytes:
    top, left, bottom, right = patches.pads
    padded = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=patches.fill)
    extent = [(k - 1) * d + 1 for k, d in zip(patches.kernel, patches.dilations, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=(2, 3))
    views = views[:, :, :: patches.strides[0], :: patches.strides[1], :: patches.dilations[0], :: patches.dilations[1]]
    batch, channels, height, width, *kernel = views.shape
    return views.transpose(0, 1, 4, 5, 2, 3).reshape(batch, channels * kernel[0] * kernel[1], height, width)
