"""Products of matrices with the chains after them, in real numbers or in integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

from heddle.backends.libraries.chains import Chain
from heddle.backends.libraries.strides import dense
from heddle.backends.onednn.factors import drain, known, merged, unsigned, weights_of
from heddle.backends.onednn.library import BIAS, DST, SRC, WEIGHTS
from heddle.backends.onednn.lower import Lowering, fused, operand_tensor
from heddle.backends.onednn.program import Post
from heddle.backends.onednn.quantization import output_axis
from heddle.core.ir import Node, Value
from heddle.core.pattern import attribute


def product(lowering: Lowering, chain: Chain) -> None:
    """Append the primitive of a product and all that follows it."""
    if _suits_columns(lowering, chain):
        _over_columns(lowering, chain)
    else:
        _of_matrices(lowering, chain)


# -- as a convolution, whose pixels are rows and whose channels are columns, in blocks ------------------------------


def _suits_columns(lowering: Lowering, chain: Chain) -> bool:
    """Whether a product by a constant matrix is faster so, and all that its chain reads can lie so too."""
    node, out = chain.head, chain.value
    w = node.operands[1]
    if len(w.shape) != 2 or known(lowering, w) is None or lowering.multiplier.operands(node) is not None:
        return False
    if node.op == "Gemm" and attribute(node, "transA"):
        return False
    rows, columns = prod(out.shape[:-1]), out.shape[-1]
    if not lowering.images.in_columns(rows, prod(w.shape) // columns, columns):
        return False
    made = {one.results[0] for one in chain.nodes}
    others = [operand for one in chain.tail for operand in one.operands if operand not in made]
    return all(_lies_in_columns(other, out.shape) for other in (*node.operands[2:], *others))


def _lies_in_columns(other: Value, whole: tuple[int, ...]) -> bool:
    """Whether an operand that the chain took is one number, one for each column, or as large as the whole."""
    return prod(other.shape) == 1 or other.shape[-1] == whole[-1]


def _over_columns(lowering: Lowering, chain: Chain) -> None:
    node, out = chain.head, chain.value
    x, w, *rest = node.operands
    weights, _ = weights_of(lowering, w, None, 0, 1)
    packed = lowering.constant(weights)
    inner, columns = weights.shape[::-1] if _turned(node) else weights.shape
    strides = (inner, 1, 1) if _turned(node) else (1, columns, 1)
    arguments = {SRC: lowering.in_columns(x), WEIGHTS: lowering.view(packed, (columns, inner, 1), strides)}
    bias, after = _bias(lowering, chain, rest[0] if rest else None, chain.tail)
    operand = partial(_column_operand, lowering)
    post = fused(lowering, chain, after, operand)
    if bias is not None:
        arguments[BIAS] = bias
    elif rest:
        post = (Post("add", tensor=operand(rest[0], out.shape)), *post)
    arguments[DST] = lowering.result_in_columns(out)
    numbers = {"strides": (1,), "dilations": (0,), "before": (0,), "after": (0,)}
    lowering.run("convolution", arguments, "convolution", numbers=numbers, packed=WEIGHTS, post=post)


def _column_operand(lowering: Lowering, other: Value, whole: tuple[int, ...]) -> int:
    """The tensor of a post-operation's operand beside columns in blocks."""
    size = prod(other.shape)
    if size == prod(whole):
        return lowering.in_columns(other)
    return lowering.view(lowering.plain(other), (1, size, 1))


# -- as a product, row by row ----------------------------------------------------------------------------------------


