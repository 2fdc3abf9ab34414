"""Matrix products by the kernel that their schedule is for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from heddle.core.codegen.kernels import gemm, tiled
from heddle.core.codegen.kernels.tail import NOTHING, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.target import Target
from numpy.typing import NDArray

Schedule = gemm.Schedule | tiled.Schedule


def product(name: str, target: Target, problem: gemm.Gemm, schedule: Schedule, tail: Tail = NOTHING) -> list[Function]:
    """The functions of the kernel, its entry last: `(a, b, out, operands..., scratch)`."""
    if isinstance(schedule, tiled.Schedule):
        return tiled.gemm(name, target, problem, schedule, tail, internal=False)
    return gemm.gemm(name, target, problem, schedule, tail, internal=False)


def packed(
    matrices: Iterable[NDArray[Any]], problem: gemm.Gemm, target: Target, schedule: Schedule
) -> tuple[NDArray[Any], int]:
    """Constant right operands as the kernel reads them, one after the other, and the elements of each."""
    if isinstance(schedule, tiled.Schedule):
        panels = [tiled.pack(matrix, problem) for matrix in matrices]
    else:
        panels = [gemm.pack(matrix, problem, target, schedule) for matrix in matrices]
    return np.concatenate(panels), panels[0].size
