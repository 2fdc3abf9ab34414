"""Slices that move with a loop's counter."""

from __future__ import annotations

import numpy as np
import onnx

import heddle
from tests.oracle import session


def test_a_window_is_compiled_once_wherever_it_lies():
    text = """m (float[9,4] x, int64 n) => (float[k, 4] y)
       <int64[1] axis = {0}, int64[1] two = {2}, bool yes = {1}, float[4] none = {0, 0, 0, 0}> {
         s, y = Loop(n, yes, none)<body = turn (int64 i, bool before, float[4] s) => (bool on, float[4] t, float[4] u) {
           on = Identity(before)
           from = Unsqueeze(i, axis)
           to = Add(from, two)
           window = Slice(x, from, to, axis)
           sum = ReduceSum<keepdims=0>(window, axis)
           t = Add(s, sum)
           u = Neg(t)
         }>
       }"""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]>\n{text}')
    ours, theirs = heddle.compile(model), session(model)
    x = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    for n in (3, 8, 11):  # the last windows are cut off by the end, or lie behind it
        given = {"x": x, "n": np.array(n, np.int64)}
        np.testing.assert_allclose(ours(**given)["y"], theirs.run(None, given)[0], rtol=1e-5, atol=1e-6)
    assert len(ours.schedules) == 4  # the window's two ends; what is done with 2 rows, with 1 and with none