def _of_matrices(lowering: Lowering, chain: Chain) -> None:
    node, out = chain.head, chain.value
    x, w, *rest = node.operands
    integers = lowering.multiplier.operands(node)
    after, scaled = drain(lowering, chain, integers)
    flat = len(w.shape) == 2
    rows = prod(node.results[0].shape[:-1])
    whole = (rows, out.shape[-1]) if flat else out.shape
    source = unsigned(lowering, _left(lowering, node, x if integers is None else integers[0].raw, flat), integers)
    more: dict[str, Any] = {}
    constant = known(lowering, w) is not None
    if constant:
        weights, more = weights_of(lowering, w, integers, output_axis(node), 1)
        right = lowering.constant(weights.T if _turned(node) else weights)
    else:
        right = lowering.strided(w)
        if _turned(node):
            right = lowering.view(right, w.shape[::-1], lowering.tensors[right].strides[::-1])
    # Only matrices with several rows gain by weights in blocks, and only inner products take those everywhere.
    blocked = constant and flat and rows > 1 and integers is None and _row_major(lowering, source)
    if blocked:
        columns, rows_of = lowering.tensors[right].dims[::-1]
        right = lowering.view(right, (columns, rows_of), (1, columns))
    elif not flat:
        source, right = (_ranked(lowering, one, len(out.shape)) for one in (source, right))
    arguments = {SRC: source, WEIGHTS: right}
    bias, after = _bias(lowering, chain, rest[0] if rest else None, after)
    post = fused(lowering, chain, after, partial(operand_tensor, lowering, dense))
    if rest and bias is None:
        post = (Post("add", tensor=operand_tensor(lowering, dense, rest[0], whole)), *post)
    if flat and len(out.shape) != 2:
        post = tuple(_flattened(lowering, one) for one in post)
    if bias is not None:
        leading = () if blocked else (1,) * (len(whole) - 1)
        arguments[BIAS] = lowering.view(bias, (*leading, out.shape[-1]))
    target = lowering.result(out)
    arguments[DST] = lowering.view(target, whole) if lowering.tensors[target].dims != whole else target
    kind = "inner_product" if blocked else "matmul"
    lowering.run(kind, arguments, packed=WEIGHTS if constant else None, post=post, **merged(more, scaled))


def _left(lowering: Lowering, node: Node, x: Value, flat: bool) -> int:
    """The tensor of a product's first operand; as one matrix where the second is one."""
    source = lowering.strided(x)
    if node.op == "Gemm" and attribute(node, "transA"):
        return lowering.view(source, x.shape[::-1], lowering.tensors[source].strides[::-1])
    if flat and len(x.shape) != 2:
        return lowering.view(lowering.laid(source, dense), (prod(x.shape[:-1]), x.shape[-1]))
    return source


def _row_major(lowering: Lowering, tensor: int) -> bool:
    one = lowering.tensors[tensor]
    return one.strides == dense(one.dims)


def _flattened(lowering: Lowering, post: Post) -> Post:
    """A post-operation whose operand has the axes of the flattened product."""
    if post.tensor is None:
        return post
    dims = lowering.tensors[post.tensor].dims
    return replace(post, tensor=lowering.view(post.tensor, (prod(dims[:-1]), dims[-1])))


def _ranked(lowering: Lowering, tensor: int, rank: int) -> int:
    """The tensor with leading axes of one added."""
    one = lowering.tensors[tensor]
    lacking = rank - len(one.dims)
    if not lacking:
        return tensor
    return lowering.view(tensor, (1,) * lacking + one.dims, (prod(one.dims),) * lacking + one.strides)


# -- both ------------------------------------------------------------------------------------------------------------


def _turned(node: Node) -> bool:
    return node.op == "Gemm" and bool(attribute(node, "transB"))


def _bias(
    lowering: Lowering, chain: Chain, c: Value | None, after: Sequence[Node]
) -> tuple[int | None, Sequence[Node]]:
    """The bias of a product: Gemm's own, or a constant vector that the chain adds first."""
    columns = chain.value.shape[-1]
    if c is not None:
        if prod(c.shape) != columns or c.shape[-1:] != (columns,):
            return None, after
        array = known(lowering, c)
        return (
            lowering.view(lowering.plain(c), (columns,)) if array is None else lowering.constant(array.reshape(-1))
        ), after
    if after and after[0].op == "Add":
        array = known(lowering, chain.other(after[0]))
        if array is not None and array.size == columns and array.shape[-1:] == (columns,):
            return lowering.constant(array.reshape(-1)), after[1:]
    return None, after
