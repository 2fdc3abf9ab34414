"""The operators of onnxruntime's own domain that its quantizer and its exporters write."""
# ruff: noqa: N803 (attributes bear the names that onnxruntime gave them)

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type, dtype_named
from heddle.core.ir.types import DType
from heddle.core.ops import scalar as s
from heddle.core.ops.activation import gelu, leaky_relu, sigmoid
from heddle.core.ops.matmul import gemm_type, product, product_dims
from heddle.core.ops.normalization import softmax
from heddle.core.ops.pooling import average_pool, average_pool_type
from heddle.core.ops.quantization import centred, channel_axis, dequantized, quantized, requantized
from heddle.core.ops.registry import Operand, elementwise, op
from heddle.core.ops.scalar import Expr
from heddle.core.ops.shapes import axis_of
from heddle.core.ops.slicing import concat_type
from heddle.core.ops.windows import Ints
from numpy.typing import NDArray

Array = NDArray[Any]


# -- elementwise ------------------------------------------------------------------------------------------------


@elementwise("com.microsoft.Gelu")
def microsoft_gelu(x: Expr) -> Expr:
    return gelu(x)


@elementwise("com.microsoft.QuantizeLinear", along=channel_axis)
def quantize_linear(x: Expr, y_scale: Expr, y_zero_point: Expr | None = None, *, axis: int = 1) -> Expr:
    dtype = dtype_named("uint8") if y_zero_point is None else y_zero_point.dtype
    return quantized(x / y_scale, dtype, y_zero_point)


@elementwise("com.microsoft.DequantizeLinear", along=channel_axis)
def dequantize_linear(x: Expr, x_scale: Expr, x_zero_point: Expr | None = None, *, axis: int = 1) -> Expr:
    return dequantized(x, x_scale, x_zero_point)


def _requantize(y: Expr, like: Expr, scale: Expr, zero_point: Expr | None) -> Expr:
    return quantized(y / scale, like.dtype if zero_point is None else zero_point.dtype, zero_point)


@elementwise("com.microsoft.QLinearAdd")
def qlinear_add(
    a: Expr,
    a_scale: Expr,
    a_zero_point: Expr | None,
    b: Expr,
    b_scale: Expr,
    b_zero_point: Expr | None,
    c_scale: Expr,
    c_zero_point: Expr | None = None,
) -> Expr:
    total = dequantized(a, a_scale, a_zero_point) + dequantized(b, b_scale, b_zero_point)
    return _requantize(total, a, c_scale, c_zero_point)


@elementwise("com.microsoft.QLinearMul")
def qlinear_mul(
    a: Expr,
    a_scale: Expr,
    a_zero_point: Expr | None,
    b: Expr,
    b_scale: Expr,
    b_zero_point: Expr | None,
    c_scale: Expr,
    c_zero_point: Expr | None = None,
) -> Expr:
    total = dequantized(a, a_scale, a_zero_point) * dequantized(b, b_scale, b_zero_point)
    return _requantize(total, a, c_scale, c_zero_point)


@elementwise("com.microsoft.QLinearSigmoid")
def qlinear_sigmoid(
    x: Expr, x_scale: Expr, x_zero_point: Expr | None, y_scale: Expr, y_zero_point: Expr | None = None
) -> Expr:
    return _requantize(sigmoid(dequantized(x, x_scale, x_zero_point)), x, y_scale, y_zero_point)


@elementwise("com.microsoft.QLinearLeakyRelu")
def qlinear_leaky_relu(
    x: Expr,
    x_scale: Expr,
    x_zero_point: Expr | None,
    y_scale: Expr,
    y_zero_point: Expr | None = None,
    *,
    alpha: float = 0.01,
) -> Expr:
    return _requantize(leaky_relu(dequantized(x, x_scale, x_zero_point), alpha=alpha), x, y_scale, y_zero_point)


