"""How an operator's rule is found by name, and what a rule works with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from heddle.core.codegen.affine import Affine
from heddle.core.codegen.narrow import register_type
from heddle.core.codegen.tensor import Check, Compute, View, compute, load, part
from heddle.core.errors import BackendError
from heddle.core.ir import Names, Node, Value, tensor
from heddle.core.ir.types import DType, TensorType
from heddle.core.ops import attributes_of
from heddle.core.ops.scalar import Expr
from numpy.typing import NDArray

Array = NDArray[Any]
Step = Compute | View | Check


@dataclass
class Lowering:
    """One node on its way to tensor expressions: a rule reads its operands and adds steps, in order."""

    node: Node
    constants: Mapping[Value, Array]
    names: Names
    steps: list[Step] = field(default_factory=list)
    tables: dict[Value, Array] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The node for messages: its operator and its name."""
        return f'{self.node.op} "{self.node.name}"' if self.node.name else self.node.op

    @property
    def attrs(self) -> dict[str, Any]:
        return attributes_of(self.node)

    @property
    def output(self) -> Value:
        """The first output."""
        value = self.node.outputs[0]
        assert value is not None
        return value

    def operand(self, number: int) -> Value | None:
        """An operand, or None when it is absent."""
        return self.node.inputs[number] if number < len(self.node.inputs) else None

    def __getitem__(self, number: int) -> Value:
        """An operand that is there."""
        value = self.operand(number)
        if value is None:
            raise BackendError(f"host: {self.label}: operand {number} is absent, and its rule needs it")
        return value

    def known(self, number: int) -> Array | None:
        """The array of an operand that is constant; None for one that is absent or is not constant."""
        value = self.operand(number)
        return None if value is None else self.constants.get(value, self.tables.get(value))

    def demand(self, number: int, what: str) -> Array:
        """The array of an operand that must be constant."""
        array = self.known(number)
        if array is None:
            raise self.refuse(f"{what} is computed when the model runs, and must be constant")
        return array

    def refuse(self, fact: str) -> BackendError:
        """The error of a node that no code is generated for."""
        return BackendError(f"host: {self.label}: {fact}")

    def fresh(self, stem: str, dtype: DType, shape: Sequence[int]) -> Value:
        """A value between two steps."""
        return self.names.fresh(f"{self.node.results[0].name}.{stem}", tensor(dtype, *shape))

    def table(self, stem: str, array: Array) -> Value:
        """A constant that the rule made."""
        value = self.names.fresh(f"{self.node.results[0].name}.{stem}", TensorType(array.dtype, array.shape))
        self.tables[value] = np.ascontiguousarray(array)
        return value

    def add(self, *steps: Step) -> None:
        self.steps += steps

    def compute(self, output: Value, body: Callable[..., Expr]) -> Value:
        """Add the computation of a whole value; gives the value."""
        self.add(compute(output, body, self.label))
        return output

    def part(
        self, output: Value, shape: Sequence[int], at: Callable[..., Sequence[Affine | int]], body: Callable[..., Expr]
    ) -> None:
        """Add the computation of some elements of a value."""
        self.add(part(output, shape, at, body, self.label))

    def view(self, output: Value, source: Value) -> Value:
        """Add a value with the elements of another under another shape."""
        self.add(View(output, source))
        return output

    def check(self, over: Sequence[Affine], bad: Expr, message: str) -> None:
        """Add a condition that ends the run with a message."""
        axes = tuple(a for index in over for a in sorted(index.axes, key=id))
        self.add(Check(axes, bad, f"{self.label}: {message}"))


Rule = Callable[[Lowering], None]
RULES: dict[str, Rule] = {}


def lowers(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of some operators."""

    def register(rule: Rule) -> Rule:
        for name in names:
            assert name not in RULES, f"{name} has two lowering rules"
            RULES[name] = rule
        return rule

    return register


def spread(value: Value, indices: Sequence[Affine]) -> Expr:
    """The element of a value that is broadcast to the rank of `indices`."""
    shape = value.shape
    aligned = indices[len(indices) - len(shape) :]
    return load(value, *(0 if size == 1 else index for size, index in zip(shape, aligned, strict=True)))


def supported(values: Iterable[Value]) -> None:
    """BackendError when a value is no tensor of a type and shape that code can be generated for."""
    for value in values:
        if not isinstance(value.type, TensorType):
            raise BackendError(f"host: {value} is a {value.type}, and only tensors are compiled")
        if value.type.shape is None:
            raise BackendError(f"host: {value} is {value.type}, and its shape must be known to compile it")
        register_type(value.dtype)
