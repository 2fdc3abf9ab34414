"""Gives operators whose results are as large as the data says a form of known shape, of which a part is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from heddle.core.frontend.builder import Call
from heddle.core.ir import Graph, Node, Value
from heddle.core.ops import attributes_of
from heddle.core.passes.sweep import Sweep, sweep

_AXES: Mapping[str, Callable[[Node], Sequence[int | None]]] = {
    "NonZero": lambda node: (1,),
    "Compress": lambda node: (_axis(node),),
    "Unique": lambda node: (_axis(node), 0, None, 0),
    "NonMaxSuppression": lambda node: (0,),
}
"""Along which axis each result is trimmed; None where it has its full size."""

COUNTED = frozenset(_AXES)
"""Operators that the data tells how many elements they have."""


def _axis(node: Node) -> int:
    """The axis that an operator works along; without one it works on all elements in order."""
    return attributes_of(node)["axis"] or 0


def bound_counts(graph: Graph) -> Graph:
    """Compute each such result in full size, with a count, and trim it to that."""
    return sweep(graph, _rule)


def _rule(node: Node, state: Sweep) -> Sequence[Value | None] | None:
    if node.op not in COUNTED:
        return None
    stems = [None if value is None else f"{value.name}.full" for value in node.outputs]
    call = Call(f"heddle.{node.op}Bounded", node.inputs, node.attrs, len(node.outputs) + 1)
    count, *full = state.add(call, [f"{node.results[0].name}.count", *stems], node.name)
    results: list[Value | None] = []
    for value, whole, axis in zip(node.outputs, full, _AXES[node.op](node), strict=False):
        if value is None or whole is None or axis is None:
            results.append(whole)
        else:
            results.append(state.apply("heddle.Trim", whole, count, stem=value.name, label=node.name, axis=axis))
    return results