@elementwise("com.microsoft.QLinearWhere")
def qlinear_where(
    condition: Expr,
    x: Expr,
    x_scale: Expr,
    x_zero_point: Expr,
    y: Expr,
    y_scale: Expr,
    y_zero_point: Expr,
    z_scale: Expr,
    z_zero_point: Expr,
) -> Expr:
    chosen = s.where(condition, dequantized(x, x_scale, x_zero_point), dequantized(y, y_scale, y_zero_point))
    return _requantize(chosen, x, z_scale, z_zero_point)


# -- pooling ----------------------------------------------------------------------------------------------------


def _rescaled(y: Array, y_scale: Array, zero_point: Array) -> Array:
    """Numbers quantized by a scale and a zero point of one element."""
    low, high = s.finite_range(zero_point.dtype)
    whole = np.rint(y / y_scale) + zero_point.astype(np.float32)
    return np.asarray(np.clip(whole, low, high)).astype(zero_point.dtype)


def _read(x: Array, scale: Array, zero_point: Array | None) -> Array:
    return centred(x, zero_point).astype(np.float32) * scale


def _zero(x: Array, zero_point: Array | None) -> Array:
    return np.zeros((), x.dtype) if zero_point is None else zero_point


def _stored(x: Operand, y_zero_point: Operand | None) -> DType:
    """The dtype of a result: that of its zero point."""
    return x.dtype if y_zero_point is None else y_zero_point.dtype


def qlinear_average_pool_type(
    x: Operand,
    x_scale: Operand,
    x_zero_point: Operand | None,
    y_scale: Operand,
    y_zero_point: Operand | None,
    *,
    channels_last: int,
    **attributes: Any,
) -> Type:
    if channels_last:
        raise GraphError("com.microsoft.QLinearAveragePool: channels_last is 1, only 0 has a meaning here")
    pooled = average_pool_type(x, dilations=None, **attributes)
    assert isinstance(pooled, TensorType)
    return TensorType(_stored(x, y_zero_point), pooled.dims)


