"""The attributes of a node as if none had been left out."""

from __future__ import annotations

from typing import Any

from heddle.core.ir import Node, TensorType
from heddle.core.ops import REQUIRED, operator

_WEIGHTS = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "QLinearConv": 3}


def attribute(node: Node, name: str) -> Any:
    """The value of an attribute, its default where it is absent; None when it has no default.

    What defaults to one entry for each spatial axis is spelled out: strides, dilations and pads by the rank of the
    first operand, the kernel's shape by the weights.
    """
    if name in node.attrs:
        return node.attrs[name]
    definition = operator(node.op)
    default = None if definition is None else definition.attributes.get(name)
    if default is REQUIRED:
        return None
    return _by_axis(node, name) if default is None else default


def _by_axis(node: Node, name: str) -> tuple[int, ...] | None:
    if name == "kernel_shape" and node.op in _WEIGHTS:
        weights = _dims(node, _WEIGHTS[node.op])
        return None if weights is None else tuple(weights[2:])
    spatial = _dims(node, 0)
    if spatial is None or name not in ("strides", "dilations", "pads"):
        return None
    axes = len(spatial) - 2
    return (0,) * (2 * axes) if name == "pads" else (1,) * axes


def _dims(node: Node, number: int) -> tuple[Any, ...] | None:
    value = node.inputs[number] if number < len(node.inputs) else None
    return value.type.dims if value is not None and isinstance(value.type, TensorType) else None
