"""Which elements GEMM and ALU touch: index arrays without the instruction's bases, worked out once for each shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from heddle.simulators.vta.stream import Step, register
from numpy.typing import NDArray

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix product in a GEMM: the vectors `src[r, :]` times the tiles `wgt[c, :]`, for `dst[r, c]`."""

    dst: Index
    src: Index
    wgt: Index


@dataclass(frozen=True, eq=False)
class Walk:
    """The iterations of a GEMM or ALU: what each loop iteration adds to an index, and what each micro-op adds.

    `loops` and `micro` have the columns dst, src, wgt. Loop iterations are in the order of execution; those of
    depthwise that only warm up have a destination all the same.
    """

    loops: Index
    micro: Index

    @property
    def iterations(self) -> int:
        return len(self.loops) * len(self.micro)

    def indices(self, column: int) -> Index:
        """The indices of one kind, a row per loop iteration, a column per micro-op."""
        return self.loops[:, column, None] + self.micro[None, :, column]

    @cached_property
    def runs(self) -> Sequence[Index]:
        """The micro-ops of each run of equal destinations."""
        starts = np.flatnonzero(np.diff(self.micro[:, 0])) + 1
        return np.split(np.arange(len(self.micro)), starts)

    @cached_property
    def run_dst(self) -> Index:
        """The destination of each run of each loop iteration, in the order of execution."""
        first = [run[0] for run in self.runs]
        return self.loops[:, 0, None] + self.micro[None, first, 0]

    @cached_property
    def distinct(self) -> bool:
        """No two runs have the same destination."""
        return distinct(self.run_dst)

    @cached_property
    def dst(self) -> Index:
        return touched(self.run_dst)

    @cached_property
    def src(self) -> Index:
        return touched(self.indices(1))

    @cached_property
    def wgt(self) -> Index:
        return touched(self.indices(2))

    @cached_property
    def products(self) -> Sequence[Product]:
        """The walk as few matrix products: runs with equal sources share one, and loop iterations with equal tiles."""
        shared: dict[tuple[bytes, int], list[tuple[Index, Index]]] = {}
        for tile in np.unique(self.loops[:, 2]):
            rows = np.flatnonzero(self.loops[:, 2] == tile)
            for run in self.runs:
                src = self.loops[rows, 1, None] + self.micro[None, run, 1]
                shared.setdefault((src.tobytes(), len(run)), []).append((rows, run))
        return [self._product(members) for members in shared.values()]

    def _product(self, members: list[tuple[Index, Index]]) -> Product:
        rows, run = members[0]
        src = self.loops[rows, 1, None] + self.micro[None, run, 1]
        wgt = np.stack([self.loops[r[0], 2] + self.micro[u, 2] for r, u in members])
        dst = np.stack([self.loops[r, 0] + self.micro[u[0], 0] for r, u in members], axis=1)
        return Product(dst, src, wgt)


def touched(index: Index) -> Index:
    """The different values of an index array, ascending."""
    mask = np.zeros(int(index.max(initial=-1)) + 1, bool)
    mask[index.reshape(-1)] = True
    return np.flatnonzero(mask)


def distinct(index: Index) -> bool:
    """Whether no value occurs twice."""
    return bool(np.bincount(index.reshape(-1)).max(initial=0) <= 1)


def walk(step: Step, micro: Index, sources: int) -> Walk:
    """The walk of a GEMM or ALU over micro-ops (rows of dst, src, wgt); src is of a memory of `sources` elements."""
    loop = register(step, "LOOP")
    inner = step["n2"] + (step["warm"] if step.name == "GEMM" else 0)
    grid = np.indices((step["n0"], step["n1"], inner)).reshape(3, -1).T
    factors = np.array([[loop[f"{kind}{level}"] for kind in ("dst", "src", "wgt")] for level in range(3)])
    factors[:, 1] &= sources - 1  # of ALU, fields as wide as an inp index hold an acc index
    return Walk(grid @ factors, micro)


def box(step: Step, strides: tuple[int, int, int]) -> Index:
    """The offsets of a box of z, y, x items, x fastest, with the strides of z, y and x."""
    z, y, x = (np.arange(step[name]) * stride for name, stride in zip("zyx", strides, strict=True))
    return (z[:, None, None] + y[None, :, None] + x[None, None, :]).reshape(-1)
