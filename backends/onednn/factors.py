"""What convolutions and products share: their constants as they are multiplied, and the scales that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heddle.backends.libraries.chains import Chain
from heddle.backends.onednn.library import DST, SRC, WEIGHTS
from heddle.backends.onednn.lower import Lowering
from heddle.backends.onednn.quantization import Array, Quantized, real_array, result_scale
from heddle.core.ir import Node, Value


def known(lowering: Lowering, value: Value) -> Array | None:
    """A constant's array, dequantized where it is stored as integers."""
    if value in lowering.quantized:
        array = lowering.array(lowering.quantized[value].raw)
        return None if array is None else real_array(lowering.quantized[value], array)
    return lowering.array(value)


def bias_of(lowering: Lowering, value: Value | None) -> int | None:
    """The tensor of a bias, None where there is none."""
    if value is None:
        return None
    array = known(lowering, value)
    return lowering.plain(value) if array is None else lowering.constant(array)


def weights_of(
    lowering: Lowering, w: Value, integers: tuple[Quantized, Quantized] | None, axis: int, groups: int
) -> tuple[Array, dict[str, Any]]:
    """The weights as they are multiplied, and the scales that go with them."""
    if integers is None:
        array = known(lowering, w)
        assert array is not None, w
        return array, {}
    left, right = integers
    array = lowering.array(right.raw)
    assert array is not None
    more = lowering.scaling({SRC: left})
    # A mask has a bit for each axis that scales differ over: output channels, after groups where there are some.
    mask = 0 if right.scale.size == 1 else (3 if groups > 1 else 1)
    product = w.shape and len(w.shape) == 2 and mask
    more["scales"][WEIGHTS] = (2 if product else mask, lowering.constant(right.scale.reshape(-1)))
    return array, more


def drain(
    lowering: Lowering, chain: Chain, integers: tuple[Quantized, Quantized] | None
) -> tuple[Sequence[Node], dict[str, Any]]:
    """The chain's nodes before a quantization that ends it, and that quantization's scales."""
    if chain.last.op != "QuantizeLinear" or not chain.tail:
        return chain.tail, {}
    return chain.tail[:-1], lowering.scaling({DST: result_scale(lowering.graph, chain.last)})


def merged(*groups: dict[str, Any]) -> dict[str, Any]:
    """The scales and zero points of several groups as those of one primitive."""
    return {
        name: {key: value for group in groups for key, value in group.get(name, {}).items()}
        for name in ("scales", "zero_points")
    }


def unsigned(lowering: Lowering, tensor: int, integers: tuple[Quantized, Quantized] | None) -> int:
    """The tensor of a head's data; signed bytes that are never negative are unsigned ones, which multiply faster."""
    one = lowering.tensors[tensor]
    if integers is None or one.dtype != "int8" or lowering.multiplier.ranges[integers[0].raw][0] < 0:
        return tensor
    return lowering.add(one.dims, "uint8", one.strides, one.place)
