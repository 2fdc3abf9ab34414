"""Images read at places that other tensors compute."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import Type
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops.convolution import along_channels, convolved_type
from heddle.core.ops.registry import Operand, op
from heddle.core.ops.resizing import cubic, linear
from heddle.core.ops.shapes import ints, known_ints, length_of, unknown, with_dims
from heddle.core.ops.windows import Ints, window_over
from numpy.typing import NDArray

Array = NDArray[Any]

PADDING = ("zeros", "border", "reflection")


def affine_grid_type(theta: Operand, size: Operand, *, align_corners: int) -> Type:
    shape = known_ints(size)
    if shape is None:
        count = length_of(size)
        return with_dims(theta.tensor, unknown(count))
    return with_dims(theta.tensor, (shape[0], *shape[2:], len(shape) - 2))


@op("AffineGrid", infer=affine_grid_type)
def affine_grid(theta: Array, size: Array, *, align_corners: int = 0) -> Array:
    """Places from -1 to 1 along each axis, the last axis first, moved by a matrix."""
    spatial = ints(size)[2:]
    lines = []
    for n in spatial:
        steps = np.arange(n, dtype=np.float64)
        lines.append(steps * 2 / max(n - 1, 1) - 1 if align_corners else (2 * steps + 1) / n - 1)
    grid = np.meshgrid(*lines, indexing="ij")
    homogeneous = np.stack([*reversed(grid), np.ones(spatial)], axis=-1)
    moved = np.einsum("...k,njk->n...j", homogeneous, theta.astype(np.float64))
    return np.asarray(moved).astype(theta.dtype)


def grid_sample_type(x: Operand, grid: Operand, **_: Any) -> Type:
    if x.dims is None or grid.dims is None:
        return with_dims(x.tensor, unknown(grid.rank if x.dims is None else x.rank))
    return with_dims(x.tensor, (*x.dims[:2], *grid.dims[1:-1]))


@op("GridSample", infer=grid_sample_type)
def grid_sample(
    x: Array, grid: Array, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Array:
    if mode not in ("linear", "nearest", "cubic") or padding_mode not in PADDING:
        raise GraphError(f"GridSample: mode {mode!r} and padding_mode {padding_mode!r} are not both known")
    places = []
    for i, size in enumerate(x.shape[2:]):
        at = grid[..., x.ndim - 3 - i].astype(np.float64)
        at = (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2
        at = np.rint(at) if mode == "nearest" else at
        places.append(_inside(at, size, padding_mode, bool(align_corners)))
    result = interpolate(x.astype(np.float64), places, mode, padding_mode, bool(align_corners))
    return result.astype(x.dtype)


def _inside(at: Array, size: int, padding_mode: str, align_corners: bool) -> Array:
    """Places brought back into the image, as the padding mode says."""
    if padding_mode == "border":
        return np.clip(at, 0, size - 1)
    return _reflected(at, size, align_corners) if padding_mode == "reflection" else at


def _reflected(at: Array, size: int, align_corners: bool) -> Array:
    low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
    span = high - low
    if span == 0:
        return np.zeros_like(at)
    beyond = np.where(at < low, low - at, at - high)
    turns = np.floor(beyond / span)
    rest = beyond - turns * span
    even = turns % 2 == 0
    below, above = np.where(even, low + rest, high - rest), np.where(even, high - rest, low + rest)
    return np.where(at < low, below, np.where(at > high, above, at))


def interpolate(
    x: Array, places: list[Array], mode: str, padding_mode: str = "zeros", align_corners: bool = False
) -> Array:
    """An image [N, C, *spatial] read at places, one array [N, *out] per spatial axis."""
    reach = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}[mode]
    taps = []
    for at, size in zip(places, x.shape[2:], strict=True):
        base = np.floor(at)
        options = []
        for step in reach:
            index = base + step
            distance = at - index
            weight = linear(distance) if mode == "linear" else cubic(distance, -0.75) if mode == "cubic" else 1.0
            if padding_mode == "zeros":
                weight = np.where((index >= 0) & (index < size), weight, 0.0)
            else:
                index = _inside(index, size, padding_mode, align_corners)
            options.append((np.clip(index, 0, size - 1).astype(np.int64), weight))
        taps.append(options)
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * (places[0].ndim - 1))
    channels_last = np.moveaxis(x, 1, -1)
    total = np.zeros((*places[0].shape, x.shape[1]))
    for corner in itertools.product(*taps):
        weight = np.ones(places[0].shape)
        for _, factor in corner:
            weight = weight * factor
        total += channels_last[(batch, *(index for index, _ in corner))] * weight[..., None]
    return np.moveaxis(total, -1, 1)


# -- deformable convolution -------------------------------------------------------------------------------------


def deform_conv_type(
    x: Operand, w: Operand, offset: Operand, b: Operand | None, mask: Operand | None, **attributes: Any
) -> Type:
    attributes.pop("offset_group")
    return convolved_type("DeformConv", x, w, x.dtype, **attributes)


@op("DeformConv", infer=deform_conv_type)
def deform_conv(
    x: Array,
    w: Array,
    offset: Array,
    b: Array | None = None,
    mask: Array | None = None,
    *,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    offset_group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Convolution whose taps are moved by offsets, read linearly, and weighed by a mask."""
    window = window_over("DeformConv", x.shape[2:], w.shape[2:], strides, dilations, pads)
    rank, n = x.ndim - 2, x.shape[0]
    kernel = list(np.ndindex(*window.kernel))
    moves = offset.reshape(n, offset_group, len(kernel), rank, *window.out).astype(np.float64)
    weights = None if mask is None else mask.reshape(n, offset_group, len(kernel), *window.out)
    size = x.shape[1] // offset_group
    starts = np.meshgrid(*(np.arange(count) for count in window.out), indexing="ij")
    columns = np.zeros((n, x.shape[1], len(kernel), *window.out))
    for g in range(offset_group):
        part = x[:, g * size : (g + 1) * size].astype(np.float64)
        for k, tap in enumerate(kernel):
            places = [
                starts[d] * window.strides[d] - window.before[d] + tap[d] * window.dilations[d] + moves[:, g, k, d]
                for d in range(rank)
            ]
            read = interpolate(part, places, "linear")
            columns[:, g * size : (g + 1) * size, k] = read if weights is None else read * weights[:, g, k][:, None]
    m = w.shape[0]
    grouped = columns.reshape(n, group, -1, int(np.prod(window.out)))
    filters = w.astype(np.float64).reshape(group, m // group, -1)
    y = np.matmul(filters, grouped).reshape(n, m, *window.out)
    y = y if b is None else y + along_channels(b, y.ndim)
    return np.asarray(y).astype(x.dtype)


# -- regions ----------------------------------------------------------------------------------------------------


def roi_align_type(
    x: Operand, rois: Operand, batch_indices: Operand, *, output_height: int, output_width: int, **_: Any
) -> Type:
    count = UNKNOWN if rois.dims is None else rois.dims[0]
    return with_dims(x.tensor, (count, UNKNOWN if x.dims is None else x.dims[1], output_height, output_width))


@op("RoiAlign", infer=roi_align_type)
def roi_align(
    x: Array,
    rois: Array,
    batch_indices: Array,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    """Each region cut into cells, each cell the mean (or the greatest) of points read between pixels."""
    half = coordinate_transformation_mode == "half_pixel"
    result = np.zeros((len(rois), x.shape[1], output_height, output_width), x.dtype)
    for i, (roi, image) in enumerate(zip(rois.astype(np.float64), batch_indices, strict=True)):
        x1, y1, x2, y2 = roi * spatial_scale - (0.5 if half else 0)
        height, width = y2 - y1, x2 - x1
        if not half:
            height, width = max(height, 1.0), max(width, 1.0)
        rows, per_row = _cells(y1, height, output_height, sampling_ratio)
        columns, per_column = _cells(x1, width, output_width, sampling_ratio)
        terms = _bilinear(x[int(image)].astype(np.float64), rows, columns)
        cells = terms.reshape(4, x.shape[1], output_height, per_row, output_width, per_column)
        pooled = cells.sum(axis=0).mean(axis=(2, 4)) if mode == "avg" else cells.max(axis=(0, 3, 5))
        result[i] = pooled.astype(x.dtype)
    return result


def _cells(start: float, length: float, count: int, sampling_ratio: int) -> tuple[Array, int]:
    """The places of all points along an axis, and how many fall into each cell."""
    cell = length / count
    points = sampling_ratio or max(1, int(np.ceil(cell)))
    steps = (np.arange(points) + 0.5) * cell / points
    return (start + np.arange(count)[:, None] * cell + steps).reshape(-1), points


def _bilinear(image: Array, rows: Array, columns: Array) -> Array:
    """The four weighted neighbours [4, C, rows, columns] of each point; zero a pixel and more outside the image."""
    taps = []
    for at, size in ((rows, image.shape[1]), (columns, image.shape[2])):
        inside = (at >= -1) & (at <= size)
        held = np.clip(at, 0, size - 1)
        low = np.floor(held).astype(np.int64)
        part = held - low
        taps.append(((low, (1 - part) * inside), (np.minimum(low + 1, size - 1), part * inside)))
    corners = itertools.product(*taps)
    return np.stack([image[:, r][:, :, c] * np.outer(wr, wc) for (r, wr), (c, wc) in corners])


def max_roi_pool_type(x: Operand, rois: Operand, *, pooled_shape: Ints, spatial_scale: float) -> Type:
    count = UNKNOWN if rois.dims is None else rois.dims[0]
    return with_dims(x.tensor, (count, UNKNOWN if x.dims is None else x.dims[1], *pooled_shape))


@op("MaxRoiPool", infer=max_roi_pool_type)
def max_roi_pool(x: Array, rois: Array, *, pooled_shape: Ints, spatial_scale: float = 1.0) -> Array:
    """The greatest element of each cell of each region; an empty cell is zero."""
    height, width = pooled_shape
    result = np.zeros((len(rois), x.shape[1], height, width), x.dtype)
    for i, roi in enumerate(rois.astype(np.float64)):
        image = x[int(roi[0])]
        x1, y1, x2, y2 = (int(np.floor(v * spatial_scale + 0.5)) for v in roi[1:])
        rows = _bins(y1, max(y2 - y1 + 1, 1), height, image.shape[1])
        columns = _bins(x1, max(x2 - x1 + 1, 1), width, image.shape[2])
        for (r, (top, bottom)), (c, (left, right)) in itertools.product(enumerate(rows), enumerate(columns)):
            if bottom > top and right > left:
                result[i, :, r, c] = image[:, top:bottom, left:right].max(axis=(1, 2))
    return result


def _bins(start: int, length: int, count: int, size: int) -> list[tuple[int, int]]:
    """The pixels of each cell along an axis."""
    edges = [(int(np.floor(i * length / count)), int(np.ceil((i + 1) * length / count))) for i in range(count)]
    return [(min(max(a + start, 0), size), min(max(b + start, 0), size)) for a, b in edges]
