"""The cycles of a program in which one node runs: what a waveform of that node shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from heddle.core.errors import ArtifactError
from heddle.core.runtime.artifact import Artifact
from heddle.hw.vta.isa import unit_of
from heddle.simulators.vta.cycle import moments, prepare
from heddle.simulators.vta.program import Program, Section
from heddle.simulators.vta.rtl import Memory

MARGIN = 16
"""Cycles that are shown before and after."""


def window(artifact: Artifact, program: Program, section: Section, node: str, timing: Memory) -> tuple[int, int]:
    """The first cycle of a node's instructions in a section and the one behind their last, by the cycle model.

    It is all of the section when the artifact does not tell the node's instructions from the others.
    """
    instructions = section.instructions
    image = np.frombuffer(program.image, np.uint8)
    bases = [binding.offset if binding.kind == "image" else -1 for binding in program.bindings]
    starts = moments(prepare(instructions, program.config, image, bases), timing).starts
    taken = int(starts[-1])
    mine = _owned(artifact, node, len(instructions))
    if not mine.any():
        return 0, taken
    follows = np.full(len(instructions), taken)  # when the unit of an instruction starts its next one
    latest = dict.fromkeys(("load", "compute", "store"), taken)
    for index in range(len(instructions) - 2, -1, -1):
        unit = unit_of(instructions[index])
        follows[index], latest[unit] = latest[unit], int(starts[index])
    return max(0, int(starts[mine].min()) - MARGIN), min(taken, int(follows[mine].max()) + MARGIN)


def _owned(artifact: Artifact, node: str, count: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which instructions belong to a node, by what the artifact says of its layers."""
    layers = cast(Sequence[Mapping[str, Any]], artifact.meta.get("layers") or ())
    runs = cast(Sequence[tuple[int, int]], artifact.meta.get("owners") or ())
    owners = np.repeat([owner for owner, _ in runs], [length for _, length in runs])
    if runs and len(owners) != count:
        raise ArtifactError(f"vta: the artifact tells the layers of {len(owners)} instructions, it has {count}")
    wanted = [number for number, layer in enumerate(layers) if node in (layer["name"], *layer["nodes"])]
    return np.isin(owners, wanted) if runs else np.zeros(count, bool)
