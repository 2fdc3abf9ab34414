"""Laws of operators: a rule of types never contradicts the meaning, and the meaning is ONNX's."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from heddle.core.dtypes import DType, dtype_named
from heddle.core.errors import HeddleError
from heddle.core.frontend import import_model
from heddle.core.interpret import Body
from heddle.core.ir import Graph, Node, OptionalType, SequenceType, TensorType, Type, Value, dtype_name
from heddle.core.ops import OPERATORS, evaluate_node, infer_node
from heddle.core.passes import bound_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import defs, helper
from onnx.reference import ReferenceEvaluator

from tests.onnx_suite.cases import cases

QUICK = settings(max_examples=12, deadline=None, derandomize=True)

# -- samples: nodes with operands that evaluate ------------------------------------------------------------------

Sample = tuple[Node, tuple[Any, ...]]
PER_OPERATOR = 6

F32 = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4) / 7 - 1
U8 = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4)
SCALE, ZERO = np.asarray(0.05, np.float32), np.asarray(3, np.uint8)
QUANTIZED = (U8, SCALE, ZERO)

FURTHER: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
    ("GlobalLpPool", (F32,), {}),
    ("MaxRoiPool", (F32, np.array([[0, 0, 0, 2, 2]], np.float32)), {"pooled_shape": (2, 2)}),
    ("Multinomial", (F32[0, 0],), {"sample_size": 3}),
    ("RandomNormal", (), {"shape": (2, 3)}),
    ("RandomNormalLike", (F32,), {}),
    ("RandomUniform", (), {"shape": (2, 3)}),
    ("ConcatFromSequence", ([F32, F32],), {"axis": 1}),
    ("Optional", (F32,), {}),
    ("SequenceAt", ([F32, F32], np.asarray(-1)), {}),
    ("SequenceConstruct", (F32, F32[0:0]), {}),
    ("SequenceErase", ([F32, F32], np.asarray(0)), {}),
    ("com.microsoft.DequantizeLinear", QUANTIZED, {}),
    ("com.microsoft.FusedMatMul", (F32, F32), {"transB": 1, "alpha": 0.5}),
    ("com.microsoft.Gelu", (F32,), {}),
    ("com.microsoft.QGemm", (U8[0, 0], SCALE, ZERO, U8[0, 1], SCALE, ZERO, None, SCALE, ZERO), {"transB": 1}),
    ("com.microsoft.QLinearAdd", (*QUANTIZED, *QUANTIZED, SCALE, ZERO), {}),
    ("com.microsoft.QLinearAveragePool", (*QUANTIZED, SCALE, ZERO), {"kernel_shape": (2, 2)}),
    ("com.microsoft.QLinearConcat", (SCALE, ZERO, *QUANTIZED, *QUANTIZED), {"axis": 1}),
    ("com.microsoft.QLinearGlobalAveragePool", (*QUANTIZED, SCALE, ZERO), {}),
    ("com.microsoft.QLinearLeakyRelu", (*QUANTIZED, SCALE, ZERO), {}),
    ("com.microsoft.QLinearMul", (*QUANTIZED, *QUANTIZED, SCALE, ZERO), {}),
    ("com.microsoft.QLinearSigmoid", (*QUANTIZED, SCALE, ZERO), {}),
    ("com.microsoft.QLinearSoftmax", (*QUANTIZED, SCALE, ZERO), {"opset": 13}),
    ("com.microsoft.QLinearWhere", (U8 > 9, *QUANTIZED, *QUANTIZED, SCALE, ZERO), {}),
    ("com.microsoft.QuantizeLinear", (F32, SCALE, ZERO), {}),
    ("heddle.SliceBounded", (F32, np.array([1]), np.array([3])), {"axis": 0, "size": 2}),
)
UNTESTED = ("ImageDecoder",)
"""What cannot be evaluated without a library that is not needed otherwise."""


@cache
def samples() -> dict[str, list[Sample]]:
    """Some nodes of each operator, from ONNX's own cases and from those above."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for op, operands, attrs in FURTHER:
        inputs = [None if x is None else Value(f"x{i}", type_of(x)) for i, x in enumerate(operands)]
        found[op].append((Node(op, tuple(inputs), (Value("y", TensorType(np.dtype("f4"), None)),), attrs), operands))
    for case in cases().values():
        try:
            graph = import_model(case.model)
        except HeddleError:
            continue
        for form in dict.fromkeys((graph, bound_counts(graph))):
            if any(len(found[node.op]) < PER_OPERATOR for inner in form.walk() for node in inner.nodes):
                for node, operands in trace(form, case.data[0][0]):
                    if len(found[node.op]) < PER_OPERATOR:
                        found[node.op].append((node, operands))
    return found


