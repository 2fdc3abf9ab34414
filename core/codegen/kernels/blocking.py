"""Cutting an extent into blocks, and walking the blocks with as little code as their sizes allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.values import Index


def balanced(extent: int, block: int) -> list[int]:
    """As few parts as `block` allows, of sizes that differ by one at most, larger ones first.

    >>> balanced(49, 14)
    [13, 12, 12, 12]
    """
    count = -(-extent // block)
    small, more = divmod(extent, count)
    return [small + 1] * more + [small] * (count - more)


def chunks(extent: int, block: int) -> list[int]:
    """Parts of size `block`, and what is left.

    >>> chunks(10, 4)
    [4, 4, 2]
    """
    return [block] * (extent // block) + ([extent % block] if extent % block else [])


def each(f: Function, parts: Sequence[int]) -> Iterator[tuple[int, Index]]:
    """Emit code for each part, given as (size, start): a loop over a run of equal parts, plain code for a lone one."""
    start = 0
    for size, run in groupby(parts):
        count = len(list(run))
        if count == 1:
            yield size, start
        else:
            with f.loop(0, count, 1, (NO_UNROLL,)) as i:
                yield size, f.plus(f.times(i, size), start)
        start += size * count
