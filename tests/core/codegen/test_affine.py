"""Index arithmetic: what is simplified has the value of what was written."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from heddle.core.codegen.affine import Affine, Axis, axis, flatten, only_axis, unflatten
from hypothesis import given, settings
from hypothesis import strategies as st

EXTENTS = (4, 6, 5)
Numbers = dict[Axis, int]
Meaning = Callable[[Numbers], int]


def value(index: Affine, numbers: Numbers) -> int:
    """The number that an index stands for."""
    total = index.constant
    for atom, factor in index.terms:
        if isinstance(atom, Axis):
            total += factor * numbers[atom]
        else:
            inner = value(atom.inner, numbers)
            total += factor * (inner // atom.divisor if type(atom).__name__ == "Quotient" else inner % atom.divisor)
    return total


@st.composite
def indices(draw: st.DrawFn) -> tuple[Affine, Meaning, tuple[Affine, ...]]:
    """An index, what it means, and the axes in it."""
    axes = tuple(axis(extent, f"i{number}") for number, extent in enumerate(EXTENTS))

    def grow(depth: int) -> tuple[Affine, Meaning]:
        kind = draw(st.sampled_from(("axis", "add", "scale", "shift", "div", "mod", "both"))) if depth else "axis"
        if kind == "axis":
            chosen = draw(st.sampled_from(axes))
            own = only_axis(chosen)
            return chosen, lambda n: n[own]
        left, means = grow(depth - 1)
        number = draw(st.integers(1, 12))
        if kind == "add":
            right, other = grow(depth - 1)
            return left + right, lambda n: means(n) + other(n)
        if kind == "both":
            first, second = draw(st.integers(1, 6)), draw(st.integers(1, 2))
            joined = left // number * first + left % number * second
            return joined, lambda n: means(n) // number * first + means(n) % number * second
        if kind == "scale":
            factor = draw(st.integers(-6, 12))
            return left * factor, lambda n: means(n) * factor
        if kind == "shift":
            return left + (number - 6), lambda n: means(n) + number - 6
        if kind == "div":
            return left // number, lambda n: means(n) // number
        return left % number, lambda n: means(n) % number

    index, meaning = grow(draw(st.integers(1, 5)))
    return index, meaning, axes


@settings(max_examples=300)
@given(indices())
def test_simplified_indices_keep_their_value_and_their_bounds(case: tuple[Affine, Meaning, tuple[Affine, ...]]) -> None:
    index, meaning, axes = case
    for point in itertools.product(*(range(extent) for extent in EXTENTS)):
        numbers = dict(zip(map(only_axis, axes), point, strict=True))
        found = value(index, numbers)
        assert found == meaning(numbers)
        assert index.low <= found <= index.high


def test_reshapes_leave_no_divisions() -> None:
    i, j = axis(6, "i"), axis(20, "j")
    assert [str(k) for k in unflatten(i * 20 + j, (6, 20))] == ["i", "j"]
    assert str(flatten(unflatten(i * 20 + j, (3, 8, 5)), (3, 8, 5))) == "20*i + j"
    assert str((i * 20 + j) // 4 * 4 + (i * 20 + j) % 4) == "20*i + j"
    assert [str(k) for k in unflatten(i * 20 + j, (2, 3, 4, 5))] == ["(i) // 3", "(i) % 3", "(j) // 5", "(j) % 5"]
