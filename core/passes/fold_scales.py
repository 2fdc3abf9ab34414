"""Folds BatchNormalization and constant scales and shifts into the weights of the operator before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from heddle.core.frontend.builder import Call
from heddle.core.ir import Graph, Node, TensorType, Value
from heddle.core.ir.graph import Array
from heddle.core.ops import attributes_of
from heddle.core.passes.dead_code import dead_code
from heddle.core.passes.sweep import Sweep, sweep


@dataclass(frozen=True)
class Affine:
    """`y = x * scale + shift`, a vector over the channels of x."""

    scale: Array
    shift: Array


def fold_scales(graph: Graph) -> Graph:
    """Fold what is affine in the channels into a convolution or product with constant weights that it alone reads.

    Dequantized weights are not constants, so quantized operators stay as they are.
    """
    folded = sweep(graph, _rule)
    return graph if folded is graph else dead_code(folded)


def _rule(node: Node, state: Sweep) -> Sequence[Value | None] | None:
    for position, value in enumerate(node.inputs):
        producer = None if value is None else state.makers.get(value)
        if producer is None or producer.op not in _WEIGHTED or value is None or not state.read_once(value):
            continue
        channels = _WEIGHTED[producer.op].channels(producer, state)
        if channels is None or not isinstance(value.type, TensorType) or value.dtype.kind != "f":
            continue
        affine = _affine(node, position, value, channels, _WEIGHTED[producer.op].axis, state)
        call = None if affine is None else _WEIGHTED[producer.op].fold(producer, affine, state)
        if call is not None:
            return state.add(call, [node.results[0].name], producer.name)
    return None


# -- what is affine ------------------------------------------------------------------------------------------------


def _affine(node: Node, position: int, x: Value, channels: int, axis: int, state: Sweep) -> Affine | None:
    """The node as a function of its operand x, when it is affine in x's channels and keeps its shape."""
    if len(node.results) != 1:
        return None
    if node.op == "BatchNormalization":
        return _normalization(node, state) if position == 0 and axis == 1 else None
    if node.op not in ("Add", "Sub", "Mul", "Div") or (node.op == "Div" and position == 1):
        return None
    vector = _per_channel(node.inputs[1 - position], x, channels, axis, state)
    if vector is None:
        return None
    one, zero = np.ones(channels), np.zeros(channels)
    if node.op == "Add":
        return Affine(one, vector)
    if node.op == "Sub":
        return Affine(one, -vector) if position == 0 else Affine(-one, vector)
    return Affine(vector if node.op == "Mul" else 1 / vector, zero)


def _normalization(node: Node, state: Sweep) -> Affine | None:
    attributes = attributes_of(node)
    arrays = [None if value is None else state.known.get(value) for value in node.inputs[1:]]
    if attributes["training_mode"] or any(array is None for array in arrays):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    scale = gamma / np.sqrt(variance + attributes["epsilon"])
    return Affine(scale, beta - mean * scale)


def _per_channel(value: Value | None, x: Value, channels: int, axis: int, state: Sweep) -> Array | None:
    """A constant that broadcasts along every axis of x but the channels', as a vector; None when it is none."""
    array = None if value is None else state.known.get(value)
    if array is None or x.tensor.dims is None or array.ndim > len(x.tensor.dims):
        return None
    shape = (1,) * (len(x.tensor.dims) - array.ndim) + array.shape
    if any(size != 1 for at, size in enumerate(shape) if at != axis % len(shape)):
        return None
    if shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (channels,))


# -- what it is folded into ----------------------------------------------------------------------------------------


def _weight(node: Node, state: Sweep) -> Array | None:
    value = node.inputs[1]
    return None if value is None else state.known.get(value)


