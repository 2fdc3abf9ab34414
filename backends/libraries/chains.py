"""Operators that a library computes together with what follows them: a head, and the tail that joins its call."""

from __future__ import annotations

from dataclasses import dataclass, field

from heddle.core.ir import Node, Value


@dataclass(eq=False)
class Chain:
    """A head, and the nodes after it that become part of its call, each the only reader of the one before."""

    head: Node
    tail: list[Node] = field(default_factory=list)

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.head, *self.tail)

    @property
    def last(self) -> Node:
        return self.nodes[-1]

    @property
    def value(self) -> Value:
        """What the chain gives so far."""
        return self.last.results[0]

    def other(self, node: Node) -> Value:
        """The operand of a node of two that is not the chain's own."""
        own = {result for one in self.nodes for result in one.results}
        (other,) = (operand for operand in node.operands if operand not in own)
        return other
