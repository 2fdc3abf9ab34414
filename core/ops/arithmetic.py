"""Elementwise arithmetic."""

from __future__ import annotations

from heddle.core.ops.registry import elementwise
from heddle.core.ops.scalar import Expr, maximum


@elementwise("Add")
def add(a: Expr, b: Expr) -> Expr:
    return a + b


@elementwise("Sub")
def sub(a: Expr, b: Expr) -> Expr:
    return a - b


@elementwise("Mul")
def mul(a: Expr, b: Expr) -> Expr:
    return a * b


@elementwise("Div")
def div(a: Expr, b: Expr) -> Expr:
    return a / b


@elementwise("Relu")
def relu(x: Expr) -> Expr:
    return maximum(x, 0)
