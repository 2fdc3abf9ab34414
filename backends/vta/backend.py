"""The accelerator as a backend: its patterns, its options, and regions compiled to programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, ClassVar

from heddle.backends.vta.convolution import Tiling
from heddle.backends.vta.layers import Conv, Layer, MatMul, block_of
from heddle.backends.vta.lower import port_sizes
from heddle.backends.vta.matrices import loads_pixels_as_weights
from heddle.backends.vta.patterns import patterns
from heddle.backends.vta.placement import place_tensors, placed
from heddle.backends.vta.program import IMAGES, emit
from heddle.backends.vta.recall import version
from heddle.backends.vta.search import cycles, from_choice, is_tiled, key_of, shape_of, worthwhile
from heddle.core.ir import Value
from heddle.core.pattern import Pattern
from heddle.core.plugin import Backend, Figures, Region, Tolerance
from heddle.core.plugin.figures import Link
from heddle.core.plugin.tuning import Choice, Problem, read_choices
from heddle.core.runtime.artifact import JSON, Artifact
from heddle.hw.vta.config import Config, load_config
from heddle.simulators.vta.ports import PortLayout
from heddle.simulators.vta.program import Binding, Program, Section, to_bytes
from heddle.simulators.vta.verifier import Sizes, verify


@dataclass(frozen=True)
class VtaOptions:
    """`config`: the configuration of the accelerator, by name or as the path of a TOML file.

    `tuning` is a file of records that `heddle tune` wrote: convolutions are tiled as they choose.
    """

    config: str = "reference"
    tuning: str = ""


class Vta(Backend):
    """A VTA-like int8 tensor accelerator."""

    name: ClassVar[str] = "vta"
    Options = VtaOptions
    tolerance: ClassVar[Tolerance] = Tolerance(integers=1)
    exact: ClassVar[bool] = True
    """What tuning measures is modelled cycles, the same each time."""

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

    @property
    def recipe(self) -> str:
        return repr((version(), self.config.digest(), sorted(self._chosen.items(), key=lambda item: item[0])))

    def compile(self, region: Region) -> Artifact:
        code, rest = translate(self.config, region, self._chosen)
        return Artifact(
            backend=self.name,
            device="vta",
            signature=region.signature,
            code=code,
            workspace=rest["workspace"],
            meta=rest["meta"],
            nodes=tuple(node.name for node in region.body.nodes if node.name),
        )

    @property
    def _chosen(self) -> dict[str, Tiling]:
        """The tilings that the tuning records choose."""
        path = self.options.tuning
        known = read_choices(path, self.name) if path else {}
        return {key: from_choice(choice) for key, choice in known.items()}

    def problems(self, region: Region) -> list[Problem]:
        """Each convolution whose tiling is to be chosen."""
        config = self.config
        shapes = [shape_of(layer) for layer in placed(config, region).layers if is_tiled(layer, config)]
        return [Problem(key_of(config, shape), str(shape), shape, float(shape.layer.macs)) for shape in shapes]

    def candidates(self, problem: Problem) -> list[Choice]:
        """The tilings worth measuring."""
        return [asdict(tiling) for tiling in worthwhile(self.config, problem.payload)]

    def measurement(self, problem: Problem, choice: Choice) -> Callable[[], float]:
        """The cycles of a convolution by itself, by the cycle model: the same each time."""
        config, tiling = self.config, from_choice(choice)
        return lambda: float(cycles(config, problem.payload, tiling))


def translate(config: Config, region: Region, chosen: Mapping[str, Tiling]) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a region's program, and as JSON the size of its workspace and what the artifact's `meta` says."""
    made = placed(config, region)
    lowering, layers = made.lowering, made.layers
    inputs, outputs = region.body.inputs, region.body.outputs
    ports = {view.memory: view.nbytes for view in map(lowering.view, (*inputs, *outputs))}
    offsets, workspace = place_tensors(config, layers, made.entering, made.leaving, ports)
    places = {name: (1, offset // config.beat_bytes) for name, offset in offsets.items()}
    emitted = emit(config, layers, {IMAGES: (0, 0), **places}.__getitem__, chosen)
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
        return replace(layout, patches=made.windows.get(value.name)).to_json()

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


def describe(layer: Layer, nodes: Sequence[str]) -> dict[str, JSON]:
    """A layer as reports name it: what it is, which ONNX nodes it computes, its multiply-accumulates."""
    described: dict[str, JSON] = {"name": layer.name, "kind": type(layer).__name__.lower(), "nodes": list(nodes)}
    if not isinstance(layer, Conv):
        macs = layer.macs if isinstance(layer, MatMul) else 0
        return {**described, "macs": macs, "kernel": [], "depthwise": False}
    kernel = list(layer.weights.shape[2:])
    return {**described, "macs": layer.macs, "kernel": kernel, "depthwise": layer.groups == layer.input.channels > 1}
