"""Lays blocks of memory over each other where their lives do not meet."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.runtime.storage import ALIGNMENT


def before(needs: Sequence[Sequence[int]]) -> list[int]:
    """For each step the set (as bits) of the steps that are complete when it starts; `needs` come earlier."""
    done: list[int] = []
    for wanted in needs:
        bits = 0
        for step in wanted:
            bits |= done[step] | 1 << step
        done.append(bits)
    return done


def disjoint(left: Sequence[int], right: Sequence[int], done: Sequence[int]) -> bool:
    """True when one block's steps are all complete before any of the other's starts."""
    return _precedes(left, right, done) or _precedes(right, left, done)


def _precedes(first: Sequence[int], then: Sequence[int], done: Sequence[int]) -> bool:
    bits = sum(1 << step for step in first)
    return all(bits & done[step] == bits for step in then)


def overlay(sizes: Sequence[int], lives: Sequence[Sequence[int]], done: Sequence[int]) -> tuple[list[int], int]:
    """An offset for each block, and the bytes that all of them take together.

    `lives` are the steps that touch each block. The largest block is placed first, each at the lowest offset that is
    free of the blocks that live at the same time.
    """
    offsets = [0] * len(sizes)
    placed: list[int] = []
    for block in sorted(range(len(sizes)), key=lambda block: (-sizes[block], block)):
        size = _rounded(sizes[block])
        met = sorted(
            (offsets[other], offsets[other] + _rounded(sizes[other]))
            for other in placed
            if not disjoint(lives[block], lives[other], done)
        )
        at = 0
        for start, end in met:
            if at + size <= start:
                break
            at = max(at, end)
        offsets[block] = at
        placed.append(block)
    total = max((offsets[block] + _rounded(sizes[block]) for block in placed), default=0)
    return offsets, total


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
