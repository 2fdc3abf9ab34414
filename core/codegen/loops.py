"""The loop-nest form: kernels of loops over flat buffers, the last level before LLVM; printable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from heddle.core.codegen.affine import Affine, Axis, show
from heddle.core.codegen.tensor import Load, loads
from heddle.core.ir.types import DType, dtype_name
from heddle.core.ops.scalar import Expr

Kind = Literal["serial", "parallel", "unroll", "vector", "fold"]
"""How a loop runs. `parallel`: turns are independent. `unroll`: written out. `vector`: turns are lanes of vectors and
independent. `fold`: turns only update reductions whose order is free."""


@dataclass(frozen=True, eq=False)
class Buffer:
    """Elements in a row: a parameter of the kernel, or an array on its stack (`local`), used at any index."""

    name: str
    dtype: DType
    size: int
    local: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Local:
    """A scalar variable of a kernel."""

    name: str
    dtype: DType

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class For:
    axis: Axis
    body: tuple[Stmt, ...]
    kind: Kind = "serial"


@dataclass(frozen=True, eq=False)
class Set:
    """Give a variable a value, for the first time or again."""

    local: Local
    value: Expr


@dataclass(frozen=True, eq=False)
class Store:
    buffer: Buffer
    offset: Affine
    value: Expr


@dataclass(frozen=True, eq=False)
class Turn:
    """Copy a square of `size` x `size` elements and transpose it: `target[at + i * across + j] = source[origin +
    j * step + i]`.
    """

    target: Buffer
    at: Affine
    across: int
    source: Buffer
    origin: Affine
    step: int
    size: int


@dataclass(frozen=True, eq=False)
class If:
    condition: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()


@dataclass(frozen=True, eq=False)
class While:
    """Repeat the body as long as the condition, computed before each turn, holds."""

    condition: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, eq=False)
class Fail:
    """End the run with the number of a fault."""

    number: int


Stmt = For | Set | Store | Turn | If | While | Fail


@dataclass(frozen=True, eq=False)
class Kernel:
    """A function over buffers: those it reads and those it writes (which it may read as well), in order.

    No two buffers share memory.
    """

    parameters: tuple[Buffer, ...]
    written: frozenset[Buffer]
    body: tuple[Stmt, ...]

    def __str__(self) -> str:
        head = ", ".join(f"{b}: {dtype_name(b.dtype)}[{b.size}]" for b in self.parameters)
        return "\n".join([f"kernel({head}) {{", *_lines(self.body, "  "), "}"])


def element(buffer: Buffer, offset: Affine | int) -> Expr:
    """What a buffer holds at an offset."""
    where = Affine((), offset) if isinstance(offset, int) else offset
    return Expr("load", buffer.dtype, value=Load(buffer, (where,)))


def read(local: Local) -> Expr:
    """The value of a variable."""
    return Expr("local", local.dtype, value=local)


def read_by(body: Sequence[Stmt]) -> Iterator[Buffer]:
    """The buffers of which statements read elements, some of them more than once."""
    for stmt in body:
        if isinstance(stmt, Turn):
            yield stmt.source
        exprs = [stmt.value] if isinstance(stmt, Set | Store) else []
        exprs += [stmt.condition] if isinstance(stmt, If | While) else []
        for expr in exprs:
            yield from (load.source for load in loads(expr))
        if isinstance(stmt, For | While):
            yield from read_by(stmt.body)
        elif isinstance(stmt, If):
            yield from read_by((*stmt.then, *stmt.otherwise))


def nest(axes: Sequence[Axis], body: Sequence[Stmt], kinds: Sequence[Kind] = ()) -> tuple[Stmt, ...]:
    """The body inside a loop for each axis, the first outermost."""
    inside = tuple(body)
    for number in reversed(range(len(axes))):
        inside = (For(axes[number], inside, kinds[number] if number < len(kinds) else "serial"),)
    return inside


def _lines(body: Sequence[Stmt], indent: str) -> list[str]:
    lines: list[str] = []
    for stmt in body:
        inner = indent + "  "
        if isinstance(stmt, For):
            kind = "" if stmt.kind == "serial" else f"{stmt.kind} "
            lines += [f"{indent}{kind}for {stmt.axis.name} < {stmt.axis.extent} {{", *_lines(stmt.body, inner)]
        elif isinstance(stmt, Set):
            lines.append(f"{indent}{stmt.local}: {dtype_name(stmt.local.dtype)} = {show(stmt.value)}")
            continue
        elif isinstance(stmt, Store):
            lines.append(f"{indent}{stmt.buffer}[{stmt.offset}] = {show(stmt.value)}")
            continue
        elif isinstance(stmt, Turn):
            square = f"{stmt.size} x {stmt.size} of {stmt.source}[{stmt.origin} by {stmt.step}]"
            lines.append(f"{indent}{stmt.target}[{stmt.at} by {stmt.across}] = {square}")
            continue
        elif isinstance(stmt, Fail):
            lines.append(f"{indent}fail {stmt.number}")
            continue
        elif isinstance(stmt, While):
            lines += [f"{indent}while {show(stmt.condition)} {{", *_lines(stmt.body, inner)]
        else:
            lines += [f"{indent}if {show(stmt.condition)} {{", *_lines(stmt.then, inner)]
            if stmt.otherwise:
                lines += [f"{indent}}} else {{", *_lines(stmt.otherwise, inner)]
        lines.append(f"{indent}}}")
    return lines
