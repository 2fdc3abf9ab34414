"""What a pass is: a function from graph to graph, and the phases at which backends may add their own."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from heddle.core.ir.graph import Graph


class Pass(Protocol):
    """A rewriting of whole graphs that preserves what the graph computes."""

    @property
    def __name__(self) -> str: ...

    def __call__(self, graph: Graph, /) -> Graph: ...


class Phase(Enum):
    """When a backend's pass runs."""

    BEFORE_PARTITION = "before partitioning, over the whole graph"
    REGION = "over the body of each region of the backend, before it is compiled"