def trace(graph: Graph, inputs: Sequence[Any]) -> Iterator[Sample]:
    """Each node of a graph with its operands."""
    bound: dict[Value, Any] = {**graph.constants, **dict(zip(graph.inputs, inputs, strict=True))}
    for node in graph.nodes:
        operands = tuple(None if value is None else bound[value] for value in node.inputs)
        if node.op in UNTESTED:
            return
        yield node, operands
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = evaluate_node(node, operands, Body)
        bound |= {v: r for v, r in zip(node.outputs, results, strict=False) if v is not None}


def type_of(value: Any) -> Type:
    if isinstance(value, list):
        return SequenceType(type_of(value[0]))
    return TensorType(value.dtype if value.dtype.kind not in "US" else np.dtype(object), value.shape)


# -- types agree with values -------------------------------------------------------------------------------------


def hidden(draw: st.DataObject, type: Type) -> Type:
    """A type of which less is known; a symbol's name tells its size, so that a rule that mixes symbols up is seen."""
    if not isinstance(type, TensorType) or type.dims is None:
        return type
    how = draw.draw(st.sampled_from(("all", "all", "some", "some", "rank", "nothing")))
    if how == "nothing":
        return TensorType(type.dtype, None)
    if how == "rank":
        return TensorType(type.dtype, ("?",) * len(type.dims))
    if how == "all":
        return type
    dims = [draw.draw(st.sampled_from((dim, f"n{dim}", "?"))) for dim in type.dims]
    return TensorType(type.dtype, tuple(dims))


def contradiction(type: Type, value: Any) -> str | None:
    """Why a value is not of a type, or None."""
    if isinstance(type, OptionalType):
        return None if value is None else contradiction(type.element, value)
    if isinstance(type, SequenceType):
        if not isinstance(value, list):
            return f"{type}, but it is no sequence"
        return next(filter(None, (contradiction(type.element, item) for item in value)), None)
    if not isinstance(value, np.ndarray) or dtype_name(value.dtype) != dtype_name(type.dtype):
        return f"{type}, but it is {getattr(value, 'dtype', value)}"
    if type.dims is None:
        return None
    fits = len(type.dims) == value.ndim and all(
        dim in ("?", size) or size_of(str(dim)) == size for dim, size in zip(type.dims, value.shape, strict=True)
    )
    return None if fits else f"{type}, but its shape is {value.shape}"


def size_of(dim: str) -> int:
    """The size of a sum of products of sizes and of symbols that tell theirs: `2*n3+1`."""
    return sum(math.prod(int(factor.removeprefix("n")) for factor in term.split("*")) for term in dim.split("+"))


@pytest.mark.parametrize("op", [name for name in OPERATORS if name not in UNTESTED])
@QUICK
@given(data=st.data())
def test_types_agree_with_values(op, data):
    assert samples()[op], f"{op}: there is no sample"
    node, operands = data.draw(st.sampled_from(samples()[op]))
    inputs, known = [], {}
    for i, (value, operand) in enumerate(zip(node.inputs, operands, strict=True)):
        if value is None or operand is None:
            inputs.append(None if value is None else value)
            continue
        whole = type_of(operand) if isinstance(operand, np.ndarray) else value.type
        inputs.append(Value(f"x{i}", hidden(data, whole)))
        if isinstance(operand, np.ndarray) and data.draw(st.booleans()):
            known[inputs[-1]] = operand
            inputs[-1] = Value(f"x{i}", whole)
            known[inputs[-1]] = operand
    less = Node(node.op, tuple(inputs), node.outputs, node.attrs)
    types = infer_node(less, known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = evaluate_node(node, operands, Body)
    for i, (value, type, result) in enumerate(zip(node.outputs, types, results, strict=False)):
        if value is not None:
            wrong = contradiction(type, result)
            assert wrong is None, f"output {i} is inferred as {wrong}; {less}"


# -- meanings agree with ONNX ------------------------------------------------------------------------------------

ORDINARY = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
TYPE_NAMES = {f"tensor({theirs})": ours for ours, theirs in zip(ORDINARY, ORDINARY, strict=True)} | {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
}
TOLERANCE = {"float16": (1e-2, 1e-2), "float32": (1e-4, 1e-5), "float64": (1e-6, 1e-7)}
CHOICES: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("BitShift", "direction"): st.sampled_from(("LEFT", "RIGHT")),
    ("Gelu", "approximate"): st.sampled_from(("none", "tanh")),
    ("Cast", "to"): st.sampled_from((*ORDINARY, "bool")),
    ("Cast", "saturate"): st.just(1),
    ("Cast", "round_mode"): st.just("up"),
}
BEYOND_THE_REFERENCE = (
    # The reference has no such operator, or none for the dtypes at hand.
    *("BitCast", "QuantizeLinear", "DequantizeLinear"),
)
ELEMENTWISE = [
    name
    for name, operator in OPERATORS.items()
    if operator.scalar is not None and operator.along is None and "." not in name and name not in BEYOND_THE_REFERENCE
]


