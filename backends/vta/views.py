"""Where the elements of a value lie in the accelerator's memory: reshaped, turned and cut without moving anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product


@dataclass(frozen=True)
class View:
    """A value in one memory, in vectors of `lanes` elements.

    The elements along the axis `channel` are lanes of vectors, blocks of them `pitches[channel]` vectors apart;
    neighbours along any other axis are `pitches[axis]` vectors apart.
    """

    memory: str
    sizes: tuple[int, ...]
    channel: int
    pitches: tuple[int, ...]
    lanes: int
    offset: int = 0

    @property
    def blocks(self) -> int:
        """The vectors that the elements along the channel axis fill."""
        return -(-self.sizes[self.channel] // self.lanes)

    @property
    def nbytes(self) -> int:
        """Bytes from the start of the memory to the value's end."""
        counts = [self.blocks if axis == self.channel else size for axis, size in enumerate(self.sizes)]
        steps = sum((count - 1) * pitch for count, pitch in zip(counts, self.pitches, strict=True))
        return (self.offset + steps + 1) * self.lanes

    @property
    def others(self) -> tuple[int, ...]:
        """The axes beside the channels, in order."""
        return tuple(axis for axis in range(len(self.sizes)) if axis != self.channel)


def dense(memory: str, sizes: Sequence[int], channel: int, lanes: int) -> View:
    """A value in a memory of its own: the axes before its channels outermost, then blocks, then the others.

    Of a value whose channels are last, its last other axis lies behind the blocks.
    """
    inner = max(len(sizes) - 2, 0) if channel == len(sizes) - 1 else channel
    pitches = [0] * len(sizes)
    step = 1
    for axis in reversed([axis for axis in range(inner, len(sizes)) if axis != channel]):
        pitches[axis], step = step, step * sizes[axis]
    pitches[channel], step = step, step * -(-sizes[channel] // lanes)
    for axis in reversed(range(inner)):
        pitches[axis], step = step, step * sizes[axis]
    return View(memory, tuple(sizes), channel, tuple(pitches), lanes)


def is_dense(view: View) -> bool:
    """Whether a value lies as `dense` would put it."""
    whole = dense(view.memory, view.sizes, view.channel, view.lanes)
    counts = [view.blocks if axis == view.channel else size for axis, size in enumerate(view.sizes)]
    same = all(a == b or n == 1 for a, b, n in zip(view.pitches, whole.pitches, counts, strict=True))
    return same and view.offset == 0


def transposed(view: View, order: Sequence[int]) -> View:
    """The value with its axes in another order."""
    return replace(
        view, sizes=tuple(view.sizes[axis] for axis in order), pitches=tuple(view.pitches[axis] for axis in order),
        channel=list(order).index(view.channel),
    )  # fmt: skip


def cut(view: View, axis: int, start: int, count: int, step: int = 1) -> View | None:
    """Part of the value along one axis; None where that would begin amid a vector, or go backwards."""
    if axis == view.channel:
        if start % view.lanes or (step != 1 and count > 1):
            return None
        offset, pitch = start // view.lanes * view.pitches[axis], view.pitches[axis]
    else:
        if step < 1 and count > 1:
            return None
        offset, pitch = start * view.pitches[axis], view.pitches[axis] * max(step, 1)
    sizes, pitches = list(view.sizes), list(view.pitches)
    sizes[axis], pitches[axis] = count, pitch
    return replace(view, sizes=tuple(sizes), pitches=tuple(pitches), offset=view.offset + offset)


def reshaped(view: View, sizes: Sequence[int]) -> View | None:
    """The value in other dimensions; None where its elements would have to change places."""
    pitches: list[int] = []
    channel = None
    for old, new in _groups(view.sizes, sizes):
        if view.channel in old:
            found = _channels(view, old, [sizes[axis] for axis in new])
            if found is None:
                return None
            channel, steps = new.start + found[0], found[1]
        else:
            step = _chained([(view.sizes[axis], view.pitches[axis]) for axis in old])
            if step is None:
                return None
            steps = _split([sizes[axis] for axis in new], step)
        pitches += steps
    if channel is None:
        return None
    pitches += [1] * (len(sizes) - len(pitches))
    return replace(view, sizes=tuple(sizes), pitches=tuple(pitches), channel=channel)


@dataclass(frozen=True)
class Detour:
    """A reshape of a value with channels along `start` to one with channels along `end`, turned in other dimensions."""

    start: int
    between: tuple[int, ...]
    end: int


def detour(before: Sequence[int], after: Sequence[int], lanes: int) -> Detour | None:
    """How a reshape that tears vectors of channels apart can be made by turning the value once; None where it cannot.

    >>> detour((1, 16, 4, 4), (1, 256), 16)
    Detour(start=1, between=(1, 16, 16), end=1)
    """
    for start, end in product(range(1, len(before)), range(1, len(after))):
        for between in (_image(before), _image(after)):
            first = reshaped(dense("", before, start, lanes), between)
            last = reshaped(dense("", after, end, lanes), between)
            if first is not None and last is not None and 0 != first.channel != last.channel != 0:
                return Detour(start, between, end)
    return None


def _image(sizes: Sequence[int]) -> tuple[int, ...]:
    """Dimensions with those behind the second as one."""
    return (*sizes[:2], math.prod(sizes[2:])) if len(sizes) > 2 else tuple(sizes)


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[range, range]]:
    """The smallest runs of axes that hold equally many elements before and after, without axes of one at the end."""
    i = j = 0
    while i < len(old) and j < len(new):
        first, second, before, after = i, j, old[i], new[j]
        i, j = i + 1, j + 1
        while before != after:
            if before < after:
                before, i = before * old[i], i + 1
            else:
                after, j = after * new[j], j + 1
        yield range(first, i), range(second, j)


def _chained(axes: Sequence[tuple[int, int]]) -> int | None:
    """The pitch of axes (size, pitch) that lie as one; None where they do not."""
    some = [(size, pitch) for size, pitch in axes if size > 1]
    for (_, outer), (size, inner) in pairwise(some):
        if outer != size * inner:
            return None
    return some[-1][1] if some else 1


def _split(sizes: Sequence[int], pitch: int) -> list[int]:
    """The pitches of one axis cut into several."""
    return [math.prod(sizes[axis + 1 :]) * pitch for axis in range(len(sizes))]


def _channels(view: View, old: range, sizes: Sequence[int]) -> tuple[int, list[int]] | None:
    """Which of the new axes has the channels, and the pitches of all of these; None where that cannot be."""
    if any(view.sizes[axis] > 1 for axis in range(view.channel + 1, old.stop)):
        return None
    count, block = view.sizes[view.channel], view.pitches[view.channel]
    outer = [(view.sizes[axis], view.pitches[axis]) for axis in range(old.start, view.channel)]
    if any(size > 1 for size, _ in outer):
        joined = _chained([*outer, (count // view.lanes, block)])
        if count % view.lanes or joined is None:
            return None
        block = joined
    position = max((axis for axis, size in enumerate(sizes) if size > 1), default=len(sizes) - 1)
    lead, last = sizes[:position], sizes[position]
    if math.prod(lead) > 1 and last % view.lanes:
        return None
    return position, [*_split([*lead, -(-last // view.lanes)], block), *[1] * (len(sizes) - position - 1)]
