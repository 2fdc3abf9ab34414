"""Convolutions with what follows them, as plans of cuDNN over images whose channels are last."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.backends.cudnn.calls import Call, call
from heddle.backends.cudnn.layouts import Images
from heddle.backends.cudnn.program import Operation, Plan, Tensor
from heddle.backends.libraries.chains import Chain
from heddle.backends.libraries.strides import channels_last
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.lower.slicing import padded
from heddle.core.ir import Graph, Node, Value, dtype_name
from heddle.core.ops import attributes_of
from heddle.core.ops.convolution import transposed_padding
from heddle.core.ops.scalar import const
from heddle.core.ops.windows import Window, window_over


class PlanBuilder:
    """A plan under construction: its tensors, its operations, and the values that are its arguments."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operations: list[Operation] = []
        self.operands: list[Value] = []

    def argument(self, value: Value, dims: tuple[int, ...], strides: tuple[int, ...]) -> int:
        """A tensor that is given to the plan."""
        self.operands.append(value)
        self.tensors.append(Tensor(dims, strides, dtype_name(value.dtype), len(self.operands) - 1))
        return len(self.tensors) - 1

    def apply(self, kind: str, *operands: int, dims: tuple[int, ...], **numbers: Any) -> int:
        """The result of an operation; it lies nowhere until `finish`."""
        self.tensors.append(Tensor(dims, channels_last(dims), "float32"))
        result = len(self.tensors) - 1
        self.operations.append(Operation(kind, operands, result, numbers))
        return result

    def finish(self, result: int, output: Value, strides: tuple[int, ...], tf32: bool, node: str) -> Call:
        """The step that runs the plan and writes `result` to a value."""
        dims = self.tensors[result].dims
        self.tensors[result] = Tensor(dims, strides, dtype_name(output.dtype), len(self.operands))
        return call(Plan(tuple(self.tensors), tuple(self.operations), tf32), self.operands, output, node)


def convolution(op: Lowering, graph: Graph, chain: Chain, images: Images, tf32: bool) -> Call:
    """The call of a convolution and its tail; steps that it needs before are added to `op`."""
    node, output = chain.head, chain.value
    x, w = node.operands[:2]
    window = _window(node)
    x, padding = _bordered(op, x, window)
    builder = PlanBuilder()
    image = _image(builder, images, x)
    weights = _image(builder, images, w)
    dims = _flat(node.results[0].shape)
    attributes = {
        name: _pair(values, fill)
        for name, values, fill in (
            ("padding", padding, 0),
            ("strides", window.strides, 1),
            ("dilations", window.dilations, 1),
        )
    }
    kind = "deconvolution" if node.op == "ConvTranspose" else "convolution"
    result = builder.apply(kind, image, weights, dims=dims, **attributes)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        one = (1, dims[1], *(1 for _ in dims[2:]))
        result = builder.apply("add", result, builder.argument(bias, one, channels_last(one)), dims=dims)
    for after in chain.tail:
        if after.op == "Add":
            result = builder.apply("add", result, _image(builder, images, chain.other(after)), dims=dims)
        else:
            kind = {"Sigmoid": "sigmoid", "Tanh": "tanh"}.get(after.op, "relu")
            result = builder.apply(kind, result, dims=dims, **_bounds(graph, after))
    return builder.finish(result, images.last(output), channels_last(dims), tf32, op.label)


def _image(builder: PlanBuilder, images: Images, value: Value) -> int:
    """An image or filter as an argument; one axis of space becomes two."""
    dims = _flat(value.shape)
    return builder.argument(images.last(value), dims, channels_last(dims))


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with two axes of space at least."""
    return (*shape[:2], 1, shape[2]) if len(shape) == 3 else shape


def _pair(values: tuple[int, ...], fill: int) -> list[int]:
    return [fill, *values] if len(values) == 1 else list(values)


def suits(node: Node) -> bool:
    """Whether the library computes a convolution; the others are kernels of Heddle's own."""
    if node.op == "Conv":
        window = _window(node)
        return len(node.results[0].shape) <= 5 and min(*window.before, *window.after) >= 0
    window = _window(node)
    reached = [
        (out + 2 * edge - extent) // stride + 1
        for out, edge, extent, stride in zip(
            node.results[0].shape[2:], window.before, window.extent, window.strides, strict=True
        )
    ]
    return len(node.results[0].shape) <= 5 and min(window.before) >= 0 and tuple(reached) == node.operands[0].shape[2:]


def _window(node: Node) -> Window:
    """A convolution's window; of a transposed one, the window of the convolution that it turns round."""
    attrs = attributes_of(node)
    x, w = node.operands[:2]
    rank = len(w.shape) - 2
    if node.op == "Conv":
        names = ("strides", "dilations", "pads", "auto_pad")
        return window_over(node.op, x.shape[2:], w.shape[2:], **{name: attrs[name] for name in names})
    ones = (1,) * rank
    strides, dilations = attrs["strides"] or ones, attrs["dilations"] or ones
    padding = attrs["output_padding"] or (0,) * rank
    before, out = transposed_padding(
        x.shape[2:], w.shape[2:], strides, dilations, padding, attrs["output_shape"], attrs["pads"], attrs["auto_pad"]
    )
    return Window(w.shape[2:], strides, dilations, tuple(before), tuple(before), tuple(out))


def _bordered(op: Lowering, x: Value, window: Window) -> tuple[Value, tuple[int, ...]]:
    """The image and how many zeros the library puts around it; where sides differ, they are put there before."""
    if window.before == window.after:
        return x, window.before
    before, after = (0, 0, *window.before), (0, 0, *window.after)
    shape = [n + low + high for n, low, high in zip(x.shape, before, after, strict=True)]
    wider = padded(op, op.fresh("padded", x.dtype, shape), x, before, after, const(0, x.dtype))
    return wider, tuple(0 for _ in window.before)


def _bounds(graph: Graph, node: Node) -> dict[str, float]:
    """The slope or the bounds of what is a rectifier to the library."""
    if node.op == "LeakyRelu":
        return {"slope": float(attributes_of(node)["alpha"])}
    if node.op != "Clip":
        return {}
    bounds = [graph.constants.get(value) if value is not None else None for value in (*node.inputs[1:], None, None)]
    named = zip(("low", "high"), bounds, strict=False)
    return {name: float(np.asarray(array).reshape(-1)[0]) for name, array in named if array is not None}
