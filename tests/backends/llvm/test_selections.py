"""The first elements in order, against a stable sort of numpy."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.ir import Graph, Node, Value, tensor, verify

SHAPES = [
    ((3, 7), 1, 3),
    ((2, 100), 1, 1),
    ((4, 70, 3), 1, 24),
    ((2, 65, 2), 1, 25),
    ((300, 2), 0, 300),
    ((1, 5000), 1, 9),
]


def top_k(shape, dtype: str, axis: int, count: int, largest: bool) -> Graph:
    x, k = Value("x", tensor(dtype, *shape)), Value("k", tensor("int64", 1))
    cut = tuple(count if i == axis else n for i, n in enumerate(shape))
    outputs = (Value("values", tensor(dtype, *cut)), Value("places", tensor("int64", *cut)))
    node = Node("TopK", (x, k), outputs, {"axis": axis, "largest": int(largest)})
    return verify(Graph((x,), (node,), outputs, {k: np.array([count])}))


def expected(x, axis: int, count: int, largest: bool):
    """NaN is the largest, and equal elements come in order."""
    wide = x.astype(np.float64)
    wide = np.where(np.isinf(wide), np.sign(wide) * 1e300, np.where(np.isnan(wide), np.inf, wide))
    places = np.argsort(-wide if largest else wide, axis=axis, kind="stable").take(range(count), axis=axis)
    return np.take_along_axis(x, places, axis), places


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize(("shape", "axis", "count"), SHAPES, ids=str)
def test_top_k(host, shape, axis, count, dtype, largest):
    rng = np.random.default_rng(count)
    x = rng.standard_normal(shape).astype(np.float32)
    x[rng.random(shape) < 0.2] = 0.5  # many equal ones
    special = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38]
    x.reshape(-1)[rng.choice(x.size, 8, replace=False)] = special
    if dtype == "int32":
        x = np.nan_to_num(x.clip(-9e8, 9e8) * 2, nan=7).clip(-(2**31), 2**31 - 128).astype(np.int32)
    graph = top_k(shape, dtype, axis, count, largest)
    for got, want in zip(host.run(graph, [x]), expected(x, axis, count, largest), strict=True):
        np.testing.assert_array_equal(got, want)


def test_the_places_are_found_by_a_kernel(host):
    assert len(host.loops(top_k((2, 65), "float32", 1, 30, True))) == 1, "only the values are gathered by a loop"
