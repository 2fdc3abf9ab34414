"""The static check of a program: form, tokens, capacity, bounds and hazards, without computing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.program import Binding, Program

ALIGNMENT = 64


@dataclass(frozen=True)
class Sizes:
    """The sizes in bytes of the buffers that a program's bindings may name."""

    inputs: Sequence[int] = ()
    outputs: Sequence[int] = ()
    constants: Mapping[str, int] = field(default_factory=dict)
    workspace: int = 0


def verify(program: Program, sizes: Sizes) -> None:
    """Raise FaultError at the first instruction that could go wrong on the device, whatever the data.

    Micro-ops must come from the program's image: they say which elements are touched.
    """
    starts: dict[tuple[str, str, int], int] = {}
    at = 0
    spans = [_span(program, binding, sizes) for binding in program.bindings]
    for binding, span in zip(program.bindings, spans, strict=True):
        key = (binding.kind, binding.name, binding.number)
        if key not in starts:
            starts[key] = at
            at += -(-span // ALIGNMENT) * ALIGNMENT
    memory = np.zeros(at, np.uint8)
    bases: list[int] = []
    limits: list[int] = []
    for binding, span in zip(program.bindings, spans, strict=True):
        start = starts[binding.kind, binding.name, binding.number]
        if binding.kind == "image":
            memory[start : start + span] = np.frombuffer(program.image, np.uint8)
        if binding.offset % program.config.beat_bytes:
            raise FaultError("bounds", -1, f"base register {len(bases)}: offset {binding.offset} is not a whole beat")
        bases.append(start + binding.offset)
        limits.append(span - binding.offset)
    model = Functional(program.config, memory, compute=False)
    for section in program.sections:
        try:
            model.run(section.instructions, bases, limits)
        except FaultError as fault:
            fault.add_note(f"section {section.name}")
            raise


def _span(program: Program, binding: Binding, sizes: Sizes) -> int:
    match binding.kind:
        case "image":
            return len(program.image)
        case "constant":
            return sizes.constants[binding.name]
        case "workspace":
            return sizes.workspace
        case "input":
            return sizes.inputs[binding.number]
        case "output":
            return sizes.outputs[binding.number]
