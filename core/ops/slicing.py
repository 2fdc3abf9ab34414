"""Tensors cut, joined, padded and repeated along their axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import Type
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.dims import difference, product, total
from heddle.core.ops.registry import Operand, op, same_type
from heddle.core.ops.shapes import Dims, axes_of, axis_of, ints, known_ints, length_of, merged, unknown, with_dims
from numpy.typing import NDArray

Array = NDArray[Any]

FAR = 2**31 - 1
"""From here on an end means the end of the dimension, whatever its size."""


def slice_type(data: Operand, starts: Operand, ends: Operand, axes: Operand | None, steps: Operand | None) -> Type:
    if data.dims is None:
        return data.type
    rank = len(data.dims)
    count = length_of(starts)
    where = range(rank if count is None else count) if axes is None else known_ints(axes)
    if where is None:
        return with_dims(data.tensor, unknown(rank))
    dims = list(data.dims)
    for i, axis in enumerate(axes_of("Slice", where, rank)):
        start, end = _item(starts, i), _item(ends, i)
        step = 1 if steps is None else _item(steps, i)
        if step == 0:
            raise GraphError("Slice: a step is 0, it must not be")
        dims[axis] = _sliced(dims[axis], start, end, step)
    return with_dims(data.tensor, tuple(dims))


def _item(operand: Operand, i: int) -> int | None:
    return None if operand.value is None else int(operand.value.reshape(-1)[i])


def _sliced(dim: Dim, start: int | None, end: int | None, step: int | None) -> Dim:
    if start is None or end is None or step is None:
        return UNKNOWN
    if isinstance(dim, int):
        return len(range(dim)[slice_of(dim, start, end, step)])
    if step == 1 and start >= 0 and end >= FAR:
        return difference(dim, start)
    same_side = (start >= 0) == (end >= 0)
    return 0 if step > 0 and same_side and start >= end else UNKNOWN


def slice_of(size: int, start: int, end: int, step: int) -> slice:
    """One axis's slice by ONNX's rules of clamping."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return slice(start, None if end < 0 else end, step) if size else slice(0, 0, 1)


