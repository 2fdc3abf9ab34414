"""Quantization by the range of the data, and products of quantized tensors in integers."""

from __future__ import annotations

import numpy as np
from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.contraction import product
from heddle.core.codegen.lower.convolution import convolve
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import fold, load
from heddle.core.ir import Value
from heddle.core.ir.types import DType
from heddle.core.ops.scalar import Expr, cast, const, finite_range, maximum, minimum, round_even, where

INT32, FLOAT32, UINT8 = np.dtype(np.int32), np.dtype(np.float32), np.dtype(np.uint8)


def number(value: Value) -> Expr:
    """The only element of a value."""
    return load(value, *(0 for _ in value.shape))


def along_rows(value: Value, at: Affine | int | None) -> Expr:
    """A value that is one number, or has one for each place along a dimension."""
    if value.tensor.size == 1 or at is None:
        return number(value)
    return load(value, *(0 for _ in value.shape[:-1]), at)


def centred(element: Expr, zero_point: Expr | None) -> Expr:
    """An integer less its zero point, in 32 bits."""
    wide = cast(element, INT32)
    return wide if zero_point is None else wide - cast(zero_point, INT32)


def requantized(total: Expr, multiplier: Expr, zero_point: Expr, dtype: DType) -> Expr:
    """A sum of products, scaled in float32, rounded to even and saturated."""
    low, high = finite_range(dtype)
    whole = round_even(cast(total, FLOAT32) * multiplier) + cast(zero_point, FLOAT32)
    return cast(minimum(maximum(whole, low), high), dtype)


@lowers("DynamicQuantizeLinear")
def dynamic_quantize_linear(op: Lowering) -> None:
    x = op[0]
    scale = op.node.outputs[1] or op.fresh("scale", FLOAT32, ())
    zero = op.node.outputs[2] or op.fresh("zero", UINT8, ())

    def extreme(least: bool) -> Expr:
        over = [axis(n, f"r{i}") for i, n in enumerate(x.shape)]
        return fold(over, const(0, FLOAT32), load(x, *over), minimum if least else maximum)

    low = op.compute(op.fresh("low", FLOAT32, ()), lambda: extreme(True))
    op.compute(scale, lambda: (extreme(False) - load(low)) / 255)

    def inverse() -> Expr:
        return where(load(scale).equals(0), const(1, FLOAT32), load(scale))

    def clipped(value: Expr) -> Expr:
        return cast(minimum(maximum(value, 0), 255), UINT8)

    op.compute(zero, lambda: clipped(round_even(-load(low) / inverse())))
    op.compute(op.output, lambda *i: clipped(round_even(load(x, *i) / inverse()) + cast(load(zero), FLOAT32)))


def _row_of(a: Value, at: tuple[Affine | int, ...]) -> Affine | int | None:
    return at[-2] if len(at) > 1 else None


def _integers(a: Value, b: Value, a_zero: Value | None, b_zero: Value | None, indices: tuple[Affine, ...]) -> Expr:
    """An element of the product of two tensors of integers less their zero points."""
    return product(
        a,
        b,
        indices,
        lambda x, at: centred(x, None if a_zero is None else along_rows(a_zero, _row_of(a, at))),
        lambda x, at: centred(x, None if b_zero is None else along_rows(b_zero, at[-1])),
    )


@lowers("MatMulInteger")
def matmul_integer(op: Lowering) -> None:
    _plain_zero_points(op, op.operand(2), op.operand(3))
    op.compute(op.output, lambda *i: _integers(op[0], op[1], op.operand(2), op.operand(3), i))


def _plain_zero_points(op: Lowering, *values: Value | None) -> None:
    for value in values:
        if value is not None and len(value.shape) > 1 and value.tensor.size != 1:
            raise op.refuse(f"a zero point or scale is {value.type}, one number or one vector is expected")


@lowers("QLinearMatMul")
def qlinear_matmul(op: Lowering) -> None:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (op[i] for i in range(8))
    _plain_zero_points(op, a_scale, a_zero, b_scale, b_zero, y_scale, y_zero)

    def body(*indices: Affine) -> Expr:
        row = indices[len(indices) - 2] if len(b.shape) > 1 and len(indices) > 1 else indices[-1] if indices else 0
        column = indices[-1] if len(b.shape) > 1 else 0
        scales = [cast(s, FLOAT32) for s in (along_rows(a_scale, row), along_rows(b_scale, column), number(y_scale))]
        summed = _integers(a, b, a_zero, b_zero, indices)
        return requantized(summed, scales[0] * scales[1] / scales[2], number(y_zero), op.output.dtype)

    op.compute(op.output, body)


@lowers("ConvInteger")
def conv_integer(op: Lowering) -> None:
    """Padding stands for zero, hence for the zero point."""
    x, w, x_zero, w_zero = op[0], op[1], op.operand(2), op.operand(3)
    zero = None if x_zero is None else number(x_zero)
    convolve(
        op,
        x,
        w,
        const(0, x.dtype) if zero is None else zero,
        lambda e: centred(e, zero),
        lambda e, m: centred(e, None if w_zero is None else along_rows(w_zero, m)),
        lambda y, m: y,
    )


@lowers("QLinearConv")
def qlinear_conv(op: Lowering) -> None:
    """The bias is an integer in units of `x_scale * w_scale`."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (op[i] for i in range(8))
    b = op.operand(8)

    def finish(y: Expr, m: Affine) -> Expr:
        summed = y if b is None else y + load(b, m)
        scales = [cast(s, FLOAT32) for s in (number(x_scale), along_rows(w_scale, m), number(y_scale))]
        return requantized(summed, scales[0] * scales[1] / scales[2], number(y_zero), op.output.dtype)

    convolve(
        op,
        x,
        w,
        number(x_zero),
        lambda e: centred(e, number(x_zero)),
        lambda e, m: centred(e, along_rows(w_zero, m)),
        finish,
    )
