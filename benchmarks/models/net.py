"""Collects the nodes and weights of a network in the manner of PyTorch's exporter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]


class Net:
    """A network under construction. Values are names; the last value is renamed to `y` by `finish`."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.rng = name, np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._shared: dict[tuple[str, int], str] = {}
        self._used: set[str] = set()
        self._input: Any = None
        self._output: Any = None

    def input(self, dtype: type[np.generic], *shape: int) -> str:
        """Declare the input."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._input = helper.make_tensor_value_info("x", kind, shape)
        return "x"

    def finish(self, value: str, *shape: int) -> None:
        """Declare the output."""
        self.nodes[-1].output[0] = "y"
        assert not any(value in node.input for node in self.nodes)
        self._output = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)

    def weight(self, name: str, *shape: int, scale: float, offset: float = 0.0) -> str:
        """A normally distributed weight."""
        array = self.rng.standard_normal(shape, np.float32) * np.float32(scale) + np.float32(offset)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def shared(self, kind: str, name: str, size: int, scale: float, offset: float = 0.0) -> str:
        """A vector that all layers have alike: the first is a weight, the others are its Identity."""
        first = self._shared.get((kind, size))
        if first is None:
            self._shared[kind, size] = name
            return self.weight(name, size, scale=scale, offset=offset)
        return self.op("Identity", [first], f"Identity/{name}")

    def constant(self, scope: str, array: Any) -> str:
        """A Constant node."""
        return self.op("Constant", [], scope, value=numpy_helper.from_array(np.asarray(array)))

    def op(self, kind: str, inputs: list[str], scope: str, **attrs: Any) -> str:
        """A node; its result's name follows from its own."""
        name = base = f"/{scope}/{kind}" if scope else f"/{kind}"
        count = 0
        while name in self._used:
            count += 1
            name = f"{base}_{count}"
        self._used.add(name)
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_output_0"], name, **attrs))
        return f"{name}_output_0"

    def model(self) -> ModelProto:
        """The finished model."""
        graph = helper.make_graph(self.nodes, self.name, [self._input], [self._output], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
