"""A step that a library computes, among those that are kernels of Heddle's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heddle.backends.cudnn.program import Plan, Product
from heddle.core.codegen.tensor import Compute, load
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr


@dataclass(frozen=True, eq=False)
class Call(Compute):
    """A computation by a library over whole values: `body` names what it reads, and nothing more is made of it."""

    what: Plan | Product | None = None
    operands: tuple[Value, ...] = ()

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.operands))
        return f"{self.output}: {self.output.type} = {type(self.what).__name__.lower()}({inner})"


def call(what: Plan | Product, operands: Sequence[Value], output: Value, node: str = "") -> Call:
    """The step that gives the operands, and then the output, to the library as its arguments."""
    read = tuple(load(value, *(0 for _ in value.shape)) for value in operands)
    return Call(output, (), Expr("reads", output.dtype, read), (), node, what, (*operands, output))
