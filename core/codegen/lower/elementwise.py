"""Elementwise operators: their scalar expression over broadcast elements."""

from __future__ import annotations

from heddle.core.codegen.affine import Affine
from heddle.core.codegen.lower.rules import Lowering, spread
from heddle.core.codegen.tensor import rewrite
from heddle.core.ops import OPERATORS, trace
from heddle.core.ops.scalar import Expr, const


def lower_elementwise(op: Lowering) -> None:
    """The rule of every operator that is defined by a scalar expression."""
    scalar = OPERATORS[op.node.op].scalar
    assert scalar is not None
    expr = trace(scalar, [None if value is None else value.dtype for value in op.node.inputs], op.attrs)

    def body(*indices: Affine) -> Expr:
        absent = const(0, op.output.dtype)
        return rewrite(expr, arguments=[absent if v is None else spread(v, indices) for v in op.node.inputs])

    op.compute(op.output, body)
