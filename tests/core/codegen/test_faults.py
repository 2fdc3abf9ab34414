"""What goes wrong: runs that fail with a message, nodes that are refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from heddle.core.codegen import compile_region, refusal
from heddle.core.codegen.target import host
from heddle.core.errors import BackendError, DeviceError
from heddle.core.ir import Graph, Node, TensorType, Value, parse


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Gather(float32[5,3], int64[2]=[1, 5])", "an index is outside of a dimension of 5"),
        ("GatherElements(float32[5], int64[2]=[-6, 1])", "an index is outside of a dimension of 5"),
        ("GatherND(float32[5,3], int64[1,2]=[[0, 3]])", "an index is outside of a dimension of 3"),
        ("ScatterND(float32[5], int64[1,1]=[[7]], float32[1])", "an index is outside of a dimension of 5"),
        ("RNN(float32[2,1,3], float32[1,4,3], float32[1,4,4], _, int32[1]=[3])", "longer than the tensor's 2"),
    ],
)
def test_an_index_outside_ends_the_run(
    line: str, message: str, case: Callable[..., tuple[Graph, list[Any]]], native: Callable[..., Any]
) -> None:
    graph, inputs = case(line)
    # The indices are given when the model runs.
    late = tuple(value for value in graph.constants)
    graph, given = Graph((*graph.inputs, *late), graph.nodes, graph.outputs), [graph.constants[v] for v in late]
    with pytest.raises(DeviceError, match=message):
        native(compile_region(graph, host()), [*inputs, *given])


def test_a_shape_that_was_not_compiled_for_ends_the_run(native: Callable[..., Any]) -> None:
    graph = parse(
        """graph (%x: float32[2,6], %shape: int64[2]) -> (%y) {
          %y: float32[3,4] = Reshape(%x, %shape) "reshape"
        }""",
        {},
    )
    artifact, x = compile_region(graph, host()), np.ones((2, 6), np.float32)
    assert native(artifact, [x, np.array([3, -1])])[0].shape == (3, 4)
    with pytest.raises(DeviceError, match="dimension 0 of the shape is not 3, for which the model was compiled"):
        native(artifact, [x, np.array([4, 3])])


def test_what_cannot_be_compiled_is_refused_with_a_reason() -> None:
    def node(op: str, *types: TensorType) -> Node:
        values = [Value(f"v{number}", type) for number, type in enumerate(types)]
        return Node(op, tuple(values[:-1]), (values[-1],))

    floats = TensorType(np.dtype(np.float32), (2,))
    assert refusal(node("Relu", floats, floats)) is None
    assert refusal(node("NonZero", floats, floats)) == "no code is generated for this operator"
    unknown = TensorType(np.dtype(np.float32), ("N",))
    assert refusal(node("Relu", unknown, unknown)) == (
        "host: %v0 is float32[N], and its shape must be known to compile it"
    )
    text = TensorType(np.dtype(object), (2,))
    assert refusal(node("Identity", text, text)) == "host: no code is generated for elements of type string"


def test_an_operand_that_must_be_constant_is_named() -> None:
    graph = parse(
        """graph (%x: float32[2,6], %pads: int64[4]) -> (%y) {
          %y: float32[4,6] = Pad(%x, %pads) "pad"
        }""",
        {},
    )
    reason = 'host: Pad "pad": the list of pads is computed when the model runs, and must be constant'
    with pytest.raises(BackendError, match=reason):
        compile_region(graph, host())
