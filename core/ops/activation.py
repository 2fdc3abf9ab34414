"""Elementwise activations."""

from __future__ import annotations

import math

from heddle.core.errors import GraphError
from heddle.core.ops import scalar as s
from heddle.core.ops.registry import elementwise
from heddle.core.ops.scalar import Expr


@elementwise("Relu")
def relu(x: Expr) -> Expr:
    return s.maximum(x, 0)


@elementwise("LeakyRelu")
def leaky_relu(x: Expr, *, alpha: float = 0.01) -> Expr:
    return s.where(x < 0, x * alpha, x)


@elementwise("PRelu")
def prelu(x: Expr, slope: Expr) -> Expr:
    return s.where(x < 0, x * slope, x)


@elementwise("ThresholdedRelu")
def thresholded_relu(x: Expr, *, alpha: float = 1.0) -> Expr:
    return s.where(x > alpha, x, 0)


@elementwise("Elu")
def elu(x: Expr, *, alpha: float = 1.0) -> Expr:
    return s.where(x < 0, s.expm1(x) * alpha, x)


@elementwise("Celu")
def celu(x: Expr, *, alpha: float = 1.0) -> Expr:
    return s.maximum(x, 0) + s.minimum(s.expm1(x / alpha) * alpha, 0)


@elementwise("Selu")
def selu(x: Expr, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Expr:
    return s.where(x > 0, x, s.expm1(x) * alpha) * gamma


@elementwise("Sigmoid")
def sigmoid(x: Expr) -> Expr:
    return s.sigmoid(x)


@elementwise("HardSigmoid")
def hard_sigmoid(x: Expr, *, alpha: float = 0.2, beta: float = 0.5) -> Expr:
    return s.maximum(s.minimum(x * alpha + beta, 1), 0)


@elementwise("HardSwish")
def hard_swish(x: Expr) -> Expr:
    return x * hard_sigmoid(x, alpha=1 / 6, beta=0.5)


@elementwise("Swish")
def swish(x: Expr, *, alpha: float = 1.0) -> Expr:
    return x * sigmoid(x * alpha)


@elementwise("SwiGLU")
def swiglu(a: Expr, b: Expr, *, alpha: float = 1.0) -> Expr:
    return swish(a, alpha=alpha) * b


@elementwise("Softplus")
def softplus(x: Expr) -> Expr:
    """`log(1 + exp(x))` without its overflow."""
    return s.maximum(x, 0) + s.log1p(s.exp(-s.absolute(x)))


@elementwise("Softsign")
def softsign(input: Expr) -> Expr:
    return input / (1 + s.absolute(input))


@elementwise("Mish")
def mish(x: Expr) -> Expr:
    return x * s.tanh(softplus(x))


@elementwise("Gelu")
def gelu(x: Expr, *, approximate: str = "none") -> Expr:
    if approximate == "tanh":
        return 0.5 * x * (1 + s.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    if approximate != "none":
        raise GraphError(f"approximate is {approximate!r}, it must be 'none' or 'tanh'")
    return 0.5 * x * (1 + s.erf(x * math.sqrt(0.5)))


@elementwise("Shrink")
def shrink(input: Expr, *, bias: float = 0.0, lambd: float = 0.5) -> Expr:
    x = input if s.is_floating(input.dtype) else s.cast(input, "float64")
    return s.cast(s.where(x < -lambd, x + bias, s.where(x > lambd, x - bias, 0)), input.dtype)
