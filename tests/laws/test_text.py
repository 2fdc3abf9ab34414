"""Printing and parsing are inverse, over graphs of all types, odd names, bodies and attributes."""

from __future__ import annotations

import math

import numpy as np
from heddle.core.dtypes import dtype_named
from heddle.core.ir import Graph, Node, OptionalType, SequenceType, TensorType, Value, parse
from hypothesis import given, settings
from hypothesis import strategies as st

DTYPES = ("float16", "float32", "float64", "bfloat16", "float8e4m3fn", "float8e5m2", "float4e2m1", "int4", "uint4")
DTYPES += ("int8", "int16", "int32", "int64", "uint8", "uint64", "bool", "complex64", "string", "int2", "float8e8m0")

texts = st.text(max_size=6) | st.sampled_from(
    ["", "_", "inf", "nan", "graph", "const", "a b", '"', "\\", "%", "#", "?x"]
)
dims = st.integers(0, 1 << 40) | st.just("?") | texts.filter(lambda text: text != "?")
dtypes = st.sampled_from(DTYPES).map(dtype_named)
tensors = st.builds(TensorType, dtypes, st.none() | st.lists(dims, max_size=4).map(tuple))
types = st.recursive(
    tensors, lambda inner: st.builds(SequenceType, inner) | st.builds(OptionalType, inner), max_leaves=3
)
floats = st.floats(allow_nan=False) | st.just(math.nan)
scalars = st.booleans() | st.integers() | floats | texts | types
attributes = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


@st.composite
def graphs(draw: st.DrawFn, depth: int = 1, taken: frozenset[str] = frozenset()) -> Graph:
    """A graph of any operators; the names of constants are unique in it and in its bodies."""
    names = draw(st.lists(texts.filter(lambda name: name not in taken), min_size=3, max_size=8, unique=True))
    values = [Value(name, draw(types)) for name in names]
    split = sorted(draw(st.tuples(st.integers(0, len(values)), st.integers(0, len(values)))))
    inputs, held, made = values[: split[0]], values[split[0] : split[1]], values[split[1] :]
    constants = {}
    for value in held:
        shape = tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
        dtype = draw(dtypes)
        array = np.full(shape, "text", object) if dtype.kind == "O" else np.zeros(shape, dtype)
        constants[Value(value.name, TensorType(dtype, shape))] = array
    bound = [*inputs, *constants]
    nodes = []
    for value in made:
        operands = draw(st.lists(st.none() | st.sampled_from(bound), max_size=3)) if bound else []
        attrs = draw(st.dictionaries(texts, attributes, max_size=3))
        if depth and draw(st.booleans()):
            attrs["body"] = draw(graphs(depth - 1, taken | {value.name for value in constants}))
        outputs = draw(st.sampled_from([(value,), (None, value), (value, None)]))
        nodes.append(Node(draw(texts), tuple(operands), outputs, attrs, draw(texts)))
        bound.append(value)
    outputs = draw(st.lists(st.sampled_from(bound), max_size=3)) if bound else []
    return Graph(tuple(inputs), tuple(nodes), tuple(outputs), constants, draw(texts))


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_what_prints_reads_back(graph: Graph) -> None:
    constants = {value.name: array for inner in graph.walk() for value, array in inner.constants.items()}
    if len(constants) < sum(len(inner.constants) for inner in graph.walk()):
        return  # two bodies beside each other drew one name for their constants
    again = parse(str(graph), constants)
    assert again == graph
    assert str(again) == str(graph)
