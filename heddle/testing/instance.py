"""One way in which a pattern can occur: alternatives, options and repetitions chosen, as a flat list of operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from heddle.core.ir import Graph, Node, Value
from heddle.core.ops import OPERATORS
from heddle.core.pattern import Pattern
from heddle.core.pattern.search import ops_of
from heddle.testing.rules import TOGETHER

T = TypeVar("T")
Pick = Callable[[Sequence[T]], T]
"""Chooses one of several things; the simplest is first, so that whoever shrinks a case goes there."""


@dataclass(eq=False)
class Part:
    """One operator of an occurrence: its operands and results by name, and the pattern's label of it."""

    op: str
    inputs: list[str | None]
    outputs: list[str]
    label: str
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Instance:
    """The operators of an occurrence in order, its outputs, and by which name of the pattern each value goes."""

    parts: list[Part] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    leaves: dict[str, str] = field(default_factory=dict)


def instance(pattern: Pattern, pick: Pick[Any]) -> Instance:
    """An occurrence of a pattern, by these choices."""
    made = _Maker(pattern, pick)
    made.instance.outputs = [made.realise(pattern.body, value, {}, "") for value in pattern.body.outputs]
    return made.instance


class _Maker:
    def __init__(self, pattern: Pattern, pick: Pick[Any]) -> None:
        self.pattern, self.pick = pattern, pick
        self.instance = Instance()
        self.known: dict[tuple[str, str], str] = {}

    def realise(self, body: Graph, value: Value, around: dict[Value, str], suffix: str) -> str:
        """The name of a value of the pattern in the occurrence, with all that it takes to compute it."""
        if value in around:
            return around[value]
        key = (value.name, suffix)
        if key not in self.known:
            node = body.producers.get(value)
            self.known[key] = (
                self._leaf(value.name, suffix) if node is None else self._node(body, node, value, around, suffix)
            )
        return self.known[key]

    def _leaf(self, name: str, suffix: str) -> str:
        self.instance.leaves[name + suffix] = name
        return name + suffix

    def _node(self, body: Graph, node: Node, value: Value, around: dict[Value, str], suffix: str) -> str:
        if node.op == "either":
            return self.realise(body, self.pick(node.operands), around, suffix)
        if node.op in ("optional", "repeat"):
            return self._nested(body, node, around, suffix)
        op = self.pick(sorted(ops_of(node)))
        inputs: list[str | None] = []
        definition = OPERATORS[op]
        for number, operand in enumerate(node.inputs):
            may_lack = number >= definition.required and not definition.variadic
            if operand is None:
                inputs.append(None)
            elif operand.name in self.pattern.several:
                for number in range(self.pick((2, 1, 3)) * len(TOGETHER.get(op, (op,)))):
                    self.instance.leaves[f"{operand.name}{suffix}_{number}"] = operand.name
                    inputs.append(f"{operand.name}{suffix}_{number}")
            elif may_lack and operand.name in self.pattern.absentable and self.pick((True, False)):
                inputs.append(None)
            else:
                inputs.append(self.realise(body, operand, around, suffix))
        while inputs and inputs[-1] is None:
            inputs.pop()
        outputs = [f"{result.name}{suffix}" for result in node.results]
        for result, name in zip(node.results, outputs, strict=True):
            self.known[result.name, suffix] = name
        self.instance.parts.append(Part(op, inputs, outputs, node.results[0].name))
        return f"{value.name}{suffix}"

    def _nested(self, body: Graph, node: Node, around: dict[Value, str], suffix: str) -> str:
        """What is inside an option or a repetition, as often as is chosen."""
        inside: Graph = node.attrs["body"]
        flowing = self.realise(body, node.operands[0], around, suffix)
        if node.op == "optional":
            turns = self.pick((0, 1))
        else:
            least = node.attrs["least"]
            turns = self.pick(tuple(range(least, min(node.attrs.get("most", least + 2), least + 2) + 1)))
        for turn in range(turns):
            inner = f"{suffix}_{turn}" if node.op == "repeat" else suffix
            captured = {v: self.realise(body, v, around, suffix) for v in inside.inputs[1:] if self._outer(body, v)}
            scope = {**captured, inside.inputs[0]: flowing}
            flowing = self.realise(inside, inside.outputs[0], scope, inner)
        return flowing

    @staticmethod
    def _outer(body: Graph, value: Value) -> bool:
        return value in body.producers or value in body.inputs
