"""The form of a kernel of many threads: blocks of threads that run phase after phase, with a barrier between phases."""

from __future__ import annotations

from dataclasses import dataclass

from heddle.core.codegen.affine import Affine, Axis
from heddle.core.codegen.loops import Buffer, If, Kernel, Stmt
from heddle.core.codegen.tensor import position
from heddle.core.ops.scalar import Expr

MOST_THREADS = 256
"""Threads of a block: enough to fill a multiprocessor with a few blocks, few enough to leave each its registers."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A kernel: every thread of every block runs each phase; a block's threads wait for each other between phases.

    The statements mention the axes `block` and `thread`, whose extents are how many there are. `shared` buffers are
    one for each block. Variables do not outlive their phase; what a thread leaves for others, or for later, it stores.
    Nothing orders two blocks.
    """

    parameters: tuple[Buffer, ...]
    written: frozenset[Buffer]
    shared: tuple[Buffer, ...]
    block: Axis
    thread: Axis
    phases: tuple[tuple[Stmt, ...], ...]

    def __str__(self) -> str:
        head = f"{self.block.extent} blocks of {self.thread.extent} threads"
        shared = "".join(f"\n  shared {b}: {b.dtype}[{b.size}]" for b in self.shared)
        bodies = [str(Kernel(self.parameters, self.written, phase)) for phase in self.phases]
        return "\n".join([f"{head}{shared}", *bodies])


def when(condition: Expr | None, *body: Stmt) -> tuple[Stmt, ...]:
    """The body under a condition; None is always true."""
    return body if condition is None else (If(condition, body),)


def below(index: Affine, limit: int) -> Expr | None:
    """The condition that an index is less than a limit; None where that is known."""
    return None if index.high < limit else position(index) < limit


def both(*conditions: Expr | None) -> Expr | None:
    """The condition that all of these hold."""
    found = [condition for condition in conditions if condition is not None]
    if not found:
        return None
    result = found[0]
    for condition in found[1:]:
        result = result & condition
    return result


def rounded(count: int, to: int) -> int:
    """The least multiple that is not less."""
    return -(-count // to) * to
