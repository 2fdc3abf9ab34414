"""Attributes that have become operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.frontend.builder import Builder, Call
from heddle.core.ir import Value


def _ints(builder: Builder, numbers: Any, stem: str) -> Value:
    return builder.constant(np.array(numbers, np.int64), stem)


def _moved(name: str, position: int, required: bool = False) -> Callable[[Call, Builder], Call]:
    """The attribute `name` (integers) becomes the operand at `position`."""

    def upgrade(call: Call, builder: Builder) -> Call:
        numbers = call.attrs.get(name)
        if numbers is None:
            if required:
                raise GraphError(f"{call.op}: attribute {name!r} is missing")
            return call
        inputs = [*call.inputs[:position], *([None] * (position - len(call.inputs))), _ints(builder, numbers, name)]
        return Call(call.op, tuple(inputs), call.without(name), call.outputs)

    return upgrade


def _clip(call: Call, builder: Builder) -> Call:
    (x,) = call.inputs
    assert x is not None
    bounds = [
        builder.constant(np.array(call.attrs[name], x.dtype), name) if name in call.attrs else None
        for name in ("min", "max")
    ]
    return Call("Clip", (x, *bounds), call.without("min", "max"))


def _pad(call: Call, builder: Builder) -> Call:
    (x,) = call.inputs
    assert x is not None
    pads = _ints(builder, call.attrs["pads"], "pads")
    value = builder.constant(np.array(call.attrs.get("value", 0.0), x.dtype), "value")
    return Call("Pad", (x, pads, value), call.without("pads", "value"))


def _slice(call: Call, builder: Builder) -> Call:
    names = [name for name in ("starts", "ends", "axes") if name in call.attrs]
    operands = [_ints(builder, call.attrs[name], name) for name in names]
    return Call("Slice", (*call.inputs, *operands), call.without(*names))


def _top_k(call: Call, builder: Builder) -> Call:
    k = _ints(builder, [call.attrs["k"]], "k")
    return Call("TopK", (*call.inputs, k), call.without("k"), call.outputs)


def _dropout(call: Call, builder: Builder) -> Call:
    ratio = builder.constant(np.array(call.attrs.get("ratio", 0.5), np.float32), "ratio")
    return Call("Dropout", (*call.inputs, ratio), call.without("ratio"), call.outputs)


def _split(call: Call, builder: Builder) -> Call:
    """Before 18, no sizes meant equal parts, as many as there are outputs."""
    if call.input(1) is not None:
        return call
    return Call("Split", call.inputs[:1], {**call.attrs, "num_outputs": call.outputs}, call.outputs)


def _upsample(call: Call, builder: Builder) -> Call:
    scales = builder.constant(np.array(call.attrs["scales"], np.float32), "scales")
    return Call("Upsample", (*call.inputs, scales), call.without("scales"))


def _dft(call: Call, builder: Builder) -> Call:
    x, length = call.input(0), call.input(1)
    axis = builder.constant(np.array(call.attrs.get("axis", 1), np.int64), "axis")
    return Call("DFT", (x, length, axis), call.without("axis"))


_AXES = (18, _moved("axes", 1))

RULES = {
    **{
        f"Reduce{kind}": (_AXES,)
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
    },
    "ReduceSum": ((13, _moved("axes", 1)),),
    "Squeeze": ((13, _moved("axes", 1)),),
    "Unsqueeze": ((13, _moved("axes", 1, required=True)),),
    "Split": ((13, _moved("split", 1)), (18, _split)),
    "Clip": ((11, _clip),),
    "Pad": ((11, _pad),),
    "Slice": ((10, _slice),),
    "TopK": ((10, _top_k),),
    "Dropout": ((12, _dropout),),
    "Upsample": ((9, _upsample),),
    "DFT": ((20, _dft),),
}
