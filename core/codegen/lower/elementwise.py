"""Elementwise operators: their scalar expression over broadcast elements."""

from __future__ import annotations

from heddle.core.codegen.affine import Affine
from heddle.core.codegen.lower.rules import Lowering, spread
from heddle.core.codegen.tensor import load, rewrite
from heddle.core.errors import GraphError
from heddle.core.ir import Value
from heddle.core.ops import OPERATORS, trace
from heddle.core.ops.scalar import Expr, const


def lower_elementwise(op: Lowering) -> None:
    """The rule of every operator that is defined by a scalar expression."""
    definition = OPERATORS[op.node.op]
    assert definition.scalar is not None
    attrs = op.attrs
    if any(value is not None for value in op.node.outputs[1:]):
        raise op.refuse("only its first output is computed element by element")
    try:
        expr = trace(definition.scalar, [None if v is None else v.dtype for v in op.node.inputs], attrs)
    except GraphError as error:
        raise op.refuse(str(error)) from None
    axis = definition.along(**attrs) if definition.along is not None else None
    block = attrs.get("block_size", 0) if definition.along is not None else 0
    absent = const(0, op.output.dtype)

    def operand(number: int, value: Value | None, indices: tuple[Affine, ...]) -> Expr:
        if value is None:
            return absent
        if definition.along is not None and number:
            return _along(value, indices, op[0].shape, axis, block)
        return spread(value, indices)

    def body(*indices: Affine) -> Expr:
        args = [operand(number, value, indices) for number, value in enumerate(op.node.inputs)]
        return rewrite(expr, arguments=args)

    op.compute(op.output, body)


def _along(value: Value, indices: tuple[Affine, ...], shape: tuple[int, ...], axis: int | None, block: int) -> Expr:
    """An operand that is laid along one axis of the first (a vector), in blocks along it, or is one number."""
    if block and len(value.shape) == len(shape):
        places = [i // block if n != m else i for i, n, m in zip(indices, value.shape, shape, strict=True)]
        return load(value, *places)
    if value.tensor.size == 1:
        return load(value, *(0 for _ in value.shape))
    if len(value.shape) == 1 and axis is not None:
        return load(value, indices[axis % len(indices)])
    return spread(value, indices)
