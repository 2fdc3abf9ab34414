"""Lowering: from an operator of a node to tensor expressions, a file per family, found by the operator's name."""

from __future__ import annotations

from heddle.core.codegen.lower import contraction as contraction
from heddle.core.codegen.lower.elementwise import lower_elementwise
from heddle.core.codegen.lower.rules import RULES, Lowering, Step, supported
from heddle.core.errors import BackendError
from heddle.core.ops import OPERATORS


def lower(lowering: Lowering) -> None:
    """Add the steps of a node; BackendError names a node that no code is generated for, and why."""
    node = lowering.node
    supported((*node.operands, *node.results))
    rule = RULES.get(node.op)
    if rule is None and node.op in OPERATORS and OPERATORS[node.op].scalar is not None:
        rule = lower_elementwise
    if rule is None:
        raise BackendError(f"host: {lowering.label}: no code is generated for this operator")
    rule(lowering)


__all__ = ["Lowering", "Step", "lower"]
