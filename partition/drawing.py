"""Lays a graph out in layers, for drawing."""

from __future__ import annotations

from heddle.core.ir import Graph
from heddle.partition.plan import key_of

Place = tuple[float, int]
"""A column (fractions are fine) and a layer."""


def layers(graph: Graph) -> dict[str, Place]:
    """A place for each node: as deep as its longest way from the inputs, near what it reads."""
    depth: dict[str, int] = {}
    sources: dict[str, list[str]] = {}
    for node in graph.nodes:
        key = key_of(node)
        made_by = [graph.producers[value] for value in node.operands if value in graph.producers]
        sources[key] = [key_of(maker) for maker in made_by]
        depth[key] = 1 + max((depth[source] for source in sources[key]), default=-1)
    rows: dict[int, list[str]] = {}
    for key, layer in depth.items():
        rows.setdefault(layer, []).append(key)
    column: dict[str, float] = {}
    for layer in sorted(rows):
        wished = {key: _mean([column[source] for source in sources[key]]) for key in rows[layer]}
        ordered = sorted(rows[layer], key=lambda key: wished[key])
        middle = _mean([wished[key] for key in ordered])
        for number, key in enumerate(ordered):
            column[key] = middle + number - (len(ordered) - 1) / 2
    return {key: (column[key], layer) for key, layer in depth.items()}


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0
