"""Patterns: traced functions that are matcher, printer and reference meaning in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heddle.core.ir import Graph, Node, Value


@dataclass(frozen=True)
class Pattern:
    """A named shape of graph that a backend takes."""

    name: str
    body: Graph


@dataclass(frozen=True)
class Match:
    """One occurrence of a pattern: the nodes it covers and what each name of the pattern is bound to."""

    pattern: Pattern
    nodes: tuple[Node, ...]
    bindings: Mapping[str, Value]
