"""Every pass preserves what a graph computes, and what it leaves obeys the rules of form."""

from __future__ import annotations

import random
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

Move = Callable[[random.Random, Builder, list[Value]], Call | None]


def _pick(rng: random.Random, values: list[Value]) -> Value:
    return rng.choice(values[-4:] if rng.random() < 0.7 else values)


def _vector(rng: random.Random, builder: Builder, size: int) -> Value:
    numbers = [rng.choice([0.0, 1.0])] * size if rng.random() < 0.5 else rng.choices([0.0, 1.0, 0.5, 2.0], k=size)
    return builder.constant(np.array(numbers, np.float32), "c")


def _ints(builder: Builder, *numbers: int) -> Value:
    return builder.constant(np.array(numbers, np.int64), "i")


def _unary(rng: random.Random, builder: Builder, values: list[Value]) -> Call:
    return Call(rng.choice(["Neg", "Relu", "Abs", "Identity", "Sigmoid", "Dropout"]), (_pick(rng, values),))


def _binary(rng: random.Random, builder: Builder, values: list[Value]) -> Call:
    left = _pick(rng, values)
    other = rng.randrange(4)
    if other == 0:
        right = _pick(rng, values)
    elif other == 1:
        right = builder.constant(np.float32(rng.choice([0, 1, 2])), "k")
    else:
        right = _vector(rng, builder, int(left.shape[-1]) if left.shape else 1)
    operator = rng.choice(["Add", "Sub", "Mul"])
    return Call(operator, (left, right) if rng.random() < 0.5 else (right, left))


def _transpose(rng: random.Random, builder: Builder, values: list[Value]) -> Call:
    x = _pick(rng, values)
    return Call("Transpose", (x,), {"perm": tuple(rng.sample(range(len(x.shape)), len(x.shape)))})


def _reshape(rng: random.Random, builder: Builder, values: list[Value]) -> Call:
    x = _pick(rng, values)
    shape = rng.choice([x.shape, (-1,), (1, *x.shape), tuple(reversed(x.shape)), (0, -1)])
    return Call("Reshape", (x, _ints(builder, *(shape if x.shape else (-1,)))))


def _cast(rng: random.Random, builder: Builder, values: list[Value]) -> Call:
    wide = builder.apply("Cast", _pick(rng, values), stem="wide", to=rng.choice(["float32", "float64"]))
    return Call("Cast", (wide,), {"to": "float32"})


def _affine(rng: random.Random, builder: Builder, values: list[Value]) -> Call | None:
    """A product or convolution with constant weights; what follows it may be folded into it."""
    x = _pick(rng, values)
    draw = np.random.default_rng(rng.randrange(10))
    if len(x.shape) == 2 and 0 not in x.shape:
        weight = builder.constant(draw.standard_normal((x.shape[1], 3)).astype(np.float32), "w")
        return Call(rng.choice(["MatMul", "Gemm"]), (x, weight))
    if len(x.shape) == 4 and 0 not in x.shape:
        weight = builder.constant(draw.standard_normal((3, x.shape[1], 1, 1)).astype(np.float32), "w")
        y = builder.apply("Conv", x, weight, stem="conv")
        parts = [builder.constant(draw.uniform(0.5, 2, 3).astype(np.float32), "n") for _ in range(4)]
        return Call("BatchNormalization", (y, *parts))
    return None


def _composite(rng: random.Random, builder: Builder, values: list[Value]) -> Call | None:
    x = _pick(rng, values)
    return Call(rng.choice(["Softmax", "Gelu", "HardSwish"]), (x,)) if x.shape else None


def _shape(rng: random.Random, builder: Builder, values: list[Value]) -> Call:
    x = _pick(rng, values)
    return Call("Reshape", (x, builder.apply("Shape", _pick(rng, [v for v in values if v.shape == x.shape]), stem="s")))


def _slice(rng: random.Random, builder: Builder, values: list[Value]) -> Call | None:
    x = _pick(rng, values)
    if not x.shape:
        return None
    start, end = rng.choice([(0, 1 << 40), (0, 1), (-1, 1 << 40)])
    return Call("Slice", (x, _ints(builder, start), _ints(builder, end), _ints(builder, 0)))


MOVES: tuple[Move, ...] = (
    *(_binary, _binary, _binary, _affine, _affine, _transpose, _transpose),
    *(_unary, _reshape, _cast, _composite, _shape, _slice),
)


def random_graph(seed: int) -> Graph:
    """A graph of float tensors, typed by the operators' own rules; moves that the rules refuse are not taken."""
    rng = random.Random(seed)
    builder = Builder(Names(), Inference())
    shape = rng.choice([(2, 3), (3, 3), (1, 3, 2, 2), (2, 3, 1, 2), (4,), ()])
    values = [builder.names.fresh(name, tensor("float32", *shape)) for name in ("x", "z")]
    inputs = tuple(values)
    for _ in range(rng.randint(1, 14)):
        try:
            call = rng.choice(MOVES)(rng, builder, values)
            results = () if call is None else builder.emit(call, ["v"])
        except GraphError:
            continue
        values += [value for value in results if value is not None and 0 <= (value.tensor.size or 0) < 500]
    count = rng.randint(1, min(3, len(values)))
    return builder.graph(inputs, [*rng.sample(values[:-1], count - 1), values[-1]], "drawn")


graphs = st.builds(random_graph, st.integers(0, 1 << 32))


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
@given(graph=graphs)
def test_a_pass_preserves_what_is_computed(step: Pass, graph: Graph) -> None:
    agree(graph, step(graph))


@settings(max_examples=100, deadline=None)
@given(graph=graphs)
def test_the_pipeline_preserves_what_is_computed(graph: Graph) -> None:
    once = optimize(graph)
    agree(graph, once)
    agree(graph, optimize(once))
