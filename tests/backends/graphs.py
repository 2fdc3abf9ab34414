"""Models of a few nodes, drawn or given, for the tests of every library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Arrays = dict[str, np.ndarray[Any, Any]]

CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 9), (4, 3, 3), {"pads": [1, 1]}),
    ((2, 3, 9, 8), (8, 3, 3, 3), {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
    ((1, 8, 6, 6), (8, 1, 3, 3), {"group": 8, "pads": [1, 1, 1, 1]}),
    ((1, 8, 9, 9), (6, 4, 3, 3), {"group": 2, "dilations": [2, 2]}),
    ((1, 1, 28, 28), (8, 1, 5, 5), {"auto_pad": "SAME_UPPER"}),
    ((1, 1, 9, 9), (3, 1, 4, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ((1, 5, 6, 6), (7, 5, 1, 1), {"strides": [2, 2]}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"strides": [1, 2, 2]}),
]
"""Images, weights and attributes of convolutions in every way of writing them."""


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Arrays,
    constants: Arrays,
    results: Sequence[str] = ("y",),
    opset: int = 21,
) -> onnx.ModelProto:
    """A model of these nodes over inputs of these shapes."""
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in inputs.items()
    ]
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    graph = helper.make_graph(nodes, "test", ports, outputs, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made)


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape), dtype)


def random_graph(seed: int, moves: bool = False, opset: int = 21) -> tuple[onnx.ModelProto, Arrays]:
    """A few operators at random over an image, with branches that meet again; some that move it, with `moves`."""
    rng = np.random.default_rng(seed)
    channels, size = int(rng.integers(1, 20)), int(rng.integers(3, 12))
    inputs = {"x": normal(int(rng.integers(1, 3)), channels, size, size, seed=seed)}
    nodes, held, values = [], {}, ["x"]
    for number in range(int(rng.integers(2, 9))):
        name, source = f"v{number}", values[-1 if rng.random() < 0.6 else int(rng.integers(len(values)))]
        match rng.integers(8 if moves else 6):
            case 0 | 1:
                grouped = channels if rng.random() < 0.3 else 1
                kernel = int(rng.choice([1, 3]))
                held[f"w{number}"] = normal(channels, channels // grouped, kernel, kernel, seed=number) / 3
                inputs_ = [source, f"w{number}"]
                nodes.append(helper.make_node("Conv", inputs_, [name], group=grouped, pads=[kernel // 2] * 4))
            case 2:
                op = str(rng.choice(["Relu", "Sigmoid", "Tanh", "HardSwish", "Elu"]))
                nodes.append(helper.make_node(op, [source], [name]))
            case 3:
                other = values[int(rng.integers(len(values)))]
                nodes.append(helper.make_node(str(rng.choice(["Add", "Mul", "Sub", "Max"])), [source, other], [name]))
            case 4:
                held[f"k{number}"] = normal(*[(channels, 1, 1), (size,), (1,)][int(rng.integers(3))], seed=number)
                nodes.append(helper.make_node("Add", [source, f"k{number}"], [name]))
            case 5:
                nodes.append(helper.make_node("MaxPool", [source], [name], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
            case 6:
                nodes.append(helper.make_node("Transpose", [source], [name], perm=[0, 1, 3, 2]))
            case _:
                held[f"w{number}"] = normal(size, size, seed=number) / 3
                nodes.append(helper.make_node("MatMul", [source, f"w{number}"], [name]))
        values.append(name)
    nodes.append(helper.make_node("Softmax", [values[-1]], ["y"], axis=int(rng.integers(4))))
    return model(nodes, inputs, held, ("y", values[-1]), opset), inputs
