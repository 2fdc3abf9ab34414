"""Regions of whole models layer by layer: what the second implementation and core.ops make of the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.backends.vta.layers import Layer, reads
from heddle.backends.vta.placement import lowered
from heddle.core.interpret import evaluate as interpret
from heddle.core.ir import Value
from heddle.core.plugin import Region
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import host_buffer
from heddle.hw.vta.config import Config
from heddle.partition import Plan
from heddle.simulators.vta.device import VtaDevice
from numpy.typing import NDArray

from tests.backends.vta.memory import Memories, view_of
from tests.backends.vta.semantics import evaluate

Array = NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """How a layer's result differs from the reference's, given the reference's inputs: in quanta."""

    layer: str
    most: int
    differing: int
    elements: int


def accelerated(plan: Plan) -> list[Region]:
    """The regions of a plan that run on the accelerator."""
    return [region for region in plan.regions if region.backend == "vta"]


def macs_on_device(plan: Plan) -> float:
    """The part of all multiply-accumulates of a plan's convolutions and matrix products that is on the device."""
    count = {"vta": 0, "host": 0}
    for region in plan.regions:
        for node in region.body.nodes:
            count[region.backend] += macs(node.op, node.inputs, node.results[0] if node.results else None, node.attrs)
    return count["vta"] / (count["vta"] + count["host"])


def macs(op: str, inputs: Sequence[Value | None], result: Value | None, attrs: Mapping[str, Any]) -> int:
    """The multiply-accumulates of a node."""
    if result is None or op not in ("Conv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv", "QLinearMatMul"):
        return 0
    x, w = inputs[0], inputs[3 if op.startswith("QLinear") else 1]
    assert x is not None
    assert w is not None
    if op == "ConvTranspose":
        return int(np.prod(x.shape) * np.prod(w.shape[1:]))
    if "Conv" in op:
        return int(np.prod(result.shape) * np.prod(w.shape[1:]))
    inner = x.shape[0] if attrs.get("transA") else x.shape[-1]
    return int(np.prod(result.shape)) * inner


def values_of(region: Region, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every value of a region by name, as core.ops defines it."""
    found = dict(zip((value.name for value in region.body.inputs), inputs, strict=True))
    interpret(region.body, inputs, lambda value, array: found.__setitem__(value.name, array))
    return found


def replay(config: Config, region: Region, inputs: Sequence[Array]) -> list[Array]:
    """The region's outputs by the second implementation, as dense arrays."""
    lowering = lowered(config, region)
    memories = Memories(lowering.lanes)
    for value, array in zip(region.body.inputs, inputs, strict=True):
        memories.write(lowering.view(value), array)
    for layer in lowering.layers:
        memories.write(view_of(config, layer.output), compute(config, layer, memories))
    return [memories.read(lowering.view(value)).astype(value.dtype) for value in region.body.outputs]


def compute(config: Config, layer: Layer, memories: Memories) -> Array:
    """The result of a layer by the second implementation, from what it reads in memory."""
    return evaluate(layer, *(memories.read(view_of(config, tensor)) for tensor in reads(layer)))


def differences(config: Config, region: Region, inputs: Sequence[Array]) -> list[Difference]:
    """Each layer against core.ops, both given the layer inputs that core.ops computes."""
    lowering = lowered(config, region)
    values = values_of(region, inputs)
    memories = Memories(lowering.lanes)
    for value, view in lowering.views.items():
        memories.write(view, values[value.name])
    found = []
    for layer in lowering.layers:
        if not lowering.nodes[layer.name]:  # the compiler's own, which only moves what others compute
            memories.write(view_of(config, layer.output), compute(config, layer, memories))
            continue
        expected = memories.read(view_of(config, layer.output))
        gap = np.abs(compute(config, layer, memories) - expected)
        found.append(Difference(layer.name, int(gap.max()), int(np.count_nonzero(gap)), gap.size))
    return found


def run(artifact: Artifact, inputs: Sequence[Array], **options: Any) -> tuple[list[Array], Mapping[str, int]]:
    """What a simulated device gives for a compiled region, and its counters."""
    device = VtaDevice(**options)
    try:
        program = device.load(artifact)
        results = [np.zeros(port.shape, port.dtype) for port in artifact.signature.outputs]
        event = device.submit(program, [host_buffer(np.ascontiguousarray(array)) for array in (*inputs, *results)])
        event.wait()
        return results, event.counters
    finally:
        device.close()


def random_inputs(region: Region, seed: int = 0) -> list[Array]:
    """Bytes of every value for each input of a region."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(np.iinfo(value.dtype).min, np.iinfo(value.dtype).max + 1, value.shape).astype(value.dtype)
        for value in region.body.inputs
    ]
