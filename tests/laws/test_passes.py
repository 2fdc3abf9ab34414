"""Every pass preserves what a graph computes, and what it leaves obeys the rules of form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from heddle.core.errors import GraphError
from heddle.core.frontend.builder import Builder, Call
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph, Names, Pass, Value, tensor, verify
from heddle.core.ops.inference import Inference
from heddle.core.passes import (
    CommonSubexpressions,
    ExpandComposites,
    FoldConstants,
    dead_code,
    fold_scales,
    identities,
    infer_shapes,
    optimize,
    sink_constants,
)
from hypothesis import given, settings
from hypothesis import strategies as st

PASSES: dict[str, Pass] = {
    "dead_code": dead_code,
    "sink_constants": sink_constants,
    "infer_shapes": infer_shapes,
    "fold_constants": FoldConstants(),
    "fold_nothing_that_grows": FoldConstants(growth=0),
    "identities": identities,
    "fold_scales": fold_scales,
    "common_subexpressions": CommonSubexpressions(),
    "expand_composites": ExpandComposites(),
}

Move = Callable[[st.DrawFn, Builder, list[Value]], Call | None]


def _pick(draw: st.DrawFn, values: list[Value]) -> Value:
    return draw(st.sampled_from(values))


def _vector(draw: st.DrawFn, builder: Builder, size: int) -> Value:
    numbers = draw(st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0]), min_size=size, max_size=size))
    return builder.constant(np.array(numbers, np.float32), "c")


def _ints(builder: Builder, *numbers: int) -> Value:
    return builder.constant(np.array(numbers, np.int64), "i")


def _unary(draw: st.DrawFn, builder: Builder, values: list[Value]) -> Call:
    return Call(draw(st.sampled_from(["Neg", "Relu", "Abs", "Identity", "Sigmoid", "Dropout"])), (_pick(draw, values),))


def _binary(draw: st.DrawFn, builder: Builder, values: list[Value]) -> Call:
    left = _pick(draw, values)
    other = draw(st.integers(0, 3))
    if other == 0:
        right = _pick(draw, values)
    elif other == 1:
        right = builder.constant(np.float32(draw(st.sampled_from([0, 1, 2]))), "k")
    else:
        right = _vector(draw, builder, int(left.shape[-1]) if left.shape else 1)
    operator = draw(st.sampled_from(["Add", "Sub", "Mul"]))
    return Call(operator, (left, right) if draw(st.booleans()) else (right, left))


def _transpose(draw: st.DrawFn, builder: Builder, values: list[Value]) -> Call:
    x = _pick(draw, values)
    return Call("Transpose", (x,), {"perm": tuple(draw(st.permutations(range(len(x.shape)))))})


def _reshape(draw: st.DrawFn, builder: Builder, values: list[Value]) -> Call:
    x = _pick(draw, values)
    shape = draw(st.sampled_from([x.shape, (-1,), (1, *x.shape), tuple(reversed(x.shape)), (0, -1)]))
    return Call("Reshape", (x, _ints(builder, *(shape if x.shape else (-1,)))))


def _cast(draw: st.DrawFn, builder: Builder, values: list[Value]) -> Call:
    wide = builder.apply("Cast", _pick(draw, values), stem="wide", to=draw(st.sampled_from(["float32", "float64"])))
    return Call("Cast", (wide,), {"to": "float32"})


def _affine(draw: st.DrawFn, builder: Builder, values: list[Value]) -> Call | None:
    """A product or convolution with constant weights; what follows it may be folded into it."""
    x = _pick(draw, values)
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    if len(x.shape) == 2 and 0 not in x.shape:
        weight = builder.constant(rng.standard_normal((x.shape[1], 3)).astype(np.float32), "w")
        return Call(draw(st.sampled_from(["MatMul", "Gemm"])), (x, weight))
    if len(x.shape) == 4 and 0 not in x.shape:
        weight = builder.constant(rng.standard_normal((3, x.shape[1], 1, 1)).astype(np.float32), "w")
        y = builder.apply("Conv", x, weight, stem="conv")
        parts = [builder.constant(rng.uniform(0.5, 2, 3).astype(np.float32), "n") for _ in range(4)]
        return Call("BatchNormalization", (y, *parts))
    return None


def _composite(draw: st.DrawFn, builder: Builder, values: list[Value]) -> Call | None:
    x = _pick(draw, values)
    return Call(draw(st.sampled_from(["Softmax", "Gelu", "HardSwish"])), (x,)) if x.shape else None


def _shape(draw: st.DrawFn, builder: Builder, values: list[Value]) -> Call:
    x = _pick(draw, values)
    return Call(
        "Reshape", (x, builder.apply("Shape", _pick(draw, [v for v in values if v.shape == x.shape]), stem="s"))
    )


def _slice(draw: st.DrawFn, builder: Builder, values: list[Value]) -> Call | None:
    x = _pick(draw, values)
    if not x.shape:
        return None
    start, end = draw(st.sampled_from([(0, 1 << 40), (0, 1), (-1, 1 << 40)]))
    return Call("Slice", (x, _ints(builder, start), _ints(builder, end), _ints(builder, 0)))


MOVES: tuple[Move, ...] = (_unary, _binary, _transpose, _reshape, _cast, _affine, _composite, _shape, _slice)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A graph of float tensors, typed by the operators' own rules; moves that the rules refuse are not taken."""
    builder = Builder(Names(), Inference())
    shape = draw(st.sampled_from([(2, 3), (3, 3), (1, 3, 2, 2), (4,), ()]))
    values = [builder.names.fresh("x", tensor("float32", *shape)), builder.names.fresh("z", tensor("float32", *shape))]
    inputs = tuple(values)
    for _ in range(draw(st.integers(1, 8))):
        try:
            call = draw(st.sampled_from(MOVES))(draw, builder, values)
            if call is None:
                continue
            (value,) = builder.emit(call, ["v"])
        except GraphError:
            continue
        if value is not None and value.tensor.shape is not None and (value.tensor.size or 0) < 500:
            values.append(value)
    outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))
    return builder.graph(inputs, outputs, "drawn")


def agree(before: Graph, after: Graph) -> None:
    verify(after)
    assert [value.name for value in after.inputs] == [value.name for value in before.inputs]
    assert [value.name for value in after.outputs] == [value.name for value in before.outputs]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(value.shape).astype(np.float32) for value in before.inputs]
    for value, want, got in zip(after.outputs, evaluate(before, arrays), evaluate(after, arrays), strict=True):
        assert got.dtype == want.dtype == value.dtype
        assert got.shape == want.shape == value.shape
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("step", PASSES.values(), ids=PASSES)
@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_a_pass_preserves_what_is_computed(step: Pass, graph: Graph) -> None:
    agree(graph, step(graph))


@settings(max_examples=100, deadline=None)
@given(graph=graphs())
def test_the_pipeline_preserves_what_is_computed(graph: Graph) -> None:
    once = optimize(graph)
    agree(graph, once)
    agree(graph, optimize(once))
