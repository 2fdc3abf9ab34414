"""cuDNN as a backend: its patterns, its options, and regions compiled to programs, with or without a GPU."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from heddle.backends.cudnn.calls import Call
from heddle.backends.cudnn.chips import Chip, chip_named
from heddle.backends.cudnn.kernels.code import target_of
from heddle.backends.cudnn.kernels.grid import Grid
from heddle.backends.cudnn.kernels.ptx import Kernels
from heddle.backends.cudnn.lower import Translation, translate
from heddle.backends.cudnn.patterns import ATTENTION, patterns
from heddle.backends.cudnn.program import DEVICE_MEMORY, Launch, Place, Plan, Product, Program, Step, to_bytes
from heddle.core.codegen.memory import Place as Planned
from heddle.core.codegen.target import Target
from heddle.core.ir import Value, dtype_name
from heddle.core.pattern import Pattern
from heddle.core.plugin import Backend, Figures, Region, Tolerance
from heddle.core.plugin.figures import Link
from heddle.core.runtime.artifact import Artifact, Port, Signature

FAULTS = 64
"""Bytes at the start of the workspace, for the number of the fault that occurred."""
WITHOUT_SPECIALS = frozenset(("resize", "convtranspose"))
"""Patterns whose kernels and calls multiply other zeros than their definitions do, which counts beside infinity alone.

A resize is defined as a sum of every sample of an axis, most times zero, where kernels read those that count; a
transposed convolution whose pads differ is computed over an image with rows of zeros.
"""


@dataclass(frozen=True)
class CudnnOptions:
    """`device`: the GPU to compile for, by name (h100, a100, l4...) or as sm_80; no GPU is needed for it.

    `tf32`: float32 convolutions and products may round their factors to TF32, which is far faster.
    """

    device: str = "sm_80"
    tf32: bool = False


class Cudnn(Backend):
    """NVIDIA's GPUs, by cuDNN, cuBLASLt and kernels of Heddle's own."""

    name: ClassVar[str] = "cudnn"
    Options = CudnnOptions
    experimental: ClassVar[str] = "its programs have not yet run on a GPU"
    tolerance: ClassVar[Tolerance] = Tolerance(relative=2**-5, absolute=4 * 2**-24, specials=False)
    """Of all patterns together: that of fused attention, which holds its scores in float32. The definition rounds them
    to float16, which moves a score below 64 by up to 2^-6, and what softmax makes of it by as much of itself, above and
    below the line; numbers are infinite in float16 that float32 has. Absolutely, four of float16's least numbers."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.chip: Chip = chip_named(self.options.device)

    @property
    def patterns(self) -> Sequence[Pattern]:
        return patterns(self.chip)

    @property
    def figures(self) -> Figures:
        """What the data sheet promises, halved: what large layers reach. The link is PCIe of the fourth generation."""
        chip = self.chip
        half = chip.half / 2
        return Figures(
            operations={
                "float32": (chip.tf32 if self.options.tf32 else chip.float32) / 2,
                "float16": half,
                "bfloat16": half,
                "*": chip.float32 / 2,
            },
            bandwidth=chip.bandwidth / 2,
            launch=1e-5,
            memory=DEVICE_MEMORY,
            link=Link(1e-5, 2e10),
            capacity=chip.memory,
        )

    def tolerance_of(self, patterns: Collection[Pattern]) -> Tolerance:
        if any(pattern.name == ATTENTION for pattern in patterns):
            return self.tolerance
        return Tolerance(relative=2e-3, specials=WITHOUT_SPECIALS.isdisjoint(pattern.name for pattern in patterns))

    def compile(self, region: Region) -> Artifact:
        attentions = [match for match in region.matches if match.pattern.name == ATTENTION]
        made = translate(region.body, attentions, self.options.tf32)
        program = program_of(made, target_of(self.chip.capability), self.chip.capability)
        return Artifact(
            backend=self.name,
            device="cudnn",
            signature=Signature(tuple(map(_port, region.body.inputs)), tuple(map(_port, region.body.outputs))),
            code=to_bytes(program),
            constants=made.constants,
            workspace=FAULTS + made.memory.workspace,
            meta={"device": self.chip.name, "steps": [type(step.what).__name__.lower() for step in program.steps]},
            nodes=tuple(dict.fromkeys(node.name for node in region.body.nodes if node.name)),
        )


def program_of(made: Translation, target: Target, capability: int) -> Program:
    """The translation as plain data, with the PTX of its kernels."""
    kernels = Kernels(target)
    steps = []
    for work in made.works:
        what = _launch(work.what, kernels) if isinstance(work.what, Grid) else _called(work.what)
        steps.append(Step(what, tuple(_place(made.memory.places[value]) for value in work.arguments), work.node))
    return Program(tuple(steps), kernels.ptx(), capability, made.faults)


def _launch(grid: Grid, kernels: Kernels) -> Launch:
    return Launch(kernels.add(grid), grid.block.extent, grid.thread.extent)


def _called(call: Call) -> Plan | Product:
    assert call.what is not None
    return call.what


def _place(place: Planned) -> Place:
    if place.kind == "constants":
        return Place("constants", place.name)
    return Place(place.kind, place.number + (FAULTS if place.kind == "workspace" else 0))


def _port(value: Value) -> Port:
    return Port(value.name, dtype_name(value.dtype), value.shape, memory=DEVICE_MEMORY)
