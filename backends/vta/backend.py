"""The accelerator as a backend: its patterns, its options, and regions compiled to programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
from heddle.backends.vta.joins import write_in_place
from heddle.backends.vta.layers import Conv, Layer, MatMul, Tensor, Turn, block_of, reads
from heddle.backends.vta.lower import Lowering, port_sizes
from heddle.backends.vta.matrices import loads_pixels_as_weights
from heddle.backends.vta.patterns import patterns
from heddle.backends.vta.program import IMAGES, emit, sources
from heddle.backends.vta.recall import fetch_region, region_key, store_region
from heddle.backends.vta.rules import lower
from heddle.core.ir import Value, dtype_name
from heddle.core.pattern import Pattern
from heddle.core.plugin import Backend, Figures, Region, Tolerance
from heddle.core.plugin.figures import Link
from heddle.core.runtime.artifact import JSON, Artifact, Port, Signature
from heddle.hw.vta.config import Config, load_config
from heddle.simulators.vta.ports import Patches, PortLayout
from heddle.simulators.vta.program import Binding, Program, Section, to_bytes
from heddle.simulators.vta.verifier import Sizes, verify

ALIGNMENT = 64


@dataclass(frozen=True)
class VtaOptions:
    """`config`: the configuration of the accelerator, by name or as the path of a TOML file."""

    config: str = "reference"


class Vta(Backend):
    """A VTA-like int8 tensor accelerator."""

    name: ClassVar[str] = "vta"
    Options = VtaOptions
    tolerance: ClassVar[Tolerance] = Tolerance(integers=1)

    @property
    def config(self) -> Config:
        return load_config(self.options.config)

    @property
    def patterns(self) -> Sequence[Pattern]:
        return patterns(block_of(self.config), loads_pixels_as_weights(self.config))

    @property
    def figures(self) -> Figures:
        """The array's peak and the bus of the configuration, in the device's own time."""
        config = self.config
        bandwidth = config.beat_bytes * config.clock_hz
        return Figures(
            operations={"*": 2.0 * config.bi * config.bo * config.clock_hz},
            bandwidth=bandwidth,
            launch=1e-5,
            memory="dram",
            link=Link(1e-5, bandwidth),
        )

    def compile(self, region: Region) -> Artifact:
        """The program of a region; one that was compiled before, by content, is recalled."""
        key = region_key(self.config, region)
        code, rest = fetch_region(key) or (None, {})
        if code is None:
            code, rest = translate(self.config, region)
            store_region(key, code, rest)
        return Artifact(
            backend=self.name,
            device="vta",
            signature=Signature(
                tuple(_port(value) for value in region.body.inputs),
                tuple(_port(value) for value in region.body.outputs),
            ),
            code=code,
            workspace=rest["workspace"],
            meta=rest["meta"],
            nodes=tuple(node.name for node in region.body.nodes if node.name),
        )


def translate(config: Config, region: Region) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a region's program, and as JSON the size of its workspace and what the artifact's `meta` says."""
    lowering = lowered(config, region)
    inputs, outputs = region.body.inputs, region.body.outputs
    entering = {value.name for value in inputs}
    leaving = {lowering.views[value].memory for value in outputs}
    layers = write_in_place(config, lowering.layers, entering | leaving)
    layers, patched = unfold_first(config, layers, entering - leaving)
    ports = {view.memory: view.nbytes for view in map(lowering.view, (*inputs, *outputs))}
    offsets, workspace = place_tensors(config, layers, entering, leaving, ports)
    places = {name: (1, offset // config.beat_bytes) for name, offset in offsets.items()}
    emitted = emit(config, layers, {IMAGES: (0, 0), **places}.__getitem__)
    section = Section(region.name, emitted.instructions)
    program = Program(config, [section], [Binding("image"), Binding("workspace")], emitted.image)
    verify(program, Sizes(workspace=workspace))

    def port(value: Value) -> dict[str, JSON]:
        view = lowering.view(value)
        sizes = port_sizes(view)
        assert sizes is not None, "values at the border lie as ports do"
        batch, height, width = sizes
        start = offsets[view.memory] + view.offset * view.lanes
        last = view.channel == len(view.sizes) - 1
        layout = PortLayout(batch, view.sizes[view.channel], height, width, view.lanes, start, last)
        return replace(layout, patches=patched.get(value.name)).to_json()

    meta = {
        "config": config.name,
        "inputs": [port(value) for value in region.body.inputs],
        "outputs": [port(value) for value in region.body.outputs],
        "instructions": len(emitted.instructions),
        "image_bytes": len(emitted.image),
        "layers": [describe(layer, lowering.nodes[layer.name]) for layer in layers],
        "owners": [[owner, len(list(same))] for owner, same in groupby(emitted.owners)],
    }
    return to_bytes(program), {"workspace": workspace, "meta": meta}


def lowered(config: Config, region: Region) -> Lowering:
    """The layers of a region, in the order in which they run."""
    positions = {node.results[0]: at for at, node in enumerate(region.body.nodes)}
    matches = sorted(region.matches, key=lambda match: max(positions[v] for v in match.outputs))
    return lower(config, matches, region.body.inputs, region.body.outputs)


def describe(layer: Layer, nodes: Sequence[str]) -> dict[str, JSON]:
    """A layer as reports name it: what it is, which ONNX nodes it computes, its multiply-accumulates."""
    described: dict[str, JSON] = {"name": layer.name, "kind": type(layer).__name__.lower(), "nodes": list(nodes)}
    if not isinstance(layer, Conv):
        macs = layer.macs if isinstance(layer, MatMul) else 0
        return {**described, "macs": macs, "kernel": [], "depthwise": False}
    kernel = list(layer.weights.shape[2:])
    return {**described, "macs": layer.macs, "kernel": kernel, "depthwise": layer.groups == layer.input.channels > 1}


def _port(value: Value) -> Port:
    return Port(value.name, dtype_name(value.dtype), value.shape)


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
        if -(-channels * taps // lanes) >= taps * -(-channels // lanes):
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
