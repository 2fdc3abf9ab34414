"""A kernel's work in pieces, each done by one of the threads that run the kernel at the same time.

Every thread walks over all pieces in the same order and does those that it has claimed; to walk past a piece costs a
few instructions. What a piece computes does not depend on who does it, so results do not depend on how many threads
there are. A kernel in pieces takes one more pointer, its `share` of the work (see `core.codegen.team`); without one
(null) it does everything, and claims nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from heddle.core.codegen.llvm import Division, Function
from heddle.core.codegen.values import I32, I64, PTR, Value, constant

WORTH = 60_000
"""Cycles of work below which a kernel stays on one thread: to hand work out and to wait for it costs some thousands."""

CLAIM = 100_000
"""Cycles of work that a thread claims at once, at most: so long others may have to wait for one that is held up."""

MANY = (1 << 31) - 1
"""More pieces than any kernel has."""

NOBODY = Value("null", PTR)


class Pieces:
    """The pieces of one kernel, whose whole work takes about so many cycles."""

    def __init__(self, f: Function, cycles: float) -> None:
        """To be made at the start of the function, when it has all its other parameters."""
        self._f, self._cycles, self._count = f, cycles, 0
        self.shared = cycles >= WORTH
        if self.shared:
            self._share = f.parameter("share", "ptr")
            alone = f.compare("eq", self._share, NOBODY)
            self._number, self._first = f.variable(constant(0, I64)), f.variable(constant(0, I64))
            self._end = f.variable(f.select(alone, constant(MANY, I64), constant(0, I64)))

    @contextmanager
    def one(self) -> Iterator[None]:
        """What is emitted within is a piece, in each turn of the loops around it."""
        if not self.shared:
            yield
            return
        f = self._f
        number = f.get(self._number)
        f.set(self._number, f.add(number, constant(1, I64)))
        with f.when(f.compare("eq", number, f.get(self._end))):
            claim = f.load(PTR, self._share)
            first_and_end = f.call_pointer(claim, I64, [self._share])
            f.set(self._first, f.binary("lshr", first_and_end, constant(32, I64)))
            f.set(self._end, f.binary("and", first_and_end, constant(0xFFFFFFFF, I64)))
        with f.when(f.compare("sge", number, f.get(self._first))):
            yield
        self._count += f.turns
        most = self._count * CLAIM / self._cycles
        f.division = Division(self._count, max(1, round(most)))


def lane(f: Function, share: Value) -> Value:
    """The number of the thread that a share belongs to, as i32: 0 is the caller's."""
    number = f.variable(constant(0, I32))
    with f.unless(f.compare("eq", share, NOBODY)):
        f.set(number, f.load(I32, f.gep(share, 1, I64)))
    return f.get(number)


@contextmanager
def by_caller(f: Function) -> Iterator[None]:
    """What is emitted within is done by the calling thread alone, in a kernel that may be in pieces."""
    if "share" not in f.arguments:
        yield
        return
    with f.when(f.compare("eq", lane(f, f["share"]), constant(0, I32))):
        yield
