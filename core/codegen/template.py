"""A step that is computed by a kernel designed by hand, among those that are loops made from expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.tensor import Compute, load
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr

Functions = Callable[[str], list[Function]]
"""The functions of a kernel by its name, the entry last; it takes a pointer for each argument of the step."""


@dataclass(frozen=True)
class Argument:
    """A pointer that a kernel takes: to a value, so many bytes from its start."""

    value: Value
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Template(Compute):
    """A computation by a kernel: `body` names what it reads, and nothing more is to be made of it.

    `over` are values that it reads which the output may take the place of: each element is read, for the last time,
    before the one in its place is written.
    """

    arguments: tuple[Argument, ...] = ()
    scratch: Value | None = None
    functions: Functions | None = None
    over: tuple[Value, ...] = ()

    def __str__(self) -> str:
        inner = ", ".join(f"{a.value}+{a.offset}" if a.offset else str(a.value) for a in self.arguments)
        return f"{self.output}: {self.output.type} = kernel({inner})"


def template(
    output: Value,
    reads: Sequence[Value],
    arguments: Sequence[Argument],
    functions: Functions,
    scratch: Value | None = None,
    node: str = "",
    over: Sequence[Value] = (),
) -> Template:
    """The step that runs a kernel: it writes `output` (or a part) and `scratch`, and reads the whole of `reads`."""
    read = tuple(load(value, *(0 for _ in value.shape)) for value in reads)
    body = Expr("reads", output.dtype, read)
    return Template(output, (), body, (), node, tuple(arguments), scratch, functions, tuple(over))
