"""What the accelerator computes, layer by layer: quantized tensors in its own layout, and operations on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from heddle.hw.vta.config import Config
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pitch:
    """Where a tensor lies in its memory: vectors from the start, and from an image, block, row, pixel to the next."""

    offset: int
    image: int
    block: int
    row: int
    pixel: int


@dataclass(frozen=True)
class Tensor:
    """Quantized activations: `real = (stored - zero_point) * scale`.

    In the memory of their name they are `[batch][block][height][width][lane]`, a block being `block_of(config)`
    channels, or lie as `within` says. The lanes of the last block beyond `channels` are not meaningful.
    """

    name: str
    batch: int
    channels: int
    height: int
    width: int
    scale: float
    zero_point: int
    unsigned: bool
    within: Pitch | None = None

    @property
    def low(self) -> int:
        return 0 if self.unsigned else -128

    @property
    def high(self) -> int:
        return 255 if self.unsigned else 127

    def blocks(self, config: Config) -> int:
        return -(-self.channels // block_of(config))

    def pitch(self, config: Config) -> Pitch:
        """Where the tensor lies in its memory."""
        if self.within is not None:
            return self.within
        plane = self.height * self.width
        return Pitch(0, self.blocks(config) * plane, plane, self.width, 1)

    def nbytes(self, config: Config) -> int:
        """Bytes from the start of the memory to the tensor's end."""
        at = self.pitch(config)
        steps = (at.image, self.batch), (at.block, self.blocks(config)), (at.row, self.height), (at.pixel, self.width)
        return (at.offset + sum(pitch * (count - 1) for pitch, count in steps) + 1) * block_of(config)


def block_of(config: Config) -> int:
    """Channels of a block in memory: what both a vector that is read and one that is written divide."""
    return max(config.bi, config.bo)


@dataclass(frozen=True, eq=False)
class Scaling:
    """The first stage of the drain: `clip(round((acc + bias) * multiplier / 2**shift) + zero_point, low, high)`.

    The arrays have one entry for each output channel.
    """

    bias: NDArray[np.int32]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    zero_point: int
    low: int
    high: int


@dataclass(frozen=True)
class Residual:
    """The second stage: the first stage's result and another tensor, each minus its zero point, scaled and added."""

    tensor: Tensor
    result_multiplier: int
    tensor_multiplier: int
    shift: int
    zero_point: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Conv:
    """A convolution: weights are [output][input / groups][kernel height][kernel width]."""

    name: str
    input: Tensor
    output: Tensor
    weights: NDArray[np.int8]
    scaling: Scaling
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    residual: Residual | None = None

    @property
    def macs(self) -> int:
        out = self.output
        return out.batch * out.channels * out.height * out.width * int(np.prod(self.weights.shape[1:]))


@dataclass(frozen=True, eq=False)
class Pool:
    """A pooling over each channel: the greatest, or the sum scaled by the drain."""

    name: str
    input: Tensor
    output: Tensor
    kind: str
    kernel: tuple[int, int]
    scaling: Scaling
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class Copy:
    """A tensor requantized, and another added to it if there is a residual.

    It is what Add, requantization, Relu and Clip on their own, and the parts of a Concat become. `clears` says that it
    is there for the lanes beyond its channels, which hold the zero point behind it.
    """

    name: str
    input: Tensor
    output: Tensor
    scaling: Scaling
    residual: Residual | None = None
    clears: bool = False


@dataclass(frozen=True, eq=False)
class Product:
    """The elementwise product of two tensors."""

    name: str
    input: Tensor
    other: Tensor
    output: Tensor
    scaling: Scaling


@dataclass(frozen=True, eq=False)
class Leaky:
    """`max(x, x * slope / 2**bits)` of the input minus its zero point, times `2**bits`, before scaling."""

    name: str
    input: Tensor
    output: Tensor
    slope: int
    bits: int
    scaling: Scaling


@dataclass(frozen=True, eq=False)
class Concat:
    """Channels of tensors one behind the other; the scaling of a channel is that of the tensor it comes from.

    Taken are as many channels as the output has, from number `first` on of all that the tensors have together.
    """

    name: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    scaling: Scaling
    first: int = 0


@dataclass(frozen=True, eq=False)
class MatMul:
    """A product of matrices, one for each row of each image: the pixels of `input` times those of `other`.

    Both have the dimension that is summed over as channels; the pixels of `other` are the channels of the output.
    `other` is int8, and its pixels are neighbours in memory. Lanes of `input` beyond its channels hold its zero point.
    """

    name: str
    input: Tensor
    other: Tensor
    output: Tensor
    scaling: Scaling

    @property
    def macs(self) -> int:
        return self.output.batch * self.output.height * self.output.width * self.output.channels * self.input.channels


@dataclass(frozen=True, eq=False)
class Turn:
    """Each row's matrix of pixels and channels turned: what were pixels are channels, with the same bytes."""

    name: str
    input: Tensor
    output: Tensor


Layer = Conv | Pool | Copy | Product | Leaky | Concat | MatMul | Turn


def reads(layer: Layer) -> tuple[Tensor, ...]:
    """The tensors that a layer reads, its own input first."""
    if isinstance(layer, Concat):
        return layer.inputs
    if isinstance(layer, Product | MatMul):
        return layer.input, layer.other
    residual = layer.residual if isinstance(layer, Conv | Copy) else None
    return (layer.input,) if residual is None else (layer.input, residual.tensor)


def scaled(ratio: float) -> tuple[int, int]:
    """The multiplier below 2**31 and the shift of at most 63 whose quotient is nearest to a positive ratio.

    >>> scaled(0.5)
    (1073741824, 31)
    """
    if not 0 < ratio < 2**31:
        raise ValueError(f"a scale must be positive and below 2**31, it is {ratio}")
    mantissa, exponent = np.frexp(ratio)
    multiplier, shift = round(float(mantissa) * 2**31), 31 - int(exponent)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift > 63:
        multiplier, shift = multiplier >> min(shift - 63, 31), 63
    if shift < 0:
        multiplier, shift = multiplier << -shift, 0
    return multiplier, shift
