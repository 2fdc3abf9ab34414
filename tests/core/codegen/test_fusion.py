"""Fusion keeps what graphs mean, and leaves few kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from heddle.core.codegen.region import program
from heddle.core.codegen.target import avx2
from heddle.core.ir import Graph, Names, Node, TensorType, Value, parse, verify
from heddle.core.ops import infer_node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

F32 = np.dtype(np.float32)


def kernels(text: str) -> int:
    """How many kernels a graph needs."""
    return len(program(parse(text, {}), avx2()).calls)


def test_a_chain_of_elementwise_operators_is_one_kernel() -> None:
    assert (
        kernels("""graph (%a: float32[8,9], %b: float32[9]) -> (%y) {
          %s: float32[8,9] = Add(%a, %b)
          %t: float32[8,9] = Tanh(%s)
          %u: float32[9,8] = Transpose(%t)
          %v: float32[9,8] = Flatten(%u)
          %y: float32[9,8] = Neg(%v)
        }""")
        == 1
    )


def test_an_epilogue_joins_its_product() -> None:
    assert (
        kernels("""graph (%a: float32[8,9], %b: float32[9,4], %c: float32[4], %r: float32[8,4]) -> (%y) {
          %m: float32[8,4] = MatMul(%a, %b)
          %s: float32[8,4] = Add(%m, %c)
          %t: float32[8,4] = Add(%s, %r)
          %y: float32[8,4] = Relu(%t)
        }""")
        == 1
    )


def test_what_two_products_read_is_computed_once() -> None:
    assert (
        kernels("""graph (%a: float32[8,9], %b: float32[9,4], %c: float32[9,4]) -> (%y, %z) {
          %e: float32[8,9] = Exp(%a)
          %y: float32[8,4] = MatMul(%e, %b)
          %z: float32[8,4] = MatMul(%e, %c)
        }""")
        == 3
    )


UNARY = ("Relu", "Neg", "Exp", "Tanh", "Abs", "Identity", "Sigmoid")
BINARY = ("Add", "Mul", "Sub", "Max")
OTHER = ("Transpose", "Flatten", "ReduceSum", "Concat", "Slice", "Softmax", "MatMul", "Pad", "Squeeze")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Graphs of matrices, some values read several times, some of them outputs."""
    names = Names()
    rows, columns = draw(st.sampled_from([(1, 5), (4, 20), (3, 7), (6, 33)]))
    inputs = tuple(names.fresh(f"x{i}", TensorType(F32, (rows, columns))) for i in range(2))
    values, nodes, constants = list(inputs), [], {}

    def constant(array: np.ndarray) -> Value:
        value = names.fresh("c", TensorType(array.dtype, array.shape))
        constants[value] = array
        return value

    def apply(op: str, *operands: Value, **attrs: object) -> None:
        blank = Value("_", TensorType(F32, ()))
        (type,) = infer_node(Node(op, operands, (blank,), attrs), constants)
        output = names.fresh(f"v{len(values)}", type)
        nodes.append(Node(op, operands, (output,), attrs))
        values.append(output)

    for _ in range(draw(st.integers(2, 9))):
        x = draw(st.sampled_from(values[-4:]))
        kind = draw(st.sampled_from((*UNARY, *BINARY, *BINARY, *OTHER)))
        if kind in UNARY:
            apply(kind, x)
        elif kind in BINARY:
            same = [v for v in values if v.shape == x.shape or v.shape == (x.shape[0], 1)]
            apply(kind, x, draw(st.sampled_from(same)))
        elif kind == "Transpose":
            apply(kind, x, perm=(1, 0))
        elif kind == "Flatten":
            apply(kind, x, axis=draw(st.integers(0, 2)))
        elif kind == "ReduceSum":
            apply(kind, x, constant(np.array([draw(st.integers(0, 1))])))
        elif kind == "Concat":
            apply(kind, x, x, axis=draw(st.integers(0, 1)))
        elif kind == "Slice" and x.shape[1] > 2:
            apply(kind, x, constant(np.array([1])), constant(np.array([-1])), constant(np.array([1])))
        elif kind == "Softmax":
            apply(kind, x, axis=draw(st.integers(0, 1)))
        elif kind == "MatMul" and x.tensor.size and x.tensor.size < 1000:
            apply("Transpose", x, perm=(1, 0))
            apply(kind, x, values[-1])
        elif kind == "Pad":
            apply(kind, x, constant(np.array([1, 0, 0, 2])))
    outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    return verify(Graph(inputs, tuple(nodes), (*outputs, values[-1]), constants))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs())
def test_compiled_graphs_mean_what_their_nodes_mean(graph: Graph, agrees: Callable[..., None]) -> None:
    rng = np.random.default_rng(1)
    agrees(graph, [(rng.standard_normal(value.shape) / 4).astype(F32) for value in graph.inputs], ulps=200)