def _bias(node: Node, state: Sweep) -> Array | None:
    """The constant bias in double precision, 0 where there is none; None when it is not constant."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return np.zeros(())
    array = state.known.get(value)
    return None if array is None else array.astype(np.float64)


def _constant(array: Array, like: Array, stem: str, state: Sweep) -> Value:
    return state.constant(array.astype(like.dtype), stem)


def _conv_channels(node: Node, state: Sweep) -> int | None:
    weight = _weight(node, state)
    return None if weight is None or _bias(node, state) is None else int(weight.shape[0])


def _fold_conv(node: Node, affine: Affine, state: Sweep) -> Call | None:
    weight, bias = _weight(node, state), _bias(node, state)
    assert weight is not None
    assert bias is not None
    scale = affine.scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return _with_weights(node, weight * scale, bias * affine.scale + affine.shift, weight, state)


def _transposed_channels(node: Node, state: Sweep) -> int | None:
    weight = _weight(node, state)
    group = attributes_of(node)["group"]
    return None if weight is None or _bias(node, state) is None else int(weight.shape[1]) * int(group)


def _fold_transposed(node: Node, affine: Affine, state: Sweep) -> Call | None:
    """The weight is [inputs, outputs / group, ...]; the inputs of a group make its outputs."""
    weight, bias = _weight(node, state), _bias(node, state)
    assert weight is not None
    assert bias is not None
    group = int(attributes_of(node)["group"])
    grouped = weight.reshape(group, weight.shape[0] // group, *weight.shape[1:])
    scale = affine.scale.reshape(group, 1, weight.shape[1], *(1,) * (weight.ndim - 2))
    scaled = (grouped * scale).reshape(weight.shape)
    return _with_weights(node, scaled, bias * affine.scale + affine.shift, weight, state)


def _gemm_channels(node: Node, state: Sweep) -> int | None:
    weight = _weight(node, state)
    if weight is None or _bias(node, state) is None:
        return None
    return int(weight.shape[0 if attributes_of(node)["transB"] else 1])


def _fold_gemm(node: Node, affine: Affine, state: Sweep) -> Call | None:
    attributes = attributes_of(node)
    weight, bias = _weight(node, state), _bias(node, state)
    assert weight is not None
    assert bias is not None
    scale = affine.scale[:, None] if attributes["transB"] else affine.scale
    shift = bias * attributes["beta"] * affine.scale + affine.shift
    call = _with_weights(node, weight * scale, shift, weight, state)
    return Call(call.op, call.inputs, {**call.attrs, "beta": 1.0})


def _product_channels(node: Node, state: Sweep) -> int | None:
    weight = _weight(node, state)
    return None if weight is None or weight.ndim < 2 else int(weight.shape[-1])


def _fold_product(node: Node, affine: Affine, state: Sweep) -> Call | None:
    """A product has no bias: only a scale can go into it."""
    weight = _weight(node, state)
    if weight is None or affine.shift.any():
        return None
    value = node.inputs[1]
    assert value is not None
    scaled = _constant(weight * affine.scale, weight, value.name, state)
    return Call("MatMul", (node.inputs[0], scaled), node.attrs)


def _with_weights(node: Node, weight: Array, bias: Array, like: Array, state: Sweep) -> Call:
    old = node.inputs[1]
    assert old is not None
    scaled = _constant(weight, like, old.name, state)
    given = node.inputs[2] if len(node.inputs) > 2 else None
    shifted = _constant(bias, like, given.name if given is not None else f"{old.name}.bias", state)
    return Call(node.op, (node.inputs[0], scaled, shifted), node.attrs)


@dataclass(frozen=True)
class _Weighted:
    """An operator with weights: the axis of its result's channels, how many there are, and how weights take them."""

    axis: int
    channels: Callable[[Node, Sweep], int | None]
    fold: Callable[[Node, Affine, Sweep], Call | None]


_WEIGHTED: Mapping[str, _Weighted] = {
    "Conv": _Weighted(1, _conv_channels, _fold_conv),
    "ConvTranspose": _Weighted(1, _transposed_channels, _fold_transposed),
    "Gemm": _Weighted(-1, _gemm_channels, _fold_gemm),
    "MatMul": _Weighted(-1, _product_channels, _fold_product),
}
