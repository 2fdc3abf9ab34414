"""The on-chip memories: what lies where, who was the last to use it, and where the next data goes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from heddle.backends.vta.steps import Chunk, Load, Step
from heddle.core.errors import BackendError

IN_FLIGHT = 200
"""How many pieces of work may wait between two units: a token counter holds 255."""

NEVER = 1 << 60


@dataclass
class Region:
    """A piece of an on-chip memory: what lies there and who was the last to use it (a step, or for some a store)."""

    start: int
    end: int
    key: Hashable
    user: int


@dataclass
class Memory:
    """One on-chip memory: which regions are in use, and by whom."""

    depth: int
    regions: list[Region] = field(default_factory=list)
    next: int = 0

    def find(self, key: Hashable) -> Region | None:
        return next((region for region in self.regions if region.key == key), None)

    def users(self, start: int, end: int) -> int:
        """The last user of any address in a range."""
        return max((r.user for r in self.regions if r.start < end and start < r.end), default=-1)

    def active(self, start: int, end: int) -> bool:
        """Whether a range overlaps one that still has its key."""
        return any(r.key is not None and r.start < end and start < r.end for r in self.regions)

    def claim(self, start: int, size: int, key: Hashable) -> Region:
        """Take a range; what overlaps it is no longer on chip, but its other addresses remember their user."""
        end, kept = start + size, []
        for region in self.regions:
            if region.end <= start or end <= region.start:
                kept.append(region)
                continue
            if region.start < start:
                kept.append(Region(region.start, start, None, region.user))
            if end < region.end:
                kept.append(Region(end, region.end, None, region.user))
        claimed = Region(start, end, key, -1)
        self.regions = [*kept, claimed]
        return claimed

    def ring(self, size: int) -> int:
        """The next range of a memory that is filled round and round."""
        if self.next + size > self.depth:
            self.next = 0
        start = self.next
        self.next += size
        return start


class Slots:
    """Places the chunks of a layer in one memory, in slots of one size.

    What is read again latest makes room first, but for what the array works on just now: what takes its place could
    only be loaded once the array has done with it, and would be waited for.
    """

    def __init__(self, memory: Memory, steps: Sequence[Step], name: str) -> None:
        self.memory = memory
        self.uses: dict[Hashable, list[int]] = {}
        size = 1
        for index, step in enumerate(steps):
            for chunk in step.reads:
                if chunk.memory == name:
                    size = max(size, chunk.size)
                    self.uses.setdefault(chunk.key, []).append(index)
        if size > memory.depth:
            raise BackendError(f"vta: a step reads {size} elements of {name} at once, there are {memory.depth}")
        # Each piece in `inp` and in `wgt` may have a token on its way, to be filled and when it is free again.
        self.starts = [i * size for i in range(min(memory.depth // size, IN_FLIGHT // 2))]
        self.held: dict[int, tuple[Hashable, int]] = {}  # start -> key, number of the last step that read it
        self.where: dict[Hashable, int] = {}
        self.regions: dict[int, Region] = {}  # an earlier layer may have left the same chunk elsewhere
        self.step = self.before = -1  # the step that is being placed, and the last one that read this memory before

    def place(self, chunk: Chunk, index: int, base: int) -> tuple[int, Load | None]:
        """The address of a chunk for a step, and its load unless it is there already."""
        if base + index != self.step:
            self.before, self.step = self.step, base + index
        uses = self.uses[chunk.key]
        while uses and uses[0] <= index:
            uses.pop(0)
        start = self.where.get(chunk.key)
        load = None
        if start is None:
            start = min(self.starts, key=self._cost)
            if start in self.held and self.held[start][1] == self.step:
                raise BackendError(f"vta: a step reads more than the {len(self.starts)} pieces that fit {chunk.memory}")
            if start in self.held:
                del self.where[self.held[start][0]]
            end = start + chunk.size
            after = self.memory.users(start, end)
            self.regions[start] = self.memory.claim(start, chunk.size, chunk.key)
            self.where[chunk.key] = start
            load = Load(chunk, start, after)
        self.held[start] = (chunk.key, self.step)
        self.regions[start].user = self.step
        return start, load

    def _cost(self, start: int) -> tuple[int, int, int]:
        """How bad it is to make room here: what is in use, then lost data that is soon read again, then a long wait."""
        if start not in self.held:
            return (0, self.memory.users(start, start + 1), start)
        key, read = self.held[start]
        if read in (self.step, self.before):
            return (NEVER, read, start)
        again = self.uses[key][0] if self.uses[key] else NEVER
        return (NEVER - again, read, start)
