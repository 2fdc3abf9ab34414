"""Convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type
from heddle.core.ir.types import UNKNOWN, DType
from heddle.core.ops.registry import Operand, op
from heddle.core.ops.scalar import widened
from heddle.core.ops.shapes import known_ints, unknown
from heddle.core.ops.windows import Ints, window_dims, window_over, windows
from numpy.typing import NDArray

Array = NDArray[Any]


def convolved_type(name: str, x: Operand, w: Operand, dtype: DType, kernel_shape: Ints | None, **window: Any) -> Type:
    """The type of a convolution of x [N, C, *spatial] with w [M, C / group, *kernel]."""
    group = window.pop("group")
    if x.dims is None or w.dims is None:
        return TensorType(dtype, unknown(w.rank if x.dims is None else x.rank))
    if len(x.dims) != len(w.dims) or len(x.dims) < 3:
        raise GraphError(f"{name}: ranks do not fit, [N,C,...] and [M,C,...] are needed: {x.type} and {w.type}")
    channels, per_group, out = x.dims[1], w.dims[1], w.dims[0]
    if isinstance(channels, int) and isinstance(per_group, int) and channels != per_group * group:
        raise GraphError(f"{name}: channels do not fit in {group} groups: {x.type} and {w.type}")
    if isinstance(out, int) and out % group:
        raise GraphError(f"{name}: {out} filters do not divide into {group} groups")
    kernel = w.dims[2:]
    if kernel_shape and all(isinstance(k, int) for k in kernel) and tuple(kernel_shape) != kernel:
        raise GraphError(f"{name}: kernel_shape is {list(kernel_shape)}, the filters are {w.type}")
    return TensorType(dtype, (x.dims[0], out, *window_dims(name, x.dims[2:], kernel_shape or kernel, **window)))


def convolve(x: Array, w: Array, group: int = 1, kernel_shape: Ints | None = None, **window: Any) -> Array:
    """The convolution in the operands' own dtype."""
    seen = windows(x, window_over("Conv", x.shape[2:], w.shape[2:], **window), 0)
    n, c, *_ = x.shape
    m, out, spatial = w.shape[0], seen.shape[2 : x.ndim], x.ndim - 2
    columns = seen.reshape(n, group, c // group, *seen.shape[2:])
    depth = math.prod(w.shape[1:])
    columns = np.moveaxis(columns, 2, 2 + spatial).reshape(n, group, math.prod(out), depth)
    filters = w.reshape(group, m // group, depth).transpose(0, 2, 1)
    product = np.matmul(columns, filters)
    return np.ascontiguousarray(product.transpose(0, 1, 3, 2)).reshape(n, m, *out)


def conv_type(x: Operand, w: Operand, b: Operand | None, **attributes: Any) -> Type:
    if x.dtype != w.dtype:
        raise GraphError(f"Conv: operands must have one dtype: {x.type} and {w.type}")
    return convolved_type("Conv", x, w, x.dtype, **attributes)


GEOMETRY: Mapping[str, Any] = {
    "auto_pad": "NOTSET",
    "dilations": None,
    "group": 1,
    "kernel_shape": None,
    "pads": None,
    "strides": None,
}
"""The attributes of a convolution and their defaults."""


@op("Conv", infer=conv_type, shared=GEOMETRY)
def conv(x: Array, w: Array, b: Array | None = None, **geometry: Any) -> Array:
    wide = widened(x.dtype)
    y = convolve(x.astype(wide), w.astype(wide), **geometry)
    return (y if b is None else y + along_channels(b, y.ndim)).astype(x.dtype)


def along_channels(vector: Array, rank: int) -> Array:
    """A vector shaped to broadcast along axis 1."""
    return vector.reshape(1, -1, *[1] * (rank - 2))


# -- transposed -------------------------------------------------------------------------------------------------


def transposed_padding(
    sizes: Ints,
    kernel: Ints,
    strides: Ints,
    dilations: Ints,
    output_padding: Ints,
    output_shape: Ints | None,
    pads: Ints | None,
    auto_pad: str,
) -> tuple[Ints, Ints]:
    """The padding before each axis and the sizes of the output of a transposed convolution."""
    rank = len(sizes)
    natural = [
        s * (n - 1) + o + (k - 1) * d + 1
        for s, n, o, k, d in zip(strides, sizes, output_padding, kernel, dilations, strict=True)
    ]
    if output_shape is None and auto_pad.startswith("SAME"):
        output_shape = tuple(n * s for n, s in zip(sizes, strides, strict=True))
    if output_shape is None:
        pads = pads or (0,) * (2 * rank)
        out = tuple(n - a - b for n, a, b in zip(natural, pads[:rank], pads[rank:], strict=True))
        if min(out) < 0:
            raise GraphError(f"ConvTranspose: pads of {list(pads)} cut more than the {natural} elements that there are")
        return pads[:rank], out
    spare = [max(0, n - want) for n, want in zip(natural, output_shape[-rank:], strict=True)]
    before = tuple(s // 2 if auto_pad == "SAME_UPPER" else s - s // 2 for s in spare)
    return before, tuple(output_shape[-rank:])


def conv_transpose_type(x: Operand, w: Operand, b: Operand | None, *, group: int, **attributes: Any) -> Type:
    if x.dims is None or w.dims is None:
        return TensorType(x.dtype, unknown(w.rank if x.dims is None else x.rank))
    if len(x.dims) != len(w.dims) or len(x.dims) < 3:
        raise GraphError(f"ConvTranspose: ranks do not fit, [N,C,...] and [C,M,...] are needed: {x.type} and {w.type}")
    if isinstance(x.dims[1], int) and isinstance(w.dims[0], int) and x.dims[1] != w.dims[0]:
        raise GraphError(f"ConvTranspose: channels differ: {x.type} and {w.type}")
    filters = w.dims[1] * group if isinstance(w.dims[1], int) else w.dims[1] if group == 1 else UNKNOWN
    spatial, kernel = x.dims[2:], w.dims[2:]
    if any(isinstance(dim, str) for dim in (*spatial, *kernel)):
        given = attributes["output_shape"]
        found = tuple(given[-len(spatial) :]) if given else unknown(len(spatial))
        assert found is not None
        return TensorType(x.dtype, (x.dims[0], filters, *found))
    sizes = tuple(int(dim) for dim in spatial)
    _, out = transposed_padding(*_transposed(sizes, tuple(int(k) for k in kernel), **attributes))
    return TensorType(x.dtype, (x.dims[0], filters, *out))


def _transposed(
    sizes: Ints,
    kernel: Ints,
    *,
    auto_pad: str,
    dilations: Ints | None,
    kernel_shape: Ints | None,
    output_padding: Ints | None,
    output_shape: Ints | None,
    pads: Ints | None,
    strides: Ints | None,
) -> Any:
    rank = len(sizes)
    ones, zeros = (1,) * rank, (0,) * rank
    padding = output_padding or zeros
    return sizes, kernel, strides or ones, dilations or ones, padding, output_shape, pads, auto_pad


@op("ConvTranspose", infer=conv_transpose_type)
def conv_transpose(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    rank, wide = x.ndim - 2, widened(x.dtype)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    padding = output_padding or (0,) * rank
    before, out = transposed_padding(
        x.shape[2:], w.shape[2:], strides, dilations, padding, output_shape, pads, auto_pad
    )
    n, c, per_group = x.shape[0], x.shape[1], w.shape[1]
    grouped = x.astype(wide).reshape(n, group, c // group, math.prod(x.shape[2:]))
    filters = w.astype(wide).reshape(group, c // group, per_group, *w.shape[2:])
    span = [
        s * (size - 1) + (k - 1) * d + 1
        for s, size, k, d in zip(strides, x.shape[2:], w.shape[2:], dilations, strict=True)
    ]
    room = [max(have, low + want) for have, low, want in zip(span, before, out, strict=True)]
    y = np.zeros((n, group * per_group, *room), wide)
    for place in np.ndindex(*w.shape[2:]) if grouped.size else ():
        part = np.matmul(filters[(..., *place)].transpose(0, 2, 1), grouped)
        target = tuple(
            slice(p * d, p * d + s * (size - 1) + 1, s)
            for p, d, s, size in zip(place, dilations, strides, x.shape[2:], strict=True)
        )
        y[(slice(None), slice(None), *target)] += part.reshape(n, -1, *x.shape[2:])
    y = y[(slice(None), slice(None), *(slice(low, low + want) for low, want in zip(before, out, strict=True)))]
    return np.ascontiguousarray(y if b is None else y + along_channels(b, y.ndim)).astype(x.dtype)


# -- columns back into an image ---------------------------------------------------------------------------------


def col2im_type(input: Operand, image_shape: Operand, block_shape: Operand, **_: Any) -> Type:
    if image_shape.value is None:
        length = image_shape.dims[0] if image_shape.dims else None
        return TensorType(input.dtype, unknown(2 + length if isinstance(length, int) else None))
    sizes = tuple(int(size) for size in image_shape.value)
    batch, columns = (input.dims[0], input.dims[1]) if input.dims is not None else (UNKNOWN, UNKNOWN)
    block = known_ints(block_shape)
    channels = columns // math.prod(block) if block is not None and isinstance(columns, int) else UNKNOWN
    return TensorType(input.dtype, (batch, channels, *sizes))


@op("Col2Im", infer=col2im_type)
def col2im(
    input: Array,
    image_shape: Array,
    block_shape: Array,
    *,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    sizes, kernel = tuple(map(int, image_shape)), tuple(map(int, block_shape))
    window = window_over("Col2Im", sizes, kernel, strides, dilations, pads)
    n, channels = input.shape[0], input.shape[1] // math.prod(kernel)
    blocks = input.reshape(n, channels, *kernel, *window.out)
    padded = np.zeros(
        (n, channels, *(s + a + b for s, a, b in zip(sizes, window.before, window.after, strict=True))), input.dtype
    )
    for place in np.ndindex(*kernel):
        target = tuple(
            slice(p * d, p * d + s * (count - 1) + 1, s)
            for p, d, s, count in zip(place, window.dilations, window.strides, window.out, strict=True)
        )
        padded[(slice(None), slice(None), *target)] += blocks[(slice(None), slice(None), *place)]
    inside = (slice(a, a + s) for s, a in zip(sizes, window.before, strict=True))
    return np.ascontiguousarray(padded[(slice(None), slice(None), *inside)])
