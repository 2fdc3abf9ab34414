"""Operators that move elements: other shapes, cuts, edges, places that other tensors name."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from heddle.testing.rules.drawing import Drawing, Rule, Shape, some_axes

FAR = 10**9
"""Past either end of an axis, as exporters write `to the end`."""


def reshape(d: Drawing) -> dict[str, Any]:
    """The axes reversed, joined or kept, one of them perhaps to be counted."""
    x = d.free(0, (4, 2, 3, 1))
    d.hold(1, d.pick([(-1,), x[::-1], (*x[:1], -1), (0, -1), (1, *x)]))
    return {}


def transpose(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (2, 3, 4))
    forward = tuple(range(len(x)))
    return {"perm": d.wish("perm", [forward[::-1], forward, forward[1:] + forward[:1]])}


def concat(d: Drawing) -> dict[str, Any]:
    """Tensors that differ along one axis at most."""
    x = d.free(0, (4, 2, 3, 1))
    axis = d.wish("axis", list(range(len(x))) or [0])
    for number in range(1, d.operands):
        if len(x):
            d.want(number, _with(x, axis, d.pick((x[axis], 1, 3, 16))))
    return {"axis": axis}


def _with(shape: Shape, axis: int, size: int) -> Shape:
    """The shape with another size of one axis."""
    changed = list(shape)
    changed[axis] = size
    return tuple(changed)


def squeeze(d: Drawing) -> dict[str, Any]:
    """Axes of one left out; an open tensor has some."""
    sizes = [d.pick((1, 3, 1, 5)) for _ in range(d.pick((3, 2, 4)))]
    x = d.want(0, tuple(sizes))
    lone = [axis for axis, size in enumerate(x) if size == 1 and d.pick((True, False))]
    d.hold(1, [d.pick((axis, axis - len(x))) for axis in lone])
    return {}


def unsqueeze(d: Drawing) -> dict[str, Any]:
    """One axis of one or two put in, anywhere."""
    x = d.free(0, (2, 3, 1, 0))
    count = d.pick((1, 2))
    places = list(range(-len(x) - count, len(x) + count))
    first = d.pick(places)
    taken = [first]
    if count == 2:
        whole = len(x) + count
        taken.append(d.pick([place for place in places if place % whole != first % whole]))
    d.hold(1, taken)
    return {}


def expand(d: Drawing) -> dict[str, Any]:
    """Axes of one made longer, axes put before."""
    x = d.free(0, (3, 2, 1, 0))
    grown = tuple(d.pick((size, 3, 2)) if size == 1 else d.pick((size, 1)) for size in x)
    d.hold(1, (*d.pick([(), (2,), (1,)]), *grown) or (3,))
    return {}


def tile(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (3, 2, 1, 4))
    d.hold(1, [d.pick((1, 2, 3)) for _ in x])
    return {}


def cut(d: Drawing) -> dict[str, Any]:
    """From either end, past either end, in steps, backwards; of some axes or of the first ones."""
    x = d.free(0, (4, 2, 3, 1))
    axes = some_axes(d, len(x))
    if not d.present(3):
        axes = list(range(len(axes)))
    starts, ends, steps = [], [], []
    for axis in axes:
        size, step = x[axis], d.pick((1, 2, 1, -1)) if d.present(4) else 1
        forward = [(0, size), (1, FAR), (0, -1), (-2, FAR), (size // 2, size), (1, 1)]
        start, end = d.pick(forward if step > 0 else [(-1, -FAR), (FAR, 0), (size - 1, -size - 1)])
        starts.append(start)
        ends.append(end)
        steps.append(step)
    for number, values in enumerate((starts, ends, axes, steps), 1):
        d.hold(number, values)
    return {}


def split(d: Drawing) -> dict[str, Any]:
    """Parts of given sizes, or as many as there are results."""
    x = d.free(0, (2, 3, 4))
    axis = d.wish("axis", list(range(len(x))) or [0])
    first = d.pick((1, 0, x[axis] // 2)) if x else 0
    d.hold(1, [x[axis]] if d.results == 1 else [first, x[axis] - first, *[0] * (d.results - 2)])
    return {"axis": axis, "num_outputs": None if d.present(1) else d.results}


def pad(d: Drawing) -> dict[str, Any]:
    """Edges put on or cut off, on both sides of some axes or of all."""
    x = d.free(0, (3, 4, 2, 1))
    mode = d.wish("mode", ["constant", "reflect", "edge", "wrap"])
    axes = some_axes(d, len(x)) if d.present(3) else list(range(len(x)))
    widths = (0, 1, 2, -1) if mode == "constant" else (0, 1)
    d.hold(1, [d.pick(widths) for _ in (*axes, *axes)])
    d.want(2, ())
    d.hold(3, axes)
    return {"mode": mode}


def around_centre(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (3, 2))
    axes = tuple(some_axes(d, len(x)))
    d.hold(1, [d.pick((3, 1, 8)) for _ in axes])
    return {"axes": axes}


def triangle(d: Drawing) -> dict[str, Any]:
    """What is above or below a diagonal of matrices."""
    d.free(0, (2, 3, 4))
    d.hold(1, d.pick((0, 1, -1, 5)))
    return {"upper": d.wish("upper", [1, 0])}


def reverse(d: Drawing) -> dict[str, Any]:
    """So much of each sequence of a batch."""
    x = d.free(0, (2, 3, 4))
    time = d.wish("time_axis", [0, 1])
    batch = d.wish("batch_axis", [1 - time])
    if len(x) > 1:
        d.want(1, (x[batch],))
        d.within(1, 1 if x[time] else 0, x[time] + 1)
    return {"time_axis": time, "batch_axis": batch}


def condition(d: Drawing) -> dict[str, Any]:
    """Which of the elements along an axis are kept."""
    x = d.free(0, (2, 3, 1))
    axis = d.wish("axis", [None, 0, -1])
    d.want(1, (prod(x) if axis is None else x[axis],))
    return {"axis": axis}


def trim(d: Drawing) -> dict[str, Any]:
    """The first elements along an axis, as many as a number says."""
    x = d.free(0, (2, 3, 1))
    d.hold(1, d.pick(range(x[0] + 1)) if x else 0)
    return {"axis": 0}


def window(d: Drawing) -> dict[str, Any]:
    """A part of an axis that is no longer than it may be, or empty."""
    x = d.free(0, (2, 3, 1))
    axis = d.wish("axis", [0, *range(1, len(x)), -1])
    length = x[axis] if x else 0
    start = d.pick(range(length + 1))
    size = d.pick((2, 1, max(length, 1)))
    d.hold(1, [start])
    d.hold(2, [start + d.pick((0, size))])
    return {"axis": axis, "size": size}


# -- places ---------------------------------------------------------------------------------------------------------


def gather(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (3, 2, 1, 4))
    axis = d.wish("axis", [0, *range(1, len(x)), -1])
    d.want(1, d.pick([(3,), (), (2, 2), (1,), (0,)]))
    if x:
        _places(d, x[axis])
    return {"axis": axis}


def _places(d: Drawing, size: int) -> None:
    """Places on an axis, now and then counted from its end."""
    if size:
        d.within(1, d.pick((0, 0, -size)), size)


def gather_elements(d: Drawing) -> dict[str, Any]:
    """As many places as elements, or fewer; along the axis any number."""
    x = d.free(0, (2, 3, 1))
    axis = d.wish("axis", list(range(-1, len(x))) if x else [0])
    if x:
        less = tuple(d.pick((size, max(1, size - 1))) if size else 0 for size in x)
        d.want(1, _with(less, axis, d.pick((less[axis], 1, 5)) if x[axis] else 0))
        _places(d, x[axis])
    return {"axis": axis}


def gather_nd(d: Drawing) -> dict[str, Any]:
    """Each last row of the indices is a place in the first axes, or in those behind the batch."""
    x = d.free(0, (3, 2, 4, 1))
    if not x:
        return {}
    batch = d.wish("batch_dims", [0, 0, *range(len(x))][: 3 if len(x) > 1 else 1])
    depth = d.pick(range(1, len(x) - batch + 1))
    d.want(1, (*x[:batch], *d.pick([(3,), (), (2, 2)]), depth))
    _places(d, min(x[batch : batch + depth]))
    return {"batch_dims": batch}


def scatter_elements(d: Drawing) -> dict[str, Any]:
    """Each place once, as nobody says who writes last."""
    x = d.free(0, (2, 3, 1))
    axis = d.wish("axis", list(range(-1, len(x))) if x else [0])
    if x:
        shape = _with(x, axis, d.pick((x[axis], min(1, x[axis]))))
        ramp = np.arange(shape[axis]) + d.pick((0, 1, -1))
        ramp = ramp % max(1, x[axis]) - d.pick((0, x[axis]))
        along = ramp.reshape([-1 if at == axis % len(x) else 1 for at in range(len(x))])
        d.hold(1, np.broadcast_to(along, shape))
        d.want(2, shape)
    return {"axis": axis, "reduction": d.wish("reduction", ["none", "add", "mul", "max", "min"])}


def scatter_nd(d: Drawing) -> dict[str, Any]:
    """Rows of the first axis, each once."""
    x = d.free(0, (2, 3, 1))
    if x:
        count = d.pick(range(x[0] + 1))
        d.hold(1, np.array([place - d.pick((0, x[0])) for place in range(count)]).reshape(count, 1))
        d.want(2, (count, *x[1:]))
    return {"reduction": d.wish("reduction", ["none", "add", "mul", "max", "min"])}


def into_cache(d: Drawing) -> dict[str, Any]:
    """TensorScatter: new entries of each batch, from a place of its own on."""
    x = d.free(0, (4, 3))
    if len(x) < 3:
        return {}
    count = d.pick(range(1, x[-2] + 1)) if x[-2] else 0
    d.want(1, _with(x, -2, count))
    d.want(2, x[:1])
    d.within(2, 0, x[-2] - count + 1)
    return {"mode": d.wish("mode", ["linear", "circular"])}


def one_hot(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (1, 2, 0))
    depth = d.pick((3, 1, 5))
    d.within(0, -depth, depth)
    d.hold(1, depth)
    d.want(2, (2,))
    return {"axis": d.wish("axis", [-1, *range(len(x) + 1)])}


def largest(d: Drawing) -> dict[str, Any]:
    """So many of the largest or smallest."""
    x = d.free(0, (2, 1, 3))
    axis = d.wish("axis", [-1, *range(len(x))])
    d.hold(1, [d.pick(range(x[axis] + 1)) if x else 0])
    return {"axis": axis, "largest": d.wish("largest", [1, 0])}


def boxes(d: Drawing) -> dict[str, Any]:
    """NonMaxSuppression: corners of boxes and a score of each for each class; how many, how alike, how good."""
    n, count, classes = d.pick((1, 2)), d.pick((4, 1, 7)), d.pick((1, 2))
    d.want(0, (n, count, 4))
    d.want(1, (n, classes, count))
    for number, value in ((2, d.pick((2, 1, 0))), (3, d.pick((0.5, 0.0))), (4, d.pick((0.0, 0.3)))):
        d.hold(number, [value])
    return {}


RULES: Mapping[str, Rule] = {
    "Reshape": reshape,
    "Transpose": transpose,
    "Concat": concat,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Expand": expand,
    "Tile": tile,
    "Slice": cut,
    "Split": split,
    "Pad": pad,
    "CenterCropPad": around_centre,
    "Trilu": triangle,
    "ReverseSequence": reverse,
    **dict.fromkeys(("Compress", "heddle.CompressBounded"), condition),
    "heddle.Trim": trim,
    "heddle.SliceBounded": window,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TensorScatter": into_cache,
    "OneHot": one_hot,
    "TopK": largest,
    **dict.fromkeys(("NonMaxSuppression", "heddle.NonMaxSuppressionBounded"), boxes),
}
