"""Matrix products with what follows them, as calls of cuBLASLt."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from heddle.backends.cudnn.calls import Call, call
from heddle.backends.cudnn.chains import gemm_addend, is_bias
from heddle.backends.cudnn.program import Product
from heddle.backends.libraries.chains import Chain
from heddle.core.codegen.affine import Affine
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.lower.rules import spread
from heddle.core.codegen.tensor import load
from heddle.core.ir import Node, Value, dtype_name
from heddle.core.ops import attributes_of
from heddle.core.ops.scalar import Expr, cast, const, widened


def suits(node: Node) -> bool:
    """Whether the library computes a product; vectors and products of nothing are kernels of Heddle's own."""
    a, b = node.operands[:2]
    return len(a.shape) > 1 and len(b.shape) > 1 and 0 not in (*a.shape, *b.shape)


def product(op: Lowering, chain: Chain, tf32: bool) -> Call:
    """The call of a product and its tail; steps that it needs before or after are added to `op`."""
    return _gemm(op, chain, tf32) if chain.head.op == "Gemm" else _matmul(op, chain, tf32)


def _gemm(op: Lowering, chain: Chain, tf32: bool) -> Call:
    node = chain.head
    a, b = node.operands[:2]
    attrs, c = attributes_of(node), gemm_addend(node)
    m, n = node.results[0].shape
    k = a.shape[0] if attrs["transA"] else a.shape[1]
    bias = addend = None
    if c is not None and attrs["beta"] != 0:
        if c.shape in ((n,), (1, n)) and attrs["beta"] == 1:
            bias = c
        else:
            addend = _spread(op, c, (m, n), attrs["beta"])
    turned = (bool(attrs["transA"]), bool(attrs["transB"]))
    shape = Product(dtype_name(a.dtype), m, n, k, turned=turned, alpha=float(attrs["alpha"]), tf32=tf32)
    return _finish(op, chain, shape, (a, b), bias, addend)


def _spread(op: Lowering, c: Value, shape: tuple[int, ...], beta: float) -> Value:
    """What is added to the product, as a whole matrix."""
    if c.shape == shape and beta == 1:
        return c
    wide = widened(c.dtype)
    whole = op.fresh("addend", c.dtype, shape)
    return op.compute(whole, lambda *i: cast(cast(spread(c, i), wide) * const(beta, wide), c.dtype))


def _matmul(op: Lowering, chain: Chain, tf32: bool) -> Call:
    node = chain.head
    a, b = node.operands
    outer = node.results[0].shape[:-2]
    (m, k), n = a.shape[-2:], b.shape[-1]
    if prod(b.shape[:-2]) == 1 and prod(a.shape[:-2]) == prod(outer):
        shape = Product(dtype_name(a.dtype), prod(outer) * m, n, k, tf32=tf32)
        return _finish(op, chain, shape, (a, b), None, None)
    a, stride_a = _batched(op, "a", a, outer)
    b, stride_b = _batched(op, "b", b, outer)
    shape = Product(dtype_name(a.dtype), m, n, k, prod(outer), strides=(stride_a, stride_b), tf32=tf32)
    return _finish(op, chain, shape, (a, b), None, None)


def _batched(op: Lowering, name: str, value: Value, outer: tuple[int, ...]) -> tuple[Value, int]:
    """An operand with a matrix for each batch, or one that all share, and the elements from one to the next."""
    matrix, own = value.shape[-2:], prod(value.shape[:-2])
    if own == 1:
        return value, 0
    if own == prod(outer):
        return value, prod(matrix)
    batch = value.shape[:-2]
    whole = op.fresh(name, value.dtype, (*outer, *matrix))

    def repeated(*indices: Affine) -> Expr:
        own_indices = indices[len(outer) - len(batch) : len(outer)]
        places = (0 if size == 1 else index for size, index in zip(batch, own_indices, strict=True))
        return load(value, *places, *indices[-2:])

    return op.compute(whole, repeated), prod(matrix)


def _finish(
    op: Lowering, chain: Chain, shape: Product, factors: tuple[Value, Value], bias: Value | None, addend: Value | None
) -> Call:
    """The call with all that the chain's tail adds."""
    relu = False
    for node in chain.tail:
        if node.op == "Relu":
            relu = True
        elif is_bias(chain, node):
            bias = chain.other(node)
        else:
            addend = chain.other(node)
    operands = [*factors, *(value for value in (bias, addend) if value is not None)]
    what = replace(shape, bias=bias is not None, addend=addend is not None, relu=relu)
    return call(what, operands, chain.value, op.label)
