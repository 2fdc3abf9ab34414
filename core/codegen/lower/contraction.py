"""Matrix products and Einstein's sums as plain nests of loops."""

from __future__ import annotations

from collections.abc import Callable

from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering, lowers, spread
from heddle.core.codegen.tensor import load, total
from heddle.core.ir import Value
from heddle.core.ops.matmul import einsum_terms
from heddle.core.ops.scalar import Expr, cast, const, widened

Term = Callable[[Expr, tuple[Affine | int, ...]], Expr]
"""What an operand's element contributes, from the element and its indices."""


@lowers("MatMul")
def matmul(op: Lowering) -> None:
    wide = widened(op[0].dtype)
    each: Term = lambda x, _: cast(x, wide)  # noqa: E731 - a name for the type checker
    op.compute(op.output, lambda *indices: cast(product(op[0], op[1], indices, each, each), op.output.dtype))


def product(a: Value, b: Value, indices: tuple[Affine, ...], left: Term, right: Term) -> Expr:
    """An element of numpy's matmul, over what the elements contribute."""
    rest = list(indices)
    column = rest.pop() if len(b.shape) > 1 else None
    row = rest.pop() if len(a.shape) > 1 else None
    k = axis(a.shape[-1], "k")
    at_a = (*_batch(a, rest), *(() if row is None else (row,)), k)
    at_b = (*_batch(b, rest), k, *(() if column is None else (column,)))
    return total([k], left(load(a, *at_a), at_a) * right(load(b, *at_b), at_b))


def _batch(value: Value, indices: list[Affine]) -> list[Affine | int]:
    shape = value.shape[:-2]
    aligned = indices[len(indices) - len(shape) :]
    return [0 if size == 1 else index for size, index in zip(shape, aligned, strict=True)]


@lowers("Gemm")
def gemm(op: Lowering) -> None:
    a, b, c = op[0], op[1], op.operand(2)
    attrs, wide = op.attrs, widened(op[0].dtype)

    def body(i: Affine, j: Affine) -> Expr:
        k = axis(a.shape[0] if attrs["transA"] else a.shape[1], "k")
        left = load(a, k, i) if attrs["transA"] else load(a, i, k)
        right = load(b, j, k) if attrs["transB"] else load(b, k, j)
        y = scaled(total([k], cast(left, wide) * cast(right, wide)), attrs["alpha"])
        if c is not None:
            y = y + scaled(cast(spread(c, (i, j)), wide), attrs["beta"])
        return cast(y, op.output.dtype)

    op.compute(op.output, body)


def scaled(x: Expr, factor: float) -> Expr:
    """A multiple; nothing for a factor of 1."""
    return x if factor == 1 else x * const(factor, x.dtype)


@lowers("Einsum")
def einsum(op: Lowering) -> None:
    terms, out = einsum_terms(op.attrs["equation"])
    sizes: dict[str, int] = {}
    batch = 0
    for term, value in zip(terms, op.node.operands, strict=True):
        letters, dots = _split(term, len(value.shape))
        batch = max(batch, dots)
        for letter, size in zip(letters, value.shape, strict=True):
            if letter:
                sizes[letter] = max(size, sizes.get(letter, 1)) if size else 0
    wide = widened(op[0].dtype)
    out_letters, _ = _split(out, len(op.output.shape))

    def body(*indices: Affine) -> Expr:
        named = {letter: i for letter, i in zip(out_letters, indices, strict=True) if letter}
        dots = [i for letter, i in zip(out_letters, indices, strict=True) if not letter]
        folded = [letter for letter in sizes if letter not in named]
        axes = {letter: axis(sizes[letter], letter) for letter in folded}
        places = {**named, **axes}
        result: Expr | None = None
        for term, value in zip(terms, op.node.operands, strict=True):
            element = cast(_element(term, value, places, dots), wide)
            result = element if result is None else result * element
        assert result is not None
        summed = total([axes[letter] for letter in folded], result) if folded else result
        return cast(summed, op.output.dtype)

    op.compute(op.output, body)


def _split(term: str, rank: int) -> tuple[list[str], int]:
    """The letter of each dimension, empty for those of the ellipsis, and how many those are."""
    if "..." not in term:
        return list(term), 0
    head, tail = term.split("...")
    dots = rank - len(head) - len(tail)
    return [*head, *[""] * dots, *tail], dots


def _element(term: str, value: Value, places: dict[str, Affine], dots: list[Affine]) -> Expr:
    letters, count = _split(term, len(value.shape))
    rest = iter(dots[len(dots) - count :])
    where = [places[letter] if letter else next(rest) for letter in letters]
    return load(value, *(0 if size == 1 else i for size, i in zip(value.shape, where, strict=True)))
