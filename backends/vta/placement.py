"""A region's layers as they are emitted, and where its memories lie in the workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from heddle.backends.vta.joins import write_in_place
from heddle.backends.vta.layers import Conv, Layer, MatMul, Tensor, Turn, block_of, reads
from heddle.backends.vta.lower import Lowering
from heddle.backends.vta.program import sources
from heddle.backends.vta.rules import lower
from heddle.core.plugin import Region
from heddle.hw.vta.config import Config
from heddle.simulators.vta.ports import Patches

ALIGNMENT = 64


@dataclass(frozen=True)
class Placed:
    """The layers of a region as they are emitted, where its values lie, which inputs the driver lays out as windows."""

    lowering: Lowering
    layers: Sequence[Layer]
    windows: Mapping[str, Patches]
    entering: Set[str]
    leaving: Set[str]


def placed(config: Config, region: Region) -> Placed:
    """The layers of a region without those that need not be."""
    lowering = lowered(config, region)
    entering = {value.name for value in region.body.inputs}
    leaving = {lowering.views[value].memory for value in region.body.outputs}
    layers = write_in_place(config, lowering.layers, entering | leaving)
    layers, windows = unfold_first(config, layers, entering - leaving)
    return Placed(lowering, layers, windows, entering, leaving)


def lowered(config: Config, region: Region) -> Lowering:
    """The layers of a region, in the order in which they run."""
    positions = {node.results[0]: at for at, node in enumerate(region.body.nodes)}
    matches = sorted(region.matches, key=lambda match: max(positions[v] for v in match.outputs))
    return lower(config, matches, region.body.inputs, region.body.outputs)


def unfold_first(config: Config, layers: Sequence[Layer], entering: Set[str]) -> tuple[list[Layer], dict[str, Patches]]:
    """Convolutions of few channels over a region's input become 1x1 ones over windows that the driver lays out.

    Three channels in a block of sixteen would leave four fifths of the array idle.
    """
    layers, patched = list(layers), {}
    lanes = block_of(config)
    for at, layer in enumerate(layers):
        if not isinstance(layer, Conv) or layer.groups != 1 or layer.input.name not in entering or layer.input.within:
            continue
        if sum(layer.input.name in sources(other) for other in layers) > 1:
            continue
        outs, channels, height, width = layer.weights.shape
        taps = height * width
        if -(-channels * taps // lanes) >= taps * -(-channels // lanes) or min(layer.pads) < 0:
            continue
        fill = layer.input.zero_point & 0xFF
        patched[layer.input.name] = Patches((height, width), layer.strides, layer.pads, layer.dilations, fill)
        source = replace(layer.input, channels=channels * taps, height=layer.output.height, width=layer.output.width)
        layers[at] = replace(
            layer, input=source, weights=np.ascontiguousarray(layer.weights.reshape(outs, channels * taps, 1, 1)),
            strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1),
        )  # fmt: skip
    return layers, patched


def place_tensors(
    config: Config, layers: Sequence[Layer], inputs: Set[str], outputs: Set[str], ports: Mapping[str, int]
) -> tuple[dict[str, int], int]:
    """The byte offset of each memory in the workspace, and its size; memories that are never alive together share.

    `ports` are the bytes that the host reads and writes of each, whether or not a layer does.
    """
    sizes = dict(ports)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for at, layer in enumerate(layers):
        for tensor in (*reads(layer), layer.output):
            sizes[tensor.name] = max(sizes.get(tensor.name, 0), span(config, layer, tensor))
            first.setdefault(tensor.name, -1 if tensor.name in inputs else at)
            last[tensor.name] = len(layers) if tensor.name in outputs else at
    for name in ports:
        first.setdefault(name, -1)
        last.setdefault(name, len(layers) if name in outputs else -1)
    placed: list[tuple[int, int, str]] = []
    offsets: dict[str, int] = {}
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        size = -(-sizes[name] // ALIGNMENT) * ALIGNMENT
        at = 0
        for start, end, other in sorted(placed):
            if first[name] <= last[other] and first[other] <= last[name] and start < at + size and at < end:
                at = end
        offsets[name] = at
        placed.append((at, at + size, name))
    return offsets, max((end for _, end, _ in placed), default=0)


def span(config: Config, layer: Layer, tensor: Tensor) -> int:
    """The bytes of a tensor's memory that a layer may touch: where pixels are weights, tiles reach beyond the last."""
    tiled = tensor is layer.other if isinstance(layer, MatMul) else isinstance(layer, Turn) and tensor is layer.input
    return tensor.nbytes(config) + tiled * config.bo * block_of(config)