@op("com.microsoft.QLinearAveragePool", infer=qlinear_average_pool_type)
def qlinear_average_pool(
    x: Array,
    x_scale: Array,
    x_zero_point: Array | None,
    y_scale: Array,
    y_zero_point: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    y = average_pool(
        _read(x, x_scale, x_zero_point),
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return _rescaled(y, y_scale, _zero(x, y_zero_point))


def qlinear_global_type(
    x: Operand,
    x_scale: Operand,
    x_zero_point: Operand | None,
    y_scale: Operand,
    y_zero_point: Operand | None,
    *,
    channels_last: int,
) -> Type:
    dtype = _stored(x, y_zero_point)
    if x.dims is None:
        return TensorType(dtype, None)
    ones = (1,) * (len(x.dims) - 2)
    return TensorType(dtype, (x.dims[0], *ones, x.dims[-1]) if channels_last else (*x.dims[:2], *ones))


@op("com.microsoft.QLinearGlobalAveragePool", infer=qlinear_global_type)
def qlinear_global_average_pool(
    x: Array,
    x_scale: Array,
    x_zero_point: Array | None,
    y_scale: Array,
    y_zero_point: Array | None = None,
    *,
    channels_last: int = 0,
) -> Array:
    axes = tuple(range(1, x.ndim - 1)) if channels_last else tuple(range(2, x.ndim))
    y = _read(x, x_scale, x_zero_point).mean(axis=axes, keepdims=True)
    return _rescaled(y, y_scale, _zero(x, y_zero_point))


def qlinear_softmax_type(
    x: Operand,
    x_scale: Operand,
    x_zero_point: Operand | None,
    y_scale: Operand,
    y_zero_point: Operand | None,
    *,
    axis: int,
    opset: int,
) -> Type:
    if x.rank is not None:
        axis_of("com.microsoft.QLinearSoftmax", axis, x.rank)
    return TensorType(_stored(x, y_zero_point), x.dims)


@op("com.microsoft.QLinearSoftmax", infer=qlinear_softmax_type)
def qlinear_softmax(
    x: Array,
    x_scale: Array,
    x_zero_point: Array | None,
    y_scale: Array,
    y_zero_point: Array | None = None,
    *,
    axis: int = -1,
    opset: int,
) -> Array:
    """Along one axis; before opset 13, over that axis and all behind it."""
    read = _read(x, x_scale, x_zero_point)
    if opset < 13:
        rows = read.reshape(*x.shape[: axis % x.ndim], -1)
        y = softmax(rows, axis=-1).reshape(x.shape)
    else:
        y = softmax(read, axis=axis)
    return _rescaled(y, y_scale, _zero(x, y_zero_point))


# -- joining ----------------------------------------------------------------------------------------------------


def qlinear_concat_type(y_scale: Operand, y_zero_point: Operand, *inputs: Operand, axis: int) -> Type:
    if not inputs or len(inputs) % 3:
        raise GraphError(f"com.microsoft.QLinearConcat: {len(inputs)} operands are joined, triples are needed")
    parts = [Operand(TensorType(y_zero_point.dtype, part.dims)) for part in inputs[::3]]
    return concat_type(*parts, axis=axis)


@op("com.microsoft.QLinearConcat", infer=qlinear_concat_type)
def qlinear_concat(y_scale: Array, y_zero_point: Array, *inputs: Array, axis: int) -> Array:
    """The operands are triples: a tensor, its scale, its zero point."""
    triples = zip(inputs[::3], inputs[1::3], inputs[2::3], strict=True)
    parts = [_rescaled(_read(x, scale, zero), y_scale, y_zero_point) for x, scale, zero in triples]
    return np.concatenate(parts, axis=axis)


# -- products ---------------------------------------------------------------------------------------------------


def qgemm_type(
    a: Operand,
    a_scale: Operand,
    a_zero_point: Operand,
    b: Operand,
    b_scale: Operand,
    b_zero_point: Operand,
    c: Operand | None,
    y_scale: Operand | None,
    y_zero_point: Operand | None,
    *,
    alpha: float,
    transA: int,
    transB: int,
) -> Type:
    type = gemm_type(a, b, c, transA=transA, transB=transB)
    assert isinstance(type, TensorType)
    return TensorType(a_scale.dtype if y_zero_point is None else y_zero_point.dtype, type.dims)


@op("com.microsoft.QGemm", infer=qgemm_type)
def qgemm(
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    c: Array | None = None,
    y_scale: Array | None = None,
    y_zero_point: Array | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """`c` is an integer in units of `alpha * a_scale * b_scale`; without a scale of its own the result is float."""
    left, right = centred(a.T if transA else a, a_zero_point), b.T if transB else b
    total = np.matmul(left, centred(right, b_zero_point))
    total = total if c is None else total + c
    unit = np.float32(alpha) * a_scale * b_scale
    if y_scale is None or y_zero_point is None:
        return np.asarray(total.astype(np.float32) * unit)
    return requantized(total, np.asarray(unit / y_scale), y_zero_point)


def fused_matmul_type(
    a: Operand, b: Operand, *, alpha: float, transA: int, transB: int, transBatchA: int, transBatchB: int
) -> Type:
    if transBatchA or transBatchB:
        raise GraphError("com.microsoft.FusedMatMul: transBatchA and transBatchB must be 0")
    operands = [_turned(x) if turn else x for x, turn in ((a, transA), (b, transB))]
    return TensorType(a.dtype, product_dims(operands[0], operands[1], "com.microsoft.FusedMatMul"))


def _turned(x: Operand) -> Operand:
    """The operand's type with its last two dimensions exchanged."""
    if x.dims is None or len(x.dims) < 2:
        return x
    return Operand(TensorType(x.dtype, (*x.dims[:-2], x.dims[-1], x.dims[-2])))


@op("com.microsoft.FusedMatMul", infer=fused_matmul_type)
def fused_matmul(
    a: Array,
    b: Array,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Array:
    left = a.swapaxes(-1, -2) if transA and a.ndim > 1 else a
    right = b.swapaxes(-1, -2) if transB and b.ndim > 1 else b
    return np.asarray(product(left, right) * a.dtype.type(alpha)).astype(a.dtype)
