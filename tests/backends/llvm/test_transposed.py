"""Transposed convolutions, done as convolutions whose results are put between each other."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

CASES = [
    # input, weights (channels, filters of a group, kernel), strides, more
    ((1, 5, 6, 7), (5, 4, 4, 4), (2, 2), {"pads": (1, 1, 1, 1)}),
    ((2, 3, 4, 5), (3, 9, 2, 2), (2, 2), {}),
    ((1, 8, 5, 5), (8, 2, 3, 3), (2, 2), {"pads": (1, 1, 1, 1), "output_padding": (1, 1)}),
    ((1, 4, 5, 3), (4, 3, 3, 5), (1, 1), {"pads": (0, 2, 1, 1)}),
    ((1, 6, 4, 3), (6, 5, 2, 3), (3, 2), {"group": 2, "output_padding": (2, 0)}),
    ((2, 4, 3, 6), (4, 1, 5, 4), (3, 2), {"group": 4, "pads": (2, 0, 1, 3)}),
    ((1, 2, 7, 1), (2, 3, 1, 4), (2, 3), {"auto_pad": "SAME_UPPER"}),
    ((1, 2, 7, 4), (2, 3, 4, 3), (2, 1), {"auto_pad": "SAME_LOWER"}),
    ((1, 3, 4, 4), (3, 2, 3, 3), (2, 2), {"output_shape": (8, 9)}),
]


@pytest.mark.parametrize(("shape", "weights", "strides", "more"), CASES, ids=str)
@pytest.mark.parametrize("biased", [False, True])
def test_each_phase_is_a_convolution(net, host, shape, weights, strides, more, biased):
    filters = weights[1] * more.get("group", 1)
    operands = [net.input(*shape), net.weights(*weights), *([net.weights(filters)] if biased else [])]
    y = net("Relu", net("ConvTranspose", *operands, strides=strides, **more))
    host.check(net, y)
    # Nothing but what each phase is put to, and what follows, is left to loops.
    assert len(host.loops(net.graph(y))) <= prod(strides) + 1


@pytest.mark.parametrize("more", [{"dilations": (2, 1)}, {"pads": (3, 3, 0, 0)}])
def test_others_are_left_to_loops(net, host, more):
    y = net("ConvTranspose", net.input(1, 3, 6, 6), net.weights(3, 4, 2, 2), strides=(2, 2), **more)
    host.check(net, y)


def test_weights_that_are_computed(net, host):
    y = net("ConvTranspose", net.input(1, 3, 6, 6), net.input(3, 4, 2, 2), strides=(2, 2))
    host.check(net, y)


def test_what_comes_before_is_not_laid_out_twice(net, host):
    x = net("Relu", net.conv(net.input(1, 3, 8, 8), 16, 3))
    y = net("ConvTranspose", x, net.weights(16, 12, 2, 2), net.const(np.ones(12, np.float32)), strides=(2, 2))
    z = net.conv(net("Relu", y), 8, 3)
    host.check(net, z)
