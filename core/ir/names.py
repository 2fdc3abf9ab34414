"""Fresh names for the values that a rewrite binds."""

from __future__ import annotations

from collections.abc import Iterable

from heddle.core.ir.graph import Graph, Value
from heddle.core.ir.types import Type


class Names:
    """Hands out names that no value of a graph, or of the graphs inside it, bears; without a graph, all are free."""

    def __init__(self, graph: Graph | None = None) -> None:
        self._taken = set() if graph is None else {value.name for inner in graph.walk() for value in inner.values}
        self._next: dict[str, int] = {}

    def reserve(self, names: Iterable[str]) -> None:
        """Never hand out these names."""
        self._taken.update(names)

    def fresh(self, stem: str, type: Type) -> Value:
        """A value of this type whose name is `stem`, or `stem.N` with the first N that is free."""
        name = stem
        while name in self._taken:
            self._next[stem] = self._next.get(stem, 0) + 1
            name = f"{stem}.{self._next[stem]}"
        self._taken.add(name)
        return Value(name, type)
