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

    A result of more than `growth` bytes is kept as a node when it is larger than all of its operands together, so
    that a model does not become larger than its weights; such a node is told to the log as a warning.
    """

    growth: int = 1 << 20
    __name__ = "fold_constants"

    def __call__(self, graph: Graph) -> Graph:
        return sweep(graph, self._rule)

    def _rule(self, node: Node, state: Sweep) -> Sequence[Value | None] | None:
        if node.op in _KEPT or node.op not in OPERATORS or node.graphs:
            return None
        if any(value not in state.known for value in node.operands):
            return None
        if not all(isinstance(value.type, TensorType) for value in node.results):
            return None
        if not self._worth(node):
            return None
        try:
            arrays = evaluate_node(node, [None if value is None else state.known[value] for value in node.inputs])
        except (HeddleError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            _LOG.warning("fold_constants: %s (%s) stays: %s", node.results[0], node.op, error)
            return None
        return [
            None if value is None else state.become_constant(value, array)
            for value, array in zip(node.outputs, arrays, strict=False)
        ]

    def _worth(self, node: Node) -> bool:
        given = sum(value.tensor.nbytes or 0 for value in node.operands)
        made = [value.tensor.nbytes for value in node.results]
        if any(size is None for size in made):
            return given <= self.growth
        total = sum(size or 0 for size in made)
        if total <= max(given, self.growth):
            return True
        _LOG.warning(
            "fold_constants: %s (%s) stays: its value takes %d bytes, its operands %d, growth is limited to %d",
            node.results[0],
            node.op,
            total,
            given,
            self.growth,
        )
        return False
