"""The geometry of sliding windows: what convolution and pooling have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.shapes import Dims
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Ints = tuple[int, ...]
AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True)
class Window:
    """A window's size, stride and dilation, the padding before and after the input, and how often it fits; per axis."""

    kernel: Ints
    strides: Ints
    dilations: Ints
    before: Ints
    after: Ints
    out: Ints

    @property
    def extent(self) -> Ints:
        """The span of input that one window covers."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def window_over(
    name: str,
    sizes: Sequence[int],
    kernel: Ints,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> Window:
    """The window of these attributes over an input of these spatial sizes."""
    _check(name, len(sizes), kernel, strides, dilations, pads, auto_pad)
    rank = len(sizes)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    before, after, out = [], [], []
    for i, (size, k, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        extent = (k - 1) * dilation + 1
        low, high = (pads[i], pads[rank + i]) if pads and auto_pad == "NOTSET" else (0, 0)
        if auto_pad.startswith("SAME"):
            whole = max(0, (-(-size // stride) - 1) * stride + extent - size)
            low = whole // 2 if auto_pad == "SAME_UPPER" else whole - whole // 2
            high = whole - low
        room = size + low + high - extent
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (count - 1) * stride >= size + low:
            count -= 1
        if count < 0 or (room < 0 and not ceil_mode):
            raise GraphError(f"{name}: a window of {extent} does not fit an input of {size} padded by {low} and {high}")
        before.append(low)
        after.append(high)
        out.append(count)
    return Window(kernel, strides, dilations, tuple(before), tuple(after), tuple(out))


def _check(
    name: str,
    rank: int,
    kernel: Ints,
    strides: Ints | None,
    dilations: Ints | None,
    pads: Ints | None,
    auto_pad: str,
) -> None:
    if auto_pad not in AUTO_PADS:
        raise GraphError(f"{name}: auto_pad is {auto_pad!r}, it must be one of {', '.join(AUTO_PADS)}")
    lengths = {"kernel_shape": (kernel, rank), "strides": (strides, rank), "dilations": (dilations, rank)}
    for key, (values, length) in {**lengths, "pads": (pads, 2 * rank)}.items():
        if values is not None and values != () and len(values) != length:
            raise GraphError(f"{name}: {key} is {list(values)}, {length} numbers are needed")
        if values and key != "pads" and min(values) < 1:
            raise GraphError(f"{name}: {key} is {list(values)}, each must be at least 1")


def window_dims(
    name: str,
    dims: Dims,
    kernel: Sequence[Dim],
    strides: Ints | None = None,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> Dims:
    """How often a window fits along each spatial dimension, axis by axis as far as sizes are known."""
    rank = len(dims)
    if len(kernel) != rank:
        raise GraphError(f"{name}: the kernel has {len(kernel)} dimensions, the input has {rank} spatial ones")
    _check(name, rank, tuple(k if isinstance(k, int) else 1 for k in kernel), strides, dilations, pads, auto_pad)
    found: list[Dim] = []
    for i, (dim, k) in enumerate(zip(dims, kernel, strict=True)):
        stride, dilation = strides[i] if strides else 1, dilations[i] if dilations else 1
        own = (pads[i], pads[rank + i]) if pads else (0, 0)
        if isinstance(dim, int) and isinstance(k, int):
            found += window_over(name, (dim,), (k,), (stride,), (dilation,), own, auto_pad, ceil_mode).out
        elif stride == 1 and (auto_pad.startswith("SAME") or _keeps(k, dilation, own, auto_pad)):
            found.append(dim)
        else:
            found.append(UNKNOWN)
    return tuple(found)


def _keeps(kernel: Dim, dilation: int, pads: tuple[int, int], auto_pad: str) -> bool:
    """True when a window of stride one fits as often as its input is long."""
    padding = sum(pads) if auto_pad == "NOTSET" else 0
    return isinstance(kernel, int) and padding == (kernel - 1) * dilation


def windows(x: NDArray[Any], window: Window, fill: Any) -> NDArray[Any]:
    """Every window of an array [N, C, *spatial], as a view [N, C, *out, *kernel] of the padded array."""
    rank = len(window.kernel)
    width = [(0, 0), (0, 0)]
    for i in range(rank):
        needed = (window.out[i] - 1) * window.strides[i] + window.extent[i]
        width.append((window.before[i], max(window.after[i], needed - x.shape[2 + i] - window.before[i])))
    padded = np.full([n + a + b for n, (a, b) in zip(x.shape, width, strict=True)], fill, x.dtype)
    padded[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, width, strict=True))] = x
    view = sliding_window_view(padded, window.extent, axis=tuple(range(2, 2 + rank)))
    starts = tuple(slice(0, n * s, s) for n, s in zip(window.out, window.strides, strict=True))
    return view[(slice(None), slice(None), *starts, *(slice(None, None, d) for d in window.dilations))]
