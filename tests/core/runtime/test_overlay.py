"""Memory that is laid over itself: blocks that live at once never share a byte, and chains need little."""

from __future__ import annotations

from heddle.core.runtime.overlay import before, disjoint, overlay
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def plans(draw):
    steps = draw(st.integers(1, 8))
    needs = [draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)) if i else [] for i in range(steps)]
    blocks = draw(st.integers(0, 10))
    sizes = [draw(st.integers(0, 500)) for _ in range(blocks)]
    lives = [draw(st.lists(st.integers(0, steps - 1), min_size=1, max_size=3, unique=True)) for _ in range(blocks)]
    return needs, sizes, lives


@given(plans())
def test_blocks_that_live_at_once_are_apart(plan):
    needs, sizes, lives = plan
    done = before(needs)
    offsets, total = overlay(sizes, lives, done)
    for i, (start, size) in enumerate(zip(offsets, sizes, strict=True)):
        assert start % 64 == 0
        assert start + size <= total
        for j in range(i):
            apart = start + size <= offsets[j] or offsets[j] + sizes[j] <= start
            assert apart or disjoint(lives[i], lives[j], done) or not size or not sizes[j]


def test_a_chain_needs_two_blocks_and_parallel_branches_one_each():
    chain = before([[], [0], [1], [2], [3]])
    _, total = overlay([64] * 4, [[0, 1], [1, 2], [2, 3], [3, 4]], chain)
    assert total == 128
    branches = before([[], [], [], []])
    _, total = overlay([64] * 4, [[0], [1], [2], [3]], branches)
    assert total == 256


def test_disjoint_means_ordered_not_merely_listed_apart():
    done = before([[], [], [0], [1]])
    assert disjoint([0], [2], done)
    assert not disjoint([0], [1], done)
    assert not disjoint([0], [3], done)
