"""Matrix products and determinants."""
# ruff: noqa: N803 (attributes bear the names that ONNX gave them)

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.registry import Operand, broadcast, op
from heddle.core.ops.scalar import widened
from heddle.core.ops.shapes import Dims
from numpy.typing import NDArray

Array = NDArray[Any]


def matmul_type(a: Operand, b: Operand) -> Type:
    if a.dtype != b.dtype:
        raise GraphError(f"MatMul: operands must have one dtype: {a.type} and {b.type}")
    return TensorType(a.dtype, product_dims(a, b))


def product_dims(a: Operand, b: Operand, name: str = "MatMul") -> Dims | None:
    """The dimensions of a (batched) matrix product."""
    if a.dims is None or b.dims is None:
        return None
    if not a.dims or not b.dims:
        raise GraphError(f"{name}: operands must have at least one dimension: {a.type} and {b.type}")
    left, right = a.dims if len(a.dims) > 1 else (1, *a.dims), b.dims if len(b.dims) > 1 else (*b.dims, 1)
    if isinstance(left[-1], int) and isinstance(right[-2], int) and left[-1] != right[-2]:
        raise GraphError(f"{name}: inner dimensions differ: {a.type} and {b.type}")
    batch = broadcast(name, [TensorType(a.dtype, left[:-2]), TensorType(b.dtype, right[:-2])])
    assert batch is not None
    rows = (left[-2],) if len(a.dims) > 1 else ()
    columns = (right[-1],) if len(b.dims) > 1 else ()
    return (*batch, *rows, *columns)


@op("MatMul", infer=matmul_type)
def matmul(a: Array, b: Array) -> Array:
    return product(a, b)


def product(a: Array, b: Array) -> Array:
    """The matrix product, whose sums are kept in 32 bits or more."""
    wide = widened(a.dtype)
    return np.asarray(np.matmul(a.astype(wide, copy=False), b.astype(wide, copy=False))).astype(a.dtype, copy=False)


def gemm_type(a: Operand, b: Operand, c: Operand | None, *, transA: int, transB: int, **_: Any) -> Type:
    rows, inner = _matrix("Gemm", a, transA)
    depth, columns = _matrix("Gemm", b, transB)
    if isinstance(inner, int) and isinstance(depth, int) and inner != depth:
        raise GraphError(f"Gemm: inner dimensions differ: {a.type} and {b.type}, transA={transA}, transB={transB}")
    type = TensorType(a.dtype, (rows, columns))
    if c is not None and c.dims is not None and len(broadcast("Gemm", [type, c.tensor]) or ()) > 2:
        raise GraphError(f"Gemm: {c.type} does not broadcast to {type}")
    return type


def _matrix(name: str, x: Operand, transposed: int) -> tuple[Dim, Dim]:
    if x.dims is None:
        return UNKNOWN, UNKNOWN
    if len(x.dims) != 2:
        raise GraphError(f"{name}: a matrix is needed, found {x.type}")
    return (x.dims[1], x.dims[0]) if transposed else (x.dims[0], x.dims[1])


@op("Gemm", infer=gemm_type)
def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    wide = widened(a.dtype)
    left, right = (a.T if transA else a).astype(wide), (b.T if transB else b).astype(wide)
    y = np.matmul(left, right)
    y = y if alpha == 1 else y * wide.type(alpha)
    if c is not None:
        y = y + (c.astype(wide) if beta == 1 else c.astype(wide) * wide.type(beta))
    return np.asarray(y).astype(a.dtype)


def det_type(x: Operand) -> Type:
    return TensorType(x.dtype, None if x.dims is None else x.dims[:-2])


@op("Det", infer=det_type)
def det(x: Array) -> Array:
    return np.asarray(np.linalg.det(x.astype(widened(x.dtype)))).astype(x.dtype)


# -- Einstein's sums --------------------------------------------------------------------------------------------


def einsum_type(*inputs: Operand, equation: str) -> Type:
    terms, out = einsum_terms(equation)
    if len(terms) != len(inputs):
        raise GraphError(f"Einsum: {equation!r} has {len(terms)} terms, {len(inputs)} operands are given")
    if any(operand.dims is None for operand in inputs):
        return TensorType(inputs[0].dtype, None)
    sizes: dict[str, Dim] = {}
    batches = []
    for term, operand in zip(terms, inputs, strict=True):
        dims = operand.dims or ()
        letters = term.replace("...", "")
        spread = len(dims) - len(letters)
        if spread < 0 or (spread and "..." not in term):
            raise GraphError(f"Einsum: {term!r} does not name the dimensions of {operand.type}")
        at = term.index("...") if "..." in term else len(term)
        batches.append(TensorType(operand.dtype, dims[at : at + spread]))
        for letter, dim in zip(letters, (*dims[:at], *dims[at + spread :]), strict=True):
            known = sizes.get(letter, 1)
            if isinstance(known, int) and isinstance(dim, int) and known != dim and 1 not in (known, dim):
                raise GraphError(f"Einsum: {letter!r} of {equation!r} is {known} and {dim}")
            sizes[letter] = (
                dim if known == 1 or (isinstance(known, str) and isinstance(dim, int) and dim != 1) else known
            )
    batch = broadcast("Einsum", batches) or ()
    head, dots, tail = out.partition("...")
    return TensorType(inputs[0].dtype, (*(sizes[x] for x in head), *(batch if dots else ()), *(sizes[x] for x in tail)))


def einsum_terms(equation: str) -> tuple[list[str], str]:
    """The terms and the result of an equation; an implicit result is spelled out."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if arrow:
        return terms, right
    letters = left.replace(",", "").replace("...", "")
    once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
    return terms, ("..." if "..." in left else "") + "".join(once)


@op("Einsum", infer=einsum_type)
def einsum(*inputs: Array, equation: str) -> Array:
    wide = widened(inputs[0].dtype)
    return np.array(np.einsum(equation, *(x.astype(wide) for x in inputs))).astype(inputs[0].dtype)
