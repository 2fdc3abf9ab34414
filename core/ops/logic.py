"""Elementwise comparison, logic, bits and selection."""

from __future__ import annotations

from heddle.core.errors import GraphError
from heddle.core.ir import dtype_name, dtype_named
from heddle.core.ops import scalar as s
from heddle.core.ops.registry import DTypeName, elementwise
from heddle.core.ops.scalar import Expr


@elementwise("Equal")
def equal(a: Expr, b: Expr) -> Expr:
    return a.equals(b)


@elementwise("Less")
def less(a: Expr, b: Expr) -> Expr:
    return a < b


@elementwise("LessOrEqual")
def less_or_equal(a: Expr, b: Expr) -> Expr:
    return a <= b


@elementwise("Greater")
def greater(a: Expr, b: Expr) -> Expr:
    return a > b


@elementwise("GreaterOrEqual")
def greater_or_equal(a: Expr, b: Expr) -> Expr:
    return a >= b


@elementwise("And")
def and_(a: Expr, b: Expr) -> Expr:
    return a & b


@elementwise("Or")
def or_(a: Expr, b: Expr) -> Expr:
    return a | b


@elementwise("Xor")
def xor(a: Expr, b: Expr) -> Expr:
    return a ^ b


@elementwise("Not")
def not_(x: Expr) -> Expr:
    return ~x


@elementwise("BitwiseAnd")
def bitwise_and(a: Expr, b: Expr) -> Expr:
    return a & b


@elementwise("BitwiseOr")
def bitwise_or(a: Expr, b: Expr) -> Expr:
    return a | b


@elementwise("BitwiseXor")
def bitwise_xor(a: Expr, b: Expr) -> Expr:
    return a ^ b


@elementwise("BitwiseNot")
def bitwise_not(x: Expr) -> Expr:
    return ~x


@elementwise("BitShift")
def bit_shift(x: Expr, y: Expr, *, direction: str) -> Expr:
    if direction not in ("LEFT", "RIGHT"):
        raise GraphError(f"direction is {direction!r}, it must be 'LEFT' or 'RIGHT'")
    return x << y if direction == "LEFT" else x >> y


@elementwise("BitCast")
def bit_cast(input: Expr, *, to: DTypeName) -> Expr:
    target = dtype_named(to)
    if target.itemsize != input.dtype.itemsize:
        raise GraphError(f"the widths of {dtype_name(input.dtype)} and {to} differ, they must be equal")
    return s.bitcast(input, target)


@elementwise("IsNaN")
def is_nan(x: Expr) -> Expr:
    return s.is_nan(x)


@elementwise("IsInf")
def is_inf(x: Expr, *, detect_negative: int = 1, detect_positive: int = 1) -> Expr:
    if detect_negative and detect_positive:
        return s.is_inf(x)
    if detect_negative:
        return s.is_inf(x) & (x < 0)
    if detect_positive:
        return s.is_inf(x) & (x > 0)
    return s.const(False, s.BOOL)


@elementwise("Where")
def where(condition: Expr, x: Expr, y: Expr) -> Expr:
    return s.where(condition, x, y)
