"""Small networks built node by node, and what the host makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from heddle.backends.llvm.strategy import Kernels
from heddle.core.codegen import target as targets
from heddle.core.codegen.region import compile_region, program
from heddle.core.codegen.template import Template
from heddle.core.dtypes import dtype_named
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph, Node, TensorType, Value, verify
from heddle.core.ops import infer_node
from heddle.core.runtime.device import host_buffer
from heddle.core.runtime.host import HostDevice
from numpy.typing import NDArray

from tests import foreign
from tests.guarded import guarded

Array = NDArray[Any]
TARGETS = {
    name: target
    for name, target in (("x86-64", targets.x86_64()), ("avx2", targets.avx2()), ("avx512", targets.avx512()))
    if set(target.features) <= set(targets.host().features)
}
TARGETS["tiles"] = replace(list(TARGETS.values())[-1], played=True)
EMULATED = {"aarch64": targets.aarch64()}


class Net:
    """A graph under construction, with inputs drawn from a generator."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs: list[Value] = []
        self.arrays: list[Array] = []
        self.constants: dict[Value, Array] = {}
        self.nodes: list[Node] = []
        self._count = 0

    def _value(self, type: TensorType) -> Value:
        self._count += 1
        return Value(f"v{self._count}", type)

    def input(self, *shape: int, scale: float = 1.0) -> Value:
        """A float input."""
        value = self._value(TensorType(np.dtype(np.float32), shape))
        self.inputs.append(value)
        self.arrays.append((self.rng.standard_normal(shape) * scale).astype(np.float32))
        return value

    def const(self, array: Any) -> Value:
        """A constant."""
        array = np.asarray(array)
        value = self._value(TensorType(array.dtype, array.shape))
        self.constants[value] = array
        return value

    def weights(self, *shape: int) -> Value:
        """Constant floats that keep the scale of what they are multiplied with."""
        size = np.prod(shape[1:]) if len(shape) > 1 else 1
        return self.const((self.rng.standard_normal(shape) / np.sqrt(size)).astype(np.float32))

    def __call__(self, op: str, *operands: Value | None, **attrs: Any) -> Value:
        """The output of an operator."""
        blank = Node(op, operands, (self._value(TensorType(np.dtype(np.float32), ())),), attrs)
        (type,) = infer_node(blank, self.constants)[:1]
        assert isinstance(type, TensorType)
        result = self._value(type)
        self.nodes.append(Node(op, operands, (result,), attrs))
        return result

    def conv(self, x: Value, filters: int, size: int = 1, *, groups: int = 1, bias: bool = True, **attrs: Any) -> Value:
        """A convolution with constant weights, padded to keep the size where its stride is 1."""
        attrs.setdefault("pads", (size // 2,) * 4)
        weights = self.weights(filters, x.shape[1] // groups, size, size)
        operands = (x, weights, self.weights(filters)) if bias else (x, weights)
        return self("Conv", *operands, group=groups, **attrs)

    def graph(self, *outputs: Value) -> Graph:
        return verify(Graph(tuple(self.inputs), tuple(self.nodes), outputs, self.constants))


class Host:
    """The host backend's compiler for one machine."""

    def __init__(self, name: str) -> None:
        self.target = (TARGETS | EMULATED)[name]

    def run(self, graph: Graph, inputs: Sequence[Array], **options: Any) -> list[Array]:
        artifact = compile_region(graph, self.target, Kernels(**options))
        if foreign.is_foreign(artifact):
            return foreign.run(artifact, inputs)
        outputs = [guarded(np.empty(port.shape, dtype_named(port.dtype))) for port in artifact.signature.outputs]
        device = HostDevice()
        device.submit(device.load(artifact), [host_buffer(a) for a in (*map(guarded, inputs), *outputs)]).wait()
        return outputs

    def check(self, net: Net, *outputs: Value, tolerance: float = 2e-5, **options: Any) -> None:
        """Compiled code gives what the operators mean; integers may be one apart, where one was rounded otherwise."""
        graph = net.graph(*outputs)
        for got, want in zip(self.run(graph, net.arrays, **options), evaluate(graph, net.arrays), strict=True):
            assert got.shape == want.shape
            assert got.dtype == want.dtype
            if got.dtype.kind in "iu":
                difference = np.abs(got.astype(int) - want.astype(int))
                assert difference.max() <= 1
                assert (difference > 0).mean() < 0.02
            else:
                scale = max(1.0, float(np.abs(want).max(initial=0)))
                np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)

    def loops(self, graph: Graph) -> list[str]:
        """The values that are computed by plain loops, not by kernels."""
        made = program(graph, self.target, Kernels())
        return [str(call.values[-1]) for call in made.calls if not isinstance(call.kernel, Template)]


@pytest.fixture(params=[*TARGETS, *(pytest.param(name, marks=foreign.needed) for name in EMULATED)])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param)


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def fresh_net() -> type[Net]:
    """A network for any seed."""
    return Net
