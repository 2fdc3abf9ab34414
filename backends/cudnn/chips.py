"""GPUs by name, with the figures that plans and kernels depend on: what there is to compile for without having one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from heddle.core.errors import BackendError

OLDEST = 75
"""The first compute capability that cuDNN 9 runs on."""


@dataclass(frozen=True)
class Chip:
    """A GPU: its compute capability, multiprocessors, memory in bytes, and what its data sheet promises per second.

    `operations` are by element type, a multiply-add being two: of tensor cores, without sparsity.
    """

    name: str
    capability: int
    processors: int
    memory: int
    bandwidth: float
    float32: float
    tf32: float
    half: float

    @property
    def bfloat16(self) -> bool:
        """Whether it multiplies bfloat16."""
        return self.capability >= 80


GIB = 1 << 30
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("t4", 75, 40, 16 * GIB, 3.2e11, 8.1e12, 8.1e12, 6.5e13),
        Chip("a100", 80, 108, 80 * GIB, 2.0e12, 1.95e13, 1.56e14, 3.12e14),
        Chip("a10", 86, 72, 24 * GIB, 6.0e11, 3.12e13, 6.25e13, 1.25e14),
        Chip("l4", 89, 58, 24 * GIB, 3.0e11, 3.03e13, 6.0e13, 1.21e14),
        Chip("l40s", 89, 142, 48 * GIB, 8.64e11, 9.16e13, 1.83e14, 3.62e14),
        Chip("h100", 90, 132, 80 * GIB, 3.35e12, 6.7e13, 4.95e14, 9.89e14),
        Chip("h200", 90, 132, 141 * GIB, 4.8e12, 6.7e13, 4.95e14, 9.89e14),
    )
}


def chip_named(name: str) -> Chip:
    """A GPU by its name, or one that is known by its compute capability alone (`sm_80`), with modest figures."""
    if name in CHIPS:
        return CHIPS[name]
    found = re.fullmatch(r"sm_(\d{2,3})", name)
    if found is None:
        raise BackendError(f"cudnn: device is {name!r}; it must be one of {', '.join(CHIPS)}, or sm_80, sm_90...")
    capability = int(found.group(1))
    if capability < OLDEST:
        raise BackendError(f"cudnn: device is {name!r}; cuDNN 9 runs on sm_{OLDEST} and later")
    return Chip(name, capability, 40, 16 * GIB, 3.0e11, 1.0e13, 1.0e13, 6.0e13)
