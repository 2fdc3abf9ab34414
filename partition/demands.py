"""What a user demands of a plan: pins, exclusions, caps of memory, strictness, a benefit worth the trouble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase

from heddle.core.errors import HeddleError
from heddle.core.ir import Graph, Node
from heddle.core.plugin import Backend


@dataclass(frozen=True)
class Demands:
    """Limits of the choice. Nodes are meant by name, by the name of a result or by operator, with `*` and `?`.

    `pins` gives nodes to one backend: `(("layer1.*", "vta"),)`; `exclude` keeps nodes from a backend, in the same form.
    `memory` caps the bytes that a backend may use on its device. `strict` makes a node on a backend that takes all an
    error when another one is listed. With `minimum_benefit=0.1`, nothing is offloaded unless the whole is predicted to
    become 10% faster.
    """

    pins: tuple[tuple[str, str], ...] = ()
    exclude: tuple[tuple[str, str], ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)
    strict: bool = False
    minimum_benefit: float = 0.0

    def check(self, graph: Graph, backends: Sequence[Backend]) -> None:
        """HeddleError when a demand names a backend that is not listed, or nodes that are not there."""
        names = [backend.name for backend in backends]
        for backend in (*(name for _, name in (*self.pins, *self.exclude)), *self.memory):
            if backend not in names:
                raise HeddleError(f"plan: a demand names backend {backend!r}; listed are {', '.join(names)}")
        for wanted, _ in (*self.pins, *self.exclude):
            nodes = [node for inner in graph.walk() for node in inner.nodes]
            if not any(means(wanted, node) for node in nodes):
                known = [node.name for node in nodes if node.name]
                close = get_close_matches(wanted, known, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise HeddleError(f"plan: a demand names nodes {wanted!r}, the graph has none{hint}")

    def within(self, graph: Graph) -> Demands:
        """What these demand of the nodes of one part of a graph."""

        def kept(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
            return tuple((wanted, name) for wanted, name in pairs if any(means(wanted, node) for node in graph.nodes))

        return replace(self, pins=kept(self.pins), exclude=kept(self.exclude))

    def bars(self, node: Node, backend: str) -> str | None:
        """Why a node may not go to a backend, or None."""
        for wanted, pinned in self.pins:
            if pinned != backend and means(wanted, node):
                return f"pinned to {pinned}"
        for wanted, excluded in self.exclude:
            if excluded == backend and means(wanted, node):
                return f"kept from {backend} by {wanted!r}"
        return None


def means(wanted: str, node: Node) -> bool:
    """True when a demand's text means this node."""
    names = (node.name, node.op, *(value.name for value in node.results))
    return any(fnmatchcase(name, wanted) for name in names)
