"""Operators whose meaning, name or defaults have changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.frontend.builder import Builder, Call
from heddle.core.ir import TensorType

ALWAYS = 1 << 30
"""The version of rules for forms that the compiler does not keep at all."""


def _flattened(call: Call, builder: Builder) -> Call:
    """Before 13, Softmax and its kin worked on the matrix that Flatten makes; now on one axis."""
    (x,) = call.inputs
    assert x is not None
    axis = call.attrs.get("axis", 1)
    dims = x.tensor.dims
    rank = None if dims is None else len(dims)
    if axis == -1 or (rank is not None and axis % max(rank, 1) == rank - 1):
        return Call(call.op, (x,), {"axis": -1})
    if rank is not None and not -rank <= axis <= rank:
        raise GraphError(f"{call.op}: axis {axis} is out of range for {x.type}")
    flat = builder.apply("Flatten", x, stem=f"{x.name}.flat", axis=axis)
    result = builder.apply(call.op, flat, stem=f"{x.name}.{call.op.lower()}", axis=-1)
    shape = builder.apply("Shape", x, stem=f"{x.name}.shape")
    return Call("Reshape", (result, shape))


def _upsample_is_resize(call: Call, builder: Builder) -> Call:
    """Upsample's last form is Resize's first."""
    return Call("Resize", call.inputs, call.attrs)


def _resize(call: Call, builder: Builder) -> Call:
    """Before 11 pixels were repeated: asymmetric coordinates, rounded down."""
    x, scales = call.inputs
    attrs = {**call.attrs, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return Call("Resize", (x, None, scales), attrs)


def _resize_sizes(call: Call, builder: Builder) -> Call:
    """Until 13 `scales` had to be given: an empty one stood for an absent one, and `roi` likewise."""
    empty = [v is not None and isinstance(v.type, TensorType) and v.type.size == 0 for v in call.inputs]
    inputs = tuple(None if gone else value for value, gone in zip(call.inputs, empty, strict=True))
    return Call("Resize", inputs, call.attrs)


def _batch_normalization(call: Call, builder: Builder) -> Call:
    """Before 14 training was told from the number of outputs; 7 and 8 had statistics for each element as an option."""
    if call.attrs.get("spatial", 1) != 1:
        raise GraphError("BatchNormalization: spatial=0 (statistics for each element) is not supported")
    if call.outputs > 1:
        raise GraphError("BatchNormalization: the training form of opsets before 14 is not supported")
    return Call("BatchNormalization", call.inputs, call.without("spatial"))


def _group_normalization(call: Call, builder: Builder) -> Call:
    """Before 21 scale and bias were given for each group; now for each channel."""
    x, scale, bias = call.inputs
    groups = call.attrs.get("num_groups")
    channels = x.tensor.dims[1] if x is not None and x.tensor.dims and len(x.tensor.dims) > 1 else None
    if not isinstance(channels, int) or not isinstance(groups, int) or groups < 1 or channels % groups:
        raise GraphError(f"GroupNormalization: {channels} channels cannot be divided into {groups} groups")
    column = builder.constant(np.array([groups, 1], np.int64), "column")
    spread = builder.constant(np.array([groups, channels // groups], np.int64), "spread")
    vector = builder.constant(np.array([channels], np.int64), "channels")
    wide = []
    for value in (scale, bias):
        assert value is not None
        value = builder.apply("Reshape", value, column, stem=value.name)
        value = builder.apply("Expand", value, spread, stem=value.name)
        wide.append(builder.apply("Reshape", value, vector, stem=value.name))
    return Call("GroupNormalization", (x, *wide), call.attrs)


def _constant_of_shape(call: Call, builder: Builder) -> Call:
    fill = np.asarray(call.attrs.get("value", np.zeros(1, np.float32)))
    if fill.size != 1:
        raise GraphError(f"ConstantOfShape: one value is expected, {fill.size} are given")
    return Call("Expand", (builder.constant(fill.reshape(()), "fill"), *call.inputs))


def _renamed(op: str) -> Callable[[Call, Builder], Call]:
    return lambda call, builder: Call(op, call.inputs, call.attrs, call.outputs)


def _default(name: str, value: str) -> Callable[[Call, Builder], Call]:
    """What the absent attribute meant before it was one."""
    return lambda call, builder: Call(call.op, call.inputs, {name: value, **call.attrs}, call.outputs)


def _grid_sample(call: Call, builder: Builder) -> Call:
    """Before 20 the modes had other names."""
    mode = call.attrs.get("mode", "bilinear")
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return Call(call.op, call.inputs, {**call.attrs, "mode": mode})


RULES = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), ((13, _flattened),)),
    "Upsample": ((10, _upsample_is_resize),),
    "Resize": ((11, _resize), (13, _resize_sizes)),
    "Scatter": ((ALWAYS, _renamed("ScatterElements")),),
    "BatchNormalization": ((14, _batch_normalization),),
    "GroupNormalization": ((21, _group_normalization),),
    "GridSample": ((20, _grid_sample),),
    "RoiAlign": ((16, _default("coordinate_transformation_mode", "output_half_pixel")),),
    "ConstantOfShape": ((ALWAYS, _constant_of_shape),),
}
