"""Where a region's cycles go, counted by the hardware's own counters instead of predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from heddle.backends.vta.timeline import LayerTime, described, timeline
from heddle.core.runtime.artifact import Artifact
from heddle.hw.vta.description import INSTRUCTION_BITS
from heddle.simulators.vta.program import from_bytes
from heddle.simulators.vta.rtl import Memory, Rtl, build_rtl

ALIGNMENT = 64


def counted(artifact: Artifact, memory: Memory | None = None) -> tuple[LayerTime, ...]:
    """The layers of a compiled region with what each adds to the counters of the RTL.

    For each layer the program is run from its start to the layer's last instruction: what a layer adds is the
    difference to the run before. The cycles of all layers sum to those of the program.
    """
    program = from_bytes(artifact.code)
    (section,) = program.sections
    *instructions, finish = section.instructions
    _, owners = described(artifact, len(section.instructions))
    start = -(-len(program.image) // ALIGNMENT) * ALIGNMENT
    code = start + -(-artifact.workspace // ALIGNMENT) * ALIGNMENT
    data = np.zeros(code + len(section.instructions) * INSTRUCTION_BITS // 8, np.uint8)
    data[: len(program.image)] = np.frombuffer(program.image, np.uint8)
    bases = [(0 if binding.kind == "image" else start) + binding.offset for binding in program.bindings]
    rtl = Rtl(program.config, build_rtl(program.config), data, memory or Memory())
    found: list[LayerTime] = []
    before: Mapping[str, int] = {}
    try:
        for layer in timeline(artifact, memory):
            end = int(np.flatnonzero(owners[:-1] == layer.number)[-1]) + 1
            counters = rtl.run([*instructions[:end], finish], code, bases)
            added = {name: count - before.get(name, 0) for name, count in counters.items()}
            found.append(replace(
                layer, start=before.get("cycles", 0), cycles=added["cycles"],
                gemm=added["compute_gemm"], alu=added["compute_alu"],
                wait_load=added["compute_wait_load"], wait_store=added["compute_wait_store"],
                read_bytes=added["read_beats"] * program.config.beat_bytes,
                written_bytes=added["write_beats"] * program.config.beat_bytes,
            ))  # fmt: skip
            before = counters
    finally:
        rtl.close()
    return tuple(found)
