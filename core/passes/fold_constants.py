"""Computes at compile time what depends on constants only."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from heddle.core.errors import HeddleError
from heddle.core.ir import Graph, Node, TensorType, Value
from heddle.core.ops import OPERATORS
from heddle.core.ops.registry import evaluate_node
from heddle.core.passes.sweep import Sweep, sweep

_LOG = logging.getLogger(__name__)

RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout")
)
"""What may give another result each time it runs."""

_KEPT = RANDOM | {"DequantizeLinear", "Loop", "Scan", "If", "SequenceMap"}
"""Dequantized weights stay visible to backends; loops might run for ever; a branch is taken by its own rule."""


@dataclass(frozen=True)
class FoldConstants:
    """Replaces nodes whose operands are all constant by their values.

    Values that are larger than their operands (an Expand makes them) may make the model larger by `growth` bytes in
    all. What would go beyond that stays a node, and a warning in the log says so.
    """

    growth: int = 1 << 30
    __name__ = "fold_constants"

    def __call__(self, graph: Graph) -> Graph:
        folding = _Folding(self.growth)
        folded = sweep(graph, folding.rule)
        if folding.refused:
            _LOG.warning(
                "fold_constants: %d nodes stay, %s first: their values exceed growth=%d bytes",
                len(folding.refused),
                folding.refused[0],
                self.growth,
            )
        return folded


class _Folding:
    """One run of the pass: what is left of its allowance, and what was refused for it."""

    def __init__(self, allowance: int) -> None:
        self.allowance = allowance
        self.refused: list[str] = []

    def rule(self, node: Node, state: Sweep) -> Sequence[Value | None] | None:
        if node.op in _KEPT or node.op not in OPERATORS or node.graphs:
            return None
        if any(value not in state.known for value in node.operands):
            return None
        if not all(isinstance(value.type, TensorType) for value in node.results) or not self._allowed(node):
            return None
        try:
            arrays = evaluate_node(node, [None if value is None else state.known[value] for value in node.inputs])
        except (HeddleError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            _LOG.warning("fold_constants: %s (%s) stays, it cannot be computed: %s", node.results[0], node.op, error)
            return None
        return [
            None if value is None else state.become_constant(value, array)
            for value, array in zip(node.outputs, arrays, strict=False)
        ]

    def _allowed(self, node: Node) -> bool:
        """True when the results fit into the allowance; a result of unknown size is taken to be no larger."""
        given = sum(value.tensor.nbytes or 0 for value in node.operands)
        grown = sum(value.tensor.nbytes or 0 for value in node.results) - given
        if grown > self.allowance:
            self.refused.append(f"{node.results[0]} ({node.op})")
            return False
        self.allowance -= max(grown, 0)
        return True
