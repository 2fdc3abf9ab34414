"""Operators as lines of text, `Op(operand, ...) {attributes}`, and how generated code is compared with their meaning.

An operand is a type (`float32[2,3]`), a type with its constant value (`int64[2]=[0, 1]`), a type with a range for its
random integers (`int64[4]~0:3`) or `_`. `Op/2` asks for two outputs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from heddle.core.codegen import compile_region
from heddle.core.codegen.target import Target, host
from heddle.core.dtypes import dtype_named
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph, Node, TensorType, Value, parse, verify
from heddle.core.ops import infer_node
from heddle.core.ops.scalar import is_floating
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import host_buffer
from heddle.core.runtime.host import HostDevice
from numpy.typing import NDArray

from tests import foreign

Array = NDArray[Any]

_LINE = re.compile(r"([\w.]+)(?:/(\d+))?\((.*?)\)\s*(\{.*\})?\s*$")
_OPERAND = re.compile(r"(\w+\[[\d,]*\])(?:=(.*)|~(-?\d+):(-?\d+))?$")


def random_array(type: TensorType, rng: np.random.Generator, low: int | None = None, high: int | None = None) -> Array:
    """An array of a type, with values that are small and distinct enough to show mistakes."""
    shape = type.shape
    assert shape is not None
    if type.dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if is_floating(type.dtype):
        return (rng.standard_normal(shape) * 2).astype(type.dtype)
    least = low if low is not None else (0 if str(type.dtype).startswith("uint") else -7)
    return rng.integers(least, high if high is not None else 8, shape).astype(type.dtype)


def case(line: str, seed: int = 0) -> tuple[Graph, list[Array]]:
    """The graph of one node that a line describes, and inputs for it."""
    match = _LINE.match(line)
    assert match, line
    name, outputs, operands, attrs = match.groups()
    rng = np.random.default_rng(seed)
    inputs: list[Value] = []
    arrays: list[Array] = []
    constants: dict[Value, Array] = {}
    values: list[Value | None] = []
    for number, text in enumerate(_split(operands)):
        if text == "_":
            values.append(None)
            continue
        found = _OPERAND.match(text)
        assert found, text
        type = parse(f"graph (%a: {found.group(1)}) -> (%a) {{}}", {}).inputs[0].tensor
        value = Value(f"x{number}", type)
        values.append(value)
        if found.group(2) is not None:
            literal = eval(found.group(2), {"inf": np.inf, "nan": np.nan})
            constants[value] = np.array(literal).astype(type.dtype).reshape(type.shape or ())
        else:
            inputs.append(value)
            low, high = (None if g is None else int(g) for g in found.group(3, 4))
            arrays.append(random_array(type, rng, low, high))
    text = f"graph () -> () {{ %y: float32[] = {name}() {attrs or ''} }}"
    node = parse(text, {}).nodes[0]
    count = int(outputs or 1)
    blank = tuple(Value(f"y{i}", TensorType(np.dtype(np.float32), ())) for i in range(count))
    types = infer_node(Node(name, tuple(values), blank, node.attrs), constants)
    results = tuple(Value(f"y{i}", type) for i, type in enumerate(types[:count]))
    graph = Graph(tuple(inputs), (Node(name, tuple(values), results, node.attrs, "here"),), results, constants)
    return verify(graph), arrays


def _split(text: str) -> list[str]:
    """Text at its commas, except those within brackets."""
    parts, depth, last = [], 0, 0
    for at, mark in enumerate(text):
        depth += (mark == "[") - (mark == "]")
        if mark == "," and depth == 0:
            parts.append(text[last:at].strip())
            last = at + 1
    return [*parts, text[last:].strip()] if text.strip() else []


def native(artifact: Artifact, inputs: Sequence[Array]) -> list[Array]:
    """Run compiled code in this process, or under an emulator where it is for another processor."""
    if foreign.is_foreign(artifact):
        return foreign.run(artifact, inputs)
    device = HostDevice()
    outputs = [np.empty(port.shape, dtype_named(port.dtype)) for port in artifact.signature.outputs]
    buffers = [host_buffer(np.ascontiguousarray(array)) for array in (*inputs, *outputs)]
    device.submit(device.load(artifact), buffers).wait()
    return outputs


def difference(
    graph: Graph, inputs: Sequence[Array], target: Target | None = None, ulps: float = 32, **options: Any
) -> str:
    """How the compiled graph's outputs differ from their meaning; empty when they agree.

    Floats may differ by so many units in the last place of the greatest magnitude, integers not at all.
    """
    made = native(compile_region(graph, target or host(), **options), inputs)
    for value, got, want in zip(graph.outputs, made, evaluate(graph, inputs), strict=True):
        if got.dtype != want.dtype or got.shape != want.shape:
            return f"{value}: {got.dtype}{got.shape}, expected {want.dtype}{want.shape}"
        if not agree(got, want, ulps):
            return f"{value}: got\n{got}\nexpected\n{want}"
    return ""


def agree(got: Array, want: Array, ulps: float) -> bool:
    """Whether two arrays are equal, as floats up to rounding."""
    if not is_floating(got.dtype):
        return bool((got == want).all())
    left, right = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(right)
    infinite = np.isinf(right)
    if not (np.isnan(left) == np.isnan(right)).all() or not (left[infinite] == right[infinite]).all():
        return False
    scale = np.abs(right[finite]).max(initial=1.0)
    unit = float(ml_dtypes.finfo(got.dtype).eps)
    return bool((np.abs(left[finite] - right[finite]) <= ulps * unit * scale).all())


@pytest.fixture(scope="session", autouse=True)
def object_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled objects go to a folder of their own, unless one is named."""
    if "HEDDLE_CACHE_DIR" in os.environ:
        yield
        return
    os.environ["HEDDLE_CACHE_DIR"] = str(tmp_path_factory.mktemp("objects"))
    yield
    del os.environ["HEDDLE_CACHE_DIR"]


@pytest.fixture
def agrees() -> Callable[..., None]:
    """Assert that the compiled form of a line, or of a graph with inputs, does what its operators mean."""

    def check(what: str | Graph, inputs: Sequence[Array] | None = None, **options: Any) -> None:
        graph, arrays = case(what) if isinstance(what, str) else (what, inputs or [])
        found = difference(graph, arrays, **options)
        assert not found, f"{graph}\n{found}"

    return check


@pytest.fixture(name="case")
def case_of_a_line() -> Callable[..., tuple[Graph, list[Array]]]:
    """The graph of one node that a line describes, and inputs for it."""
    return case


@pytest.fixture(name="native")
def native_run() -> Callable[[Artifact, Sequence[Array]], list[Array]]:
    """Run compiled code in this process."""
    return native
