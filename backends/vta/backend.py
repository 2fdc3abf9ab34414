"""The accelerator as a backend: its patterns, its options, and regions compiled to programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
from heddle.backends.vta.layers import Conv, Layer, Tensor, block_of, reads
from heddle.backends.vta.lower import Lowering, lower
from heddle.backends.vta.patterns import PATTERNS
from heddle.backends.vta.program import IMAGES, emit, sources
from heddle.backends.vta.recall import fetch_region, region_key, store_region
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
        return PATTERNS

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
    lowering = lowered(region)
    layers, patched = unfold_first(config, lowering, region.body.inputs, region.body.outputs)
    ends = ({v.name for v in region.body.inputs}, {v.name for v in region.body.outputs})
    offsets, workspace = place_tensors(config, layers, *ends)
    places = {name: (1, offset // config.beat_bytes) for name, offset in offsets.items()}
    emitted = emit(config, layers, {IMAGES: (0, 0), **places}.__getitem__)
    section = Section(region.name, emitted.instructions)
    program = Program(config, [section], [Binding("image"), Binding("workspace")], emitted.image)
    verify(program, Sizes(workspace=workspace))

    def port(value: Value) -> dict[str, JSON]:
        tensor = lowering.tensors[value]
        return PortLayout(
            tensor.batch, tensor.channels, tensor.height, tensor.width, block_of(config), offsets[value.name],
            lowering.form(value), patched.get(value.name),
        ).to_json()  # fmt: skip

    meta = {
        "config": config.name,
        "inputs": [port(value) for value in region.body.inputs],
        "outputs": [port(value) for value in region.body.outputs],
        "instructions": len(emitted.instructions),
        "image_bytes": len(emitted.image),
        "layers": [describe(layer, lowering.nodes[layer.output.name]) for layer in layers],
        "owners": [[owner, len(list(same))] for owner, same in groupby(emitted.owners)],
    }
    return to_bytes(program), {"workspace": workspace, "meta": meta}


def lowered(region: Region) -> Lowering:
    """The layers of a region, in the order in which they run."""
    positions = {node.results[0]: at for at, node in enumerate(region.body.nodes)}
    matches = sorted(region.matches, key=lambda match: max(positions[v] for v in match.outputs))
    return lower(matches, region.body.outputs)


def describe(layer: Layer, nodes: Sequence[str]) -> dict[str, JSON]:
    """A layer as reports name it: what it is, which ONNX nodes it computes, its multiply-accumulates."""
    described: dict[str, JSON] = {"name": layer.name, "kind": type(layer).__name__.lower(), "nodes": list(nodes)}
    if not isinstance(layer, Conv):
        return {**described, "macs": 0, "kernel": [], "depthwise": False}
    kernel = list(layer.weights.shape[2:])
    return {**described, "macs": layer.macs, "kernel": kernel, "depthwise": layer.groups == layer.input.channels > 1}


def _port(value: Value) -> Port:
    return Port(value.name, dtype_name(value.dtype), value.shape)


def unfold_first(
    config: Config, lowering: Lowering, inputs: Sequence[Value], outputs: Sequence[Value]
) -> tuple[list[Layer], dict[str, Patches]]:
    """Convolutions of few channels over a region's input become 1x1 ones over windows that the driver lays out.

    Three channels in a block of sixteen would leave four fifths of the array idle.
    """
    layers, patched = list(lowering.layers), {}
    lanes = block_of(config)
    entering = {value.name for value in inputs} - {value.name for value in outputs}
    for at, layer in enumerate(layers):
        if not isinstance(layer, Conv) or layer.groups != 1 or layer.input.name not in entering:
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
    config: Config, layers: Sequence[Layer], inputs: set[str], outputs: set[str]
) -> tuple[dict[str, int], int]:
    """The byte offset of each tensor in the workspace, and its size; tensors that are never alive together share."""
    tensors: dict[str, Tensor] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for at, layer in enumerate(layers):
        for tensor in (*reads(layer), layer.output):
            known = tensors.get(tensor.name)
            if known is None or tensor.nbytes(config) > known.nbytes(config):
                tensors[tensor.name] = tensor
            first.setdefault(tensor.name, -1 if tensor.name in inputs else at)
            last[tensor.name] = len(layers) if tensor.name in outputs else at
    placed: list[tuple[int, int, str]] = []
    offsets: dict[str, int] = {}
    for name in sorted(tensors, key=lambda n: (-tensors[n].nbytes(config), n)):
        size = -(-tensors[name].nbytes(config) // ALIGNMENT) * ALIGNMENT
        at = 0
        for start, end, other in sorted(placed):
            if first[name] <= last[other] and first[other] <= last[name] and start < at + size and at < end:
                at = end
        offsets[name] = at
        placed.append((at, at + size, name))
    return offsets, max((end for _, end, _ in placed), default=0)
