"""Fresh names for the values that a rewrite binds."""

from __future__ import annotations

from heddle.core.ir.graph import Graph, Value
from heddle.core.ir.types import Type


class Names:
    """Hands out names that no value of a graph, or of the graphs inside it, bears."""

    def __init__(self, graph: Graph) -> None:
        self._taken = {value.name for inner in graph.walk() for value in inner.values}
        self._next: dict[str, int] = {}

    def fresh(self, stem: str, type: Type) -> Value:
        """A value of this type whose name is `stem`, or `stem.N` with the first N that is free."""
        name = stem
        while name in self._taken:
            self._next[stem] = self._next.get(stem, 0) + 1
            name = f"{stem}.{self._next[stem]}"
        self._taken.add(name)
        return Value(name, type)
