"""Each layer on the accelerator against ONNX Runtime, both given the same inputs: how many elements differ, how far.

    python -m benchmarks.vta_accuracy resnet18_int8 [mnist_int8.onnx ...] [--config reference] [--layers]

A name is one of `benchmarks.models` or the path of a quantized ONNX file. Inputs of a layer are what ONNX Runtime
computes for it, with its graph optimizations off: fused, its 8-bit kernels saturate on processors without VNNI. Results
are those of the second implementation of the accelerator's semantics, which the devices equal bit for bit.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from heddle.backends.vta import Vta, VtaOptions
from heddle.backends.vta.placement import lowered
from heddle.core.plugin import Region
from heddle.hw.vta.config import Config
from numpy.typing import NDArray
from onnx import ModelProto

import heddle
from benchmarks.models import build
from tests.backends.vta.memory import Memories, view_of
from tests.backends.vta.regions import accelerated, compute

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Layer:
    """How far a layer is from ONNX Runtime: the most in quanta of its result, how many elements differ, of how many."""

    nodes: tuple[str, ...]
    most: int
    differing: int
    elements: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--config", default="reference")
    parser.add_argument("--seed", type=int, default=0, help="of the model's inputs")
    parser.add_argument("--layers", action="store_true", help="print each layer that differs")
    arguments = parser.parse_args()
    backend = Vta(VtaOptions(arguments.config))
    for name in arguments.models:
        model = onnx.load(name) if Path(name).exists() else build(name)
        plan = heddle.plan(model, backends=[backend, "host"])
        known = activations(model, made_up(model, arguments.seed))
        layers = [each for region in accelerated(plan) for each in compared(backend.config, region, known)]
        most, differing = max(layer.most for layer in layers), sum(layer.differing for layer in layers)
        elements = sum(layer.elements for layer in layers)
        print(
            f"{Path(name).stem}: {len(layers)} layers, {differing:,} of {elements:,} elements differ, by at most {most}"
        )
        for layer in layers if arguments.layers else ():
            if layer.differing:
                print(f"  {layer.differing:>7} of {layer.elements:>9}, at most {layer.most}  {', '.join(layer.nodes)}")


def made_up(model: ModelProto, seed: int) -> dict[str, NDArray[Any]]:
    """Normally distributed inputs; symbolic dimensions are one."""
    rng = np.random.default_rng(seed)
    constant = {each.name for each in model.graph.initializer}
    return {
        value.name: rng.standard_normal([dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim], np.float32)
        for value in model.graph.input
        if value.name not in constant
    }


def activations(model: ModelProto, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Everything that ONNX Runtime computes on the way, by name."""
    whole = ModelProto()
    whole.CopyFrom(model)
    there = {value.name for value in whole.graph.output}
    names = [name for node in whole.graph.node for name in node.output if name and name not in there]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = [value.name for value in session.get_outputs()]
    return {**inputs, **dict(zip(outputs, session.run(None, dict(inputs)), strict=True))}


def compared(config: Config, region: Region, known: Arrays) -> Sequence[Layer]:
    """The layers of a region, each on what ONNX Runtime gives its operands."""
    lowering = lowered(config, region)
    memories = Memories(lowering.lanes)
    for value, view in lowering.views.items():
        memories.write(view, known[value.name])
    found = []
    for layer in lowering.layers:
        result, place = compute(config, layer, memories), view_of(config, layer.output)
        if not lowering.nodes[layer.name]:  # the compiler's own, which only moves what others compute
            memories.write(place, result)
            continue
        gap = np.abs(result - memories.read(place))
        found.append(Layer(lowering.nodes[layer.name], int(gap.max()), int(np.count_nonzero(gap)), gap.size))
    return found


if __name__ == "__main__":
    main()
