"""Lowering: from an operator of a node to tensor expressions, a file per family, found by the operator's name."""

from __future__ import annotations

from heddle.core.codegen.lower import attention as attention
from heddle.core.codegen.lower import contraction as contraction
from heddle.core.codegen.lower import convolution as convolution
from heddle.core.codegen.lower import counted as counted
from heddle.core.codegen.lower import indexing as indexing
from heddle.core.codegen.lower import movement as movement
from heddle.core.codegen.lower import normalization as normalization
from heddle.core.codegen.lower import pooling as pooling
from heddle.core.codegen.lower import quantization as quantization
from heddle.core.codegen.lower import recurrent as recurrent
from heddle.core.codegen.lower import resizing as resizing
from heddle.core.codegen.lower import sampling as sampling
from heddle.core.codegen.lower import slicing as slicing
from heddle.core.codegen.lower import sorting as sorting
from heddle.core.codegen.lower import spectral as spectral
from heddle.core.codegen.lower import unique as unique
from heddle.core.codegen.lower.elementwise import lower_elementwise
from heddle.core.codegen.lower.reduction import lower_reduction
from heddle.core.codegen.lower.rules import RULES, Lowering, Rule, Step, supported
from heddle.core.errors import BackendError
from heddle.core.ir import Node
from heddle.core.ops import OPERATORS


def lower(lowering: Lowering) -> None:
    """Add the steps of a node; BackendError names a node that no code is generated for, and why."""
    node = lowering.node
    supported((*node.operands, *node.results))
    rule = _rule(node.op)
    if rule is None:
        raise BackendError(f"host: {lowering.label}: no code is generated for this operator")
    rule(lowering)


def refusal(node: Node) -> str | None:
    """Why no code is generated for a node, as far as operator and types tell; None if nothing is against it."""
    if _rule(node.op) is None:
        return "no code is generated for this operator"
    try:
        supported((*node.operands, *node.results))
    except BackendError as error:
        return str(error)
    return None


def _rule(name: str) -> Rule | None:
    found = RULES.get(name)
    definition = OPERATORS.get(name)
    if found is not None or definition is None:
        return found
    if definition.scalar is not None:
        return lower_elementwise
    return lower_reduction if definition.reduction is not None else None


__all__ = ["Lowering", "Step", "lower", "refusal"]
