"""Matrix products, attention and normalization: found among plain computations, and computed by kernels."""

from __future__ import annotations

import numpy as np
import pytest


def dense(net, x, width: int):
    return net("Add", net("MatMul", x, net.weights(x.shape[-1], width)), net.weights(width))


def test_feed_forward(net, host):
    x = net.input(2, 9, 24)
    half, one, root = (net.const(np.float32(v)) for v in (0.5, 1.0, np.sqrt(2)))
    inner = dense(net, x, 40)
    gelu = net("Mul", net("Mul", inner, net("Add", net("Erf", net("Div", inner, root)), one)), half)
    y = net("Add", dense(net, gelu, 24), x)
    y = net("LayerNormalization", y, net.weights(24), net.weights(24), axis=-1)
    host.check(net, y)
    assert host.loops(net.graph(y)) == []


def test_attention(net, host):
    x = net.input(2, 7, 24)

    def heads(value, perm):
        split = net("Reshape", value, net.const(np.array([2, 7, 3, 8])))
        return net("Transpose", split, perm=perm)

    q, v = heads(dense(net, x, 24), (0, 2, 1, 3)), heads(dense(net, x, 24), (0, 2, 1, 3))
    k = heads(dense(net, x, 24), (0, 2, 3, 1))
    scores = net("Div", net("MatMul", q, k), net.const(np.float32(np.sqrt(8))))
    scores = net("Add", scores, net.input(2, 1, 1, 7))
    mixed = net("Transpose", net("MatMul", net("Softmax", scores, axis=-1), v), perm=(0, 2, 1, 3))
    y = dense(net, net("Reshape", mixed, net.const(np.array([2, 7, 24]))), 24)
    host.check(net, y)
    assert host.loops(net.graph(y)) == []


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("right", [0, 1])
@pytest.mark.parametrize("constant", [False, True])
def test_gemm(net, host, left, right, constant):
    a = net.input(*((6, 5) if left else (5, 6)))
    shape = (19, 6) if right else (6, 19)
    b = net.weights(*shape) if constant else net.input(*shape)
    c = net.input(5, 1)
    y = net("Gemm", a, b, c, transA=left, transB=right, alpha=0.5, beta=2.0)
    host.check(net, y)
    assert host.loops(net.graph(y)) == []


SHAPES = [
    ((5,), (5,)),
    ((5,), (5, 7)),
    ((3, 5), (5,)),
    ((2, 1, 3, 5), (4, 5, 7)),
    ((4, 3, 5), (5, 7)),
    ((1, 5), (5, 1)),
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("constant", ["neither", "left", "right"])
def test_matmul_of_any_rank(net, host, shapes, constant):
    a, b = (
        net.weights(*shape) if constant == name else net.input(*shape)
        for shape, name in zip(shapes, ("left", "right"), strict=True)
    )
    host.check(net, net("MatMul", a, b))


def test_sums_of_squares_are_walked_along(net, host):
    """They have the form of a product of one row and one column, which a kernel would fill vectors in vain for."""
    y = net("ReduceSumSquare", net.input(6, 40), net.const(np.array([1])), keepdims=0)
    host.check(net, y)
    assert len(host.loops(net.graph(y))) == 1


@pytest.mark.parametrize(
    "equation", ["bij,bjk->bik", "bhid,bhjd->bhij", "ij,kj->ik", "bij,jk->bik", "ibj,jbk->bik", "ij,ij->i"]
)
def test_einsum(net, host, equation):
    sizes = {"b": 2, "h": 3, "i": 5, "j": 6, "k": 17, "d": 8}
    terms = equation.split("->")[0].split(",")
    host.check(net, net("Einsum", *(net.input(*(sizes[c] for c in term)) for term in terms), equation=equation))


def test_a_product_whose_result_is_read_twice(net, host):
    x = net.input(3, 8)
    y = net("MatMul", x, net.weights(8, 20))
    host.check(net, net("Relu", y), net("Neg", y))


def test_a_tail_that_no_vector_can_do_stays_outside(net, host):
    y = net("MatMul", net.input(3, 8), net.weights(8, 20))
    host.check(net, net("Sin", y))


@pytest.mark.parametrize("width", [1, 5, 40, 300])
def test_rows(net, host, width):
    x = net.input(2, 3, width, scale=3)
    host.check(net, net("Softmax", x, axis=-1), net("LayerNormalization", x, net.weights(width), axis=2))


def test_a_softmax_over_another_axis(net, host):
    host.check(net, net("Softmax", net.input(2, 5, 6), axis=1))


def test_a_product_that_meets_its_own_transpose(net, host):
    y = net("MatMul", net.input(9, 8), net.weights(8, 9))
    host.check(net, net("Add", y, net("Transpose", y, perm=(1, 0))))


def test_a_product_that_is_spread_over_a_larger_result(net, host):
    y = net("MatMul", net.input(1, 8), net.weights(8, 20))
    host.check(net, net("Add", y, net.input(5, 20)))


def test_a_product_in_halves(net, host):
    y = net("MatMul", net.input(6, 8), net.weights(8, 20))
    first, second = (net("Slice", y, *(net.const(np.array([n])) for n in (at, at + 10, 1))) for at in (0, 10))
    host.check(net, net("Mul", net("Sigmoid", first), second))


@pytest.mark.parametrize("shapes", [((0, 5), (5, 7)), ((3, 0), (0, 7)), ((2, 3, 5), (2, 5, 0))], ids=str)
def test_a_product_of_nothing(net, host, shapes):
    host.check(net, net("MatMul", *(net.input(*shape) for shape in shapes)))


@pytest.mark.parametrize("width", [0, 4])
def test_rows_of_nothing(net, host, width):
    host.check(net, net("Softmax", net.input(0, width), axis=-1))