def array(draw: st.DataObject, op: str, dtype: DType, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Numbers near zero with both signs, and for floats the special ones."""
    random = np.random.default_rng(draw.draw(st.integers(0, 999)))
    if dtype.kind == "b":
        return random.random(shape) < 0.5
    if dtype.kind in "iu":
        low = 1 if op in ("Div", "Mod") else 0 if dtype.kind == "u" or op in ("Pow", "BitShift") else -9
        return random.integers(low, 4 if op == "Pow" else 10, shape).astype(dtype)
    values = random.normal(0, 2, shape)
    if op not in ("Pow", "Mod", "Cast", "Shrink", "PRelu") and draw.draw(st.booleans()):
        special = random.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], shape)
        values = np.where(random.random(shape) < 0.3, special, values)
    return np.asarray(np.abs(values) if op == "Pow" else values).astype(dtype)


def attributes(draw: st.DataObject, op: str) -> dict[str, Any]:
    """Values for the attributes of an elementwise operator."""
    chosen: dict[str, Any] = {}
    for key, value in OPERATORS[op].attributes.items():
        if (op, key) in CHOICES:
            chosen[key] = draw.draw(CHOICES[op, key])
        elif isinstance(value, float):
            chosen[key] = draw.draw(st.floats(0.125, 2, width=16))
        elif isinstance(value, int):
            chosen[key] = draw.draw(st.integers(0, 1))
    return chosen


def reference(op: str, operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """What ONNX's reference computes for one node."""
    number = {"to": lambda name: helper.np_dtype_to_tensor_dtype(dtype_named(name))}
    theirs = {key: number[key](value) if key in number else value for key, value in attrs.items()}
    names = ["" if x is None else f"x{i}" for i, x in enumerate(operands)]
    node = helper.make_node(op, names, ["y"], **theirs)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in zip(names, operands, strict=True)
        if x is not None
    ]
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", defs.onnx_opset_version())])
    given = {name: x for name, x in zip(names, operands, strict=True) if x is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(ReferenceEvaluator(model).run(None, given)[0])


def check(op: str, operands: Sequence[Any], attrs: dict[str, Any]) -> None:
    inputs = tuple(None if x is None else Value(f"x{i}", type_of(x)) for i, x in enumerate(operands))
    node = Node(op, inputs, (Value("y", TensorType(np.dtype("f4"), None)),), attrs)
    (actual,) = evaluate_node(node, operands)
    (type,) = infer_node(node, {})
    assert contradiction(type, actual) is None
    # The reference lets numpy widen the sums of integers, which ONNX's schemas do not.
    expected = reference(op, operands, attrs)
    expected = expected.astype(actual.dtype) if actual.dtype.kind in "iu" else expected
    assert actual.dtype == expected.dtype
    rtol, atol = TOLERANCE.get(dtype_name(actual.dtype), (0, 0))
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def dtypes(draw: st.DataObject, op: str) -> list[DType]:
    """A dtype for each operand of an operator, such that ONNX allows them together."""
    schema = defs.get_schema(op)
    chosen: dict[str, DType] = {}
    found = []
    for operand in schema.inputs:
        allowed = sorted({TYPE_NAMES[name] for name in operand.types if name in TYPE_NAMES})
        name = chosen.setdefault(operand.type_str, dtype_named(draw.draw(st.sampled_from(allowed))))
        found.append(name)
    return found


SHAPES = st.sampled_from((((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1, 3), (2, 1)), ((3,), ()), ((0, 2), (1, 2))))


@pytest.mark.parametrize("op", ELEMENTWISE)
@QUICK
@given(data=st.data())
def test_elementwise_operators_mean_what_onnx_says(op, data):
    shapes = data.draw(SHAPES)
    if op in ("SwiGLU", "Mean"):
        # The first does not broadcast; the reference adds the further operands of a mean into the first.
        shapes = (shapes[0], shapes[0])
    elif op == "PRelu":
        shapes = ((2, 3), (3,))
    elif op == "Clip":
        shapes = (shapes[0], (), ())
    count = len(OPERATORS[op].operands)
    count = data.draw(st.integers(OPERATORS[op].required or 1, 3)) if OPERATORS[op].variadic else count
    kinds = dtypes(data, op)
    operands = [array(data, op, kinds[min(i, len(kinds) - 1)], shapes[min(i, len(shapes) - 1)]) for i in range(count)]
    check(op, operands, attributes(data, op))


@pytest.mark.parametrize("op", [name for name, operator in OPERATORS.items() if operator.reduction])
@QUICK
@given(data=st.data())
def test_reductions_mean_what_onnx_says(op, data):
    (dtype, _) = dtypes(data, op)
    x = array(data, op, dtype, data.draw(st.sampled_from(((2, 3, 4), (1, 3), (3,)))))
    some = st.lists(st.integers(-x.ndim, x.ndim - 1), max_size=x.ndim, unique_by=lambda i: i % x.ndim)
    axes = data.draw(st.none() | some)
    attrs = {key: data.draw(st.integers(0, 1)) for key in ("keepdims", "noop_with_empty_axes")}
    check(op, [x, None if axes is None else np.array(axes, np.int64)], attrs)
