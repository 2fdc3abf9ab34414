"""oneDNN as a backend: its patterns, its options, and regions compiled to programs of primitives."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from heddle.backends.onednn.chains import chains
from heddle.backends.onednn.heads import lower_chain
from heddle.backends.onednn.images import Images
from heddle.backends.onednn.integer_patterns import INTEGER_PATTERNS
from heddle.backends.onednn.library import WEIGHTS, library
from heddle.backends.onednn.loop import native_loop
from heddle.backends.onednn.lower import Lowering
from heddle.backends.onednn.memory import place
from heddle.backends.onednn.operators import lower_node
from heddle.backends.onednn.patterns import REAL_PATTERNS
from heddle.backends.onednn.program import Program, to_json
from heddle.backends.onednn.quantization import VNNI
from heddle.backends.onednn.spelling import spelled
from heddle.core.codegen.target import host
from heddle.core.errors import BackendError, DeviceError
from heddle.core.pattern import Pattern
from heddle.core.plugin import Backend, Figures, Region, Tolerance
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.cpu import machine

ROUNDED = ("quantize", "qlinear_conv", "qlinear_matmul")
"""Patterns of which a sum may lie between two quanta."""

WITHOUT_SPECIALS = (
    *("relu", "clip", "max", "min", "max_pool", "global_max_pool", "reducemax", "reducemin"),
    *("exp", "hardsigmoid", "softmax", "log_softmax", "linear_by_scales", "linear_by_sizes"),
)
"""Patterns whose results are not IEEE 754's where data are NaN or infinite.

Maxima are the processor's, which take the other number for NaN, and begin with the least finite one; exponentials clip
their argument so; linear resampling multiplies samples by weights of zero as well.
"""


@dataclass(frozen=True)
class OnednnOptions:
    """`threads`: how many a region uses; `bf16`: multiply in bfloat16 where the library gains by it.

    `exact`: multiply integers as such only where no sum of the library's saturates, which is everywhere with VNNI.
    """

    threads: int = 1
    bf16: bool = False
    exact: bool = True


class Onednn(Backend):
    """Intel's oneDNN on the processor."""

    name: ClassVar[str] = "onednn"
    Options = OnednnOptions
    tolerance: ClassVar[Tolerance] = Tolerance(integers=1, specials=False)
    """Of all patterns together; `tolerance_of` tells them apart."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        if self.options.threads < 1:
            raise BackendError(f"onednn: threads is {self.options.threads}, 1 or more is expected")
        try:
            library()
        except DeviceError as error:
            raise BackendError(str(error)) from None

    @property
    def patterns(self) -> Sequence[Pattern]:
        return (*REAL_PATTERNS, *INTEGER_PATTERNS)

    @property
    def figures(self) -> Figures:
        """The speeds of the processor by the width of its vectors, a little below what primitives reach."""
        target = host()
        core = 1e11 if target.has("avx512f") else 7e10 if target.has("avx2") else 2e10
        whole = core * self.options.threads
        integers = 4 * whole if target.has(VNNI) else whole
        return Figures({"int8": integers, "uint8": integers, "*": whole}, bandwidth=1.5e10, launch=3e-6)

    def tolerance_of(self, patterns: Collection[Pattern]) -> Tolerance:
        names = {pattern.name for pattern in patterns}
        return Tolerance(integers=int(not names.isdisjoint(ROUNDED)), specials=names.isdisjoint(WITHOUT_SPECIALS))

    def compile(self, region: Region) -> Artifact:
        body = spelled(region)
        vnni = host().has(VNNI)
        lowering = Lowering(body, vnni or not self.options.exact, Images(body, host().has("avx512f")))
        ends, inside = chains(body, lowering.multiplier)
        for node in body.nodes:
            if node in ends:
                lower_chain(lowering, ends[node])
            elif id(node) not in inside:
                lower_node(lowering, node)
        lowering.finish()
        tensors, workspace = place(lowering.tensors, lowering.primitives)
        relies = self.options.exact and vnni and any(WEIGHTS in one.scales for one in lowering.primitives)
        program = Program(tensors, tuple(lowering.primitives), self.options.threads, self.options.bf16)
        return Artifact(
            backend=self.name,
            device="onednn",
            signature=region.signature,
            code=native_loop(),
            constants=lowering.constants,
            workspace=workspace,
            meta={
                "machine": machine(),
                "features": [VNNI] if relies else [],
                "program": to_json(program),
                "faults": [f"primitive {n} ({one.kind}) failed" for n, one in enumerate(program.primitives, 1)],
            },
            nodes=tuple(dict.fromkeys(node.name for node in region.body.nodes if node.name)),
        )
