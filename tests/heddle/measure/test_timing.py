"""What is measured side by side: turns, and the bounds of a ratio."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binomtest

from heddle.measure.timing import CONFIDENCE, SAME, Ratio, interleaved, paired, ratio_of


def test_each_runtime_has_its_turn_in_each_round():
    order: list[str] = []
    interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, 0.0)
    assert order == ["a", "a", "b", "b", "a", "b", "a", "b"]


def test_those_that_are_paired_come_first_by_turns():
    order: list[str] = []
    paired(lambda: order.append("a"), lambda: order.append("b"), 3, 0.0)
    assert order[:3] == ["b", "b", "a"]
    assert order[3:] == ["b", "a", "a", "b", "b", "a"]


def test_what_takes_half_as_long_gains():
    found = paired(lambda: sum(range(20_000)), lambda: sum(range(40_000)), 15, 0.002)
    assert found.gains
    assert 0.3 < found.median < 0.8
    assert not SAME.gains


def test_bounds_are_those_of_the_sign_test():
    for n in (8, 15, 25, 41, 100):
        values = np.random.default_rng(n).normal(1, 0.1, n)
        found, ranked = ratio_of(values), sorted(values)
        out = ranked.index(found.low)
        assert found.high == ranked[n - 1 - out]
        assert found.median == np.median(values)
        assert binomtest(out, n).pvalue <= 1 - CONFIDENCE < binomtest(out + 1, n).pvalue
    assert ratio_of([0.9] * 7) == Ratio(0.9, -math.inf, math.inf)


def test_nothing_is_established_of_what_is_the_same():
    """Of noise alone, a gain is found as seldom as the confidence says."""
    rng = np.random.default_rng(0)
    found = sum(ratio_of(rng.lognormal(0, 0.1, 41)).gains for _ in range(4000))
    assert found <= 4000 * (1 - CONFIDENCE) / 2 * 1.5