@op("Slice", infer=slice_type)
def slice_(data: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
    where = range(starts.size) if axes is None else ints(axes)
    strides = (1,) * starts.size if steps is None else ints(steps)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(where, ints(starts), ints(ends), strides, strict=True):
        index[axis] = slice_of(data.shape[axis], start, end, step)
    return data[tuple(index)].copy()


# -- joining and splitting --------------------------------------------------------------------------------------


def concat_type(*inputs: Operand, axis: int) -> Type:
    types = [operand.tensor for operand in inputs]
    known = next((type for type in types if type.dims is not None), None)
    if len({type.dtype for type in types}) > 1:
        raise GraphError(f"Concat: operands must have one dtype: {' and '.join(str(type) for type in types)}")
    if known is None or known.dims is None:
        return types[0]
    at = axis_of("Concat", axis, len(known.dims))
    along = [
        UNKNOWN if type.dims is None else type.dims[at] for type in types if type.dims is None or at < len(type.dims)
    ]
    others = [with_dims(t, None if t.dims is None else (*t.dims[:at], 1, *t.dims[at + 1 :])) for t in types]
    dims = merged("Concat", others)
    assert dims is not None
    return with_dims(types[0], (*dims[:at], total(along), *dims[at + 1 :]))


@op("Concat", infer=concat_type)
def concat(*inputs: Array, axis: int) -> Array:
    return np.concatenate(inputs, axis=axis)


def split_type(input: Operand, split: Operand | None, *, axis: int, num_outputs: int | None, outputs: int) -> Any:
    if input.dims is None:
        return (input.type,) * outputs
    at = axis_of("Split", axis, len(input.dims))
    dim = input.dims[at]
    sizes: list[Dim] = [UNKNOWN] * outputs
    if split is not None and split.value is not None:
        sizes = list(ints(split.value))
        if len(sizes) != outputs or (isinstance(dim, int) and sum(ints(split.value)) != dim):
            raise GraphError(f"Split: {list(sizes)} does not split dimension {at} of {input.type} into {outputs}")
    elif split is None and isinstance(dim, int):
        sizes = list(even(dim, outputs if num_outputs is None else num_outputs))
    return tuple(with_dims(input.tensor, (*input.dims[:at], size, *input.dims[at + 1 :])) for size in sizes)


def even(size: int, parts: int) -> tuple[int, ...]:
    """The sizes of equal parts; the last ones get what is left."""
    chunk = -(-size // parts)
    return tuple(max(0, min(chunk, size - i * chunk)) for i in range(parts))


@op("Split", infer=split_type)
def split(
    input: Array, split: Array | None = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int
) -> tuple[Array, ...]:
    sizes = even(input.shape[axis], num_outputs or outputs) if split is None else ints(split)
    return tuple(part.copy() for part in np.split(input, np.cumsum(sizes)[:-1], axis=axis))


# -- padding and repeating --------------------------------------------------------------------------------------

PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def pad_type(data: Operand, pads: Operand, constant_value: Operand | None, axes: Operand | None, *, mode: str) -> Type:
    if mode not in PAD_MODES:
        raise GraphError(f"Pad: mode is {mode!r}, it must be one of {', '.join(PAD_MODES)}")
    if data.dims is None:
        return data.type
    where = range(len(data.dims)) if axes is None else known_ints(axes)
    if pads.value is None or where is None:
        return with_dims(data.tensor, unknown(len(data.dims)))
    try:
        before, after = _padding(len(data.dims), ints(pads.value), where)
    except ValueError:
        raise GraphError(f"Pad: {pads.value.size} pads do not fit {data.type}, two per axis are needed") from None
    return with_dims(data.tensor, tuple(grown(d, b + a) for d, b, a in zip(data.dims, before, after, strict=True)))


def grown(dim: Dim, by: int) -> Dim:
    """A dimension made larger by a number."""
    return dim + by if isinstance(dim, int) else total([dim, by]) if by >= 0 else difference(dim, -by)


def _padding(rank: int, pads: tuple[int, ...], axes: Sequence[int]) -> tuple[list[int], list[int]]:
    before, after = [0] * rank, [0] * rank
    where = axes_of("Pad", axes, rank)
    half = len(pads) // 2
    for axis, low, high in zip(where, pads[:half], pads[half:], strict=True):
        before[axis], after[axis] = low, high
    return before, after


@op("Pad", infer=pad_type)
def pad(
    data: Array,
    pads: Array,
    constant_value: Array | None = None,
    axes: Array | None = None,
    *,
    mode: str = "constant",
) -> Array:
    """A negative pad cuts."""
    before, after = _padding(data.ndim, ints(pads), range(data.ndim) if axes is None else ints(axes))
    cut = tuple(slice(max(-b, 0), n - max(-a, 0)) for n, b, a in zip(data.shape, before, after, strict=True))
    width = [(max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)]
    if mode != "constant":
        return np.asarray(np.pad(data[cut], width, mode=PAD_MODES[mode]))  # type: ignore[call-overload]
    fill: Any = "" if data.dtype.kind == "O" else 0
    if constant_value is not None:
        fill = constant_value.reshape(-1)[0]
    result = np.full([n + sum(w) for n, w in zip(data[cut].shape, width, strict=True)], fill, data.dtype)
    result[tuple(slice(b, b + n) for (b, _), n in zip(width, data[cut].shape, strict=True))] = data[cut]
    return result


def center_crop_pad_type(input_data: Operand, shape: Operand, *, axes: tuple[int, ...] | None) -> Type:
    if input_data.dims is None:
        return input_data.type
    dims = list(input_data.dims)
    where = axes_of("CenterCropPad", range(len(dims)) if axes is None else axes, len(dims))
    for i, axis in enumerate(where):
        dims[axis] = UNKNOWN if shape.value is None else int(shape.value[i])
    return with_dims(input_data.tensor, tuple(dims))


@op("CenterCropPad", infer=center_crop_pad_type)
def center_crop_pad(input_data: Array, shape: Array, *, axes: tuple[int, ...] | None = None) -> Array:
    result = input_data
    for axis, want in zip(range(input_data.ndim) if axes is None else axes, ints(shape), strict=True):
        have = result.shape[axis]
        if want <= have:
            result = np.take(result, range((have - want) // 2, (have - want) // 2 + want), axis=axis)
        else:
            width = [(0, 0)] * result.ndim
            width[axis] = ((want - have) // 2, want - have - (want - have) // 2)
            result = np.pad(result, width)
    return result


def tile_type(input: Operand, repeats: Operand) -> Type:
    if input.dims is None:
        return with_dims(input.tensor, unknown(length_of(repeats)))
    if repeats.value is None:
        return with_dims(input.tensor, unknown(len(input.dims)))
    times = ints(repeats.value)
    if len(times) != len(input.dims):
        raise GraphError(f"Tile: {len(times)} repeats are given for {input.type}, one per dimension is needed")
    return with_dims(input.tensor, tuple(scaled(d, n) for d, n in zip(input.dims, times, strict=True)))


def scaled(dim: Dim, by: int) -> Dim:
    """A dimension repeated a number of times."""
    return product([dim, by])


@op("Tile", infer=tile_type)
def tile(input: Array, repeats: Array) -> Array:
    return np.tile(input, ints(repeats))


# -- parts kept or turned ---------------------------------------------------------------------------------------


@op("Trilu", infer=same_type)
def trilu(input: Array, k: Array | None = None, *, upper: int = 1) -> Array:
    diagonal = 0 if k is None else int(k.reshape(-1)[0])
    rows, columns = np.ogrid[: input.shape[-2], : input.shape[-1]]
    kept = columns - rows >= diagonal if upper else columns - rows <= diagonal
    return np.where(kept, input, np.zeros((), input.dtype))


@op("ReverseSequence", infer=same_type)
def reverse_sequence(input: Array, sequence_lens: Array, *, batch_axis: int = 1, time_axis: int = 0) -> Array:
    moved = np.moveaxis(input, (batch_axis, time_axis), (0, 1)).copy()
    for row, length in zip(moved, ints(sequence_lens), strict=True):
        row[:length] = row[:length][::-1].copy()
    return np.array(np.moveaxis(moved, (0, 1), (batch_axis, time_axis)), order="C")


def compress_type(input: Operand, condition: Operand, *, axis: int | None) -> Type:
    if axis is None:
        return with_dims(input.tensor, (UNKNOWN,))
    if input.dims is None:
        return input.type
    at = axis_of("Compress", axis, len(input.dims))
    dims: Dims = (*input.dims[:at], UNKNOWN, *input.dims[at + 1 :])
    return with_dims(input.tensor, dims)


@op("Compress", infer=compress_type)
def compress(input: Array, condition: Array, *, axis: int | None = None) -> Array:
    return np.compress(condition, input, axis=axis)
