"""Views of values: each element is where the same operation of numpy finds it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from heddle.backends.vta.views import View, cut, dense, is_dense, reshaped, transposed
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.backends.vta.memory import positions
from tests.backends.vta.test_layers import campaign


def numbers(view: View) -> NDArray[Any]:
    """The place of each element in memory, as one number."""
    vectors, lanes = positions(view)
    return np.asarray(vectors * view.lanes + lanes)


@st.composite
def values(draw: st.DrawFn) -> View:
    """A value of up to four dimensions that lies densely."""
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 4, 8]), min_size=2, max_size=4))
    return dense("m", sizes, draw(st.integers(0, len(sizes) - 1)), 4)


@campaign(200)
@given(view=values())
def test_elements_of_a_dense_value_share_no_place(view: View) -> None:
    found = numbers(view)
    assert np.unique(found).size == found.size == math.prod(view.sizes)
    assert found.max() < math.prod(view.sizes) // view.sizes[view.channel] * view.blocks * view.lanes
    assert is_dense(view)


@campaign(200)
@given(view=values(), data=st.data())
def test_transposed(view: View, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(view.sizes))))
    np.testing.assert_array_equal(numbers(transposed(view, order)), numbers(view).transpose(order))


@campaign(200)
@given(view=values(), data=st.data())
def test_cut(view: View, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(view.sizes) - 1))
    start = data.draw(st.integers(0, view.sizes[axis] - 1))
    step = data.draw(st.integers(1, 3))
    count = data.draw(st.integers(1, (view.sizes[axis] - start - 1) // step + 1))
    found = cut(view, axis, start, count, step)
    if found is None:
        assert axis == view.channel
        assert start % view.lanes or step > 1
        return
    index = [slice(None)] * len(view.sizes)
    index[axis] = slice(start, start + (count - 1) * step + 1, step)
    np.testing.assert_array_equal(numbers(found), numbers(view)[tuple(index)])


@st.composite
def shapes_of(draw: st.DrawFn, elements: int) -> list[int]:
    sizes = []
    while elements > 1:
        size = draw(st.sampled_from([s for s in range(1, elements + 1) if elements % s == 0]))
        sizes.append(size)
        elements //= size
    return sizes or [1]


@campaign(500)
@given(view=values(), data=st.data())
def test_reshaped(view: View, data: st.DataObject) -> None:
    turned = transposed(view, data.draw(st.permutations(range(len(view.sizes)))))
    sizes = data.draw(shapes_of(math.prod(view.sizes)))
    found = reshaped(turned, sizes)
    if found is not None:
        np.testing.assert_array_equal(numbers(found), numbers(turned).reshape(sizes))


def test_what_is_free() -> None:
    image = dense("m", (1, 192, 14, 14), 1, 16)
    tokens = reshaped(image, (1, 192, 196))
    assert tokens is not None
    rows = transposed(tokens, (0, 2, 1))
    assert is_dense(rows)
    heads = reshaped(rows, (1, 196, 3, 64))
    assert heads is not None
    turned = transposed(heads, (0, 2, 1, 3))
    assert (turned.sizes, turned.channel, turned.pitches[1]) == ((1, 3, 196, 64), 3, 4 * 196)
    assert is_dense(turned)
    back = reshaped(transposed(turned, (0, 2, 1, 3)), (1, 196, 192))
    assert back is not None
    assert is_dense(back)
    assert reshaped(image, (1, 192 * 196)) is None
    flat = reshaped(dense("m", (5, 40, 1, 1), 1, 16), (5, 40))
    assert flat is not None
    assert (flat.channel, flat.pitches) == (1, (3, 1))
