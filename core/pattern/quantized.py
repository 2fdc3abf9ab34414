"""Quantized forms: an operator between DequantizeLinear and QuantizeLinear, or its QLinear twin, as one pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heddle.core.ir import Value
from heddle.core.ops import OPERATORS
from heddle.core.pattern.trace import const, either, maybe, maybe_const, ops


def dequantize(x: Value, label: str | None = None) -> Value:
    """`x` as DequantizeLinear gives it; its scale and zero point are bound to `x_scale` and `x_zero_point`."""
    scale, zero_point = const(f"{x.name}_scale"), maybe_const(f"{x.name}_zero_point")
    result: Value = ops.DequantizeLinear(x, scale, zero_point, label=label)
    return result


def quantize(y: Value, name: str = "y", label: str | None = None) -> Value:
    """`y` as QuantizeLinear gives it; its scale and zero point are bound to `NAME_scale` and `NAME_zero_point`."""
    scale, zero_point = const(f"{name}_scale"), maybe_const(f"{name}_zero_point")
    result: Value = ops.QuantizeLinear(y, scale, zero_point, label=label)
    return result


def quantized(
    op: str,
    *operands: Value,
    bias: Value | None = None,
    activation: Callable[[Any], Any] | None = None,
    name: str = "y",
    **attributes: Any,
) -> Value:
    """One operator on quantized operands, whichever way the model spells it.

    Either DequantizeLinear of each operand, the operator, an `activation` where one is given, QuantizeLinear; or the
    QLinear operator. Operands keep their names, and `X_scale`, `X_zero_point` are bound beside each, `NAME_scale`,
    `NAME_zero_point` for the result. The `bias` may be absent; in the first form it is dequantized too. The node is
    labelled `conv` or `qlinearconv`, for `op="Conv"`; `attributes` hold of either.
    """
    plain = [dequantize(operand) for operand in operands]
    if bias is not None:
        plain.append(maybe(dequantize(bias)))
    computed = getattr(ops, op)(*plain, label=op.lower(), **attributes)
    wrapped = quantize(computed if activation is None else activation(computed), name)
    twin = f"QLinear{op}"
    if twin not in OPERATORS:
        return wrapped
    direct: list[Value] = []
    for operand in operands:
        direct += [operand, const(f"{operand.name}_scale"), maybe_const(f"{operand.name}_zero_point")]
    direct += [const(f"{name}_scale"), maybe_const(f"{name}_zero_point")]
    if bias is not None:
        direct.append(maybe(bias))
    return either(wrapped, getattr(ops, twin)(*direct, label=twin.lower(), **attributes))
