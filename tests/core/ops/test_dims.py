"""Arithmetic with dimensions that have names."""

from __future__ import annotations

import pytest
from heddle.core.ops.dims import bound, difference, product, quotient, total
from hypothesis import given
from hypothesis import strategies as st

SIZES = {"M": 3, "N": 5, "past": 7}


def size(dim):
    """What a dimension is, for the sizes above."""
    return dim if isinstance(dim, int) else eval(dim, {}, SIZES)


@st.composite
def dims(draw):
    """Sums of products, in the one spelling that the functions give them."""
    atoms = st.sampled_from((1, 2, 4, "M", "N", "past"))
    return total([product(draw(st.lists(atoms, min_size=1, max_size=3))) for _ in range(draw(st.integers(1, 3)))])


@given(a=dims(), b=dims())
def test_what_is_known_is_right(a, b):
    for found, want in (
        (total([a, b]), size(a) + size(b)),
        (product([a, b]), size(a) * size(b)),
        (difference(a, b), size(a) - size(b)),
        (quotient([a], [b]), size(a) / size(b)),
    ):
        assert found == "?" or size(found) == want
        assert bound(found, SIZES) == (want if found != "?" else "?")


@given(a=dims(), b=dims())
def test_the_laws_of_arithmetic(a, b):
    assert total([a, b]) == total([b, a])
    assert product([a, b]) == product([b, a])
    assert "?" in (total([a, b]), difference(total([a, b]), b)) or difference(total([a, b]), b) == a


@pytest.mark.parametrize(
    ("found", "want"),
    [
        (total(["past", 1]), "past+1"),
        (total(["past", "N", 0]), "N+past"),
        (total(["N", "N", "?"]), "?"),
        (difference("past+1", "past"), 1),
        (difference("N", 1), "?"),
        (difference(2, 5), -3),
        (product(["N", 4, "M"]), "4*M*N"),
        (product(["past+1", 2]), "2*past+2"),
        (product(["?", 0]), 0),
        (quotient(["4*N+8"], [4]), "N+2"),
        (quotient(["N", "M"], ["N"]), "M"),
        (quotient(["N"], [2]), "?"),
        (quotient(["N+1"], ["N+1"]), 1),
        (total(["past + 1", 1]), "past + 1+1"),
        (bound("N+past", {"N": 2}), "?"),
        (bound("M", {"N": 2}), "M"),
    ],
)
def test_spelling(found, want):
    assert found == want
