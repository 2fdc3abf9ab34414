"""The backend that compiles any region for this machine's processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import llvmlite.binding as llvm
import numpy as np
from heddle.backends.llvm.choices import Choices, from_json, multiplications, to_json
from heddle.backends.llvm.measuring import prepared
from heddle.backends.llvm.speeds import figures_of
from heddle.backends.llvm.strategy import Kernels
from heddle.core.codegen import compile_region, refusal
from heddle.core.codegen import target as targets
from heddle.core.codegen.region import program
from heddle.core.codegen.target import Target
from heddle.core.codegen.trial import trusted
from heddle.core.errors import BackendError
from heddle.core.ir import Node
from heddle.core.plugin import Backend, Figures, Region, Tolerance
from heddle.core.plugin.recall import source_digest
from heddle.core.plugin.tuning import Choice, Problem, read_choices
from heddle.core.runtime.artifact import Artifact

_TARGETS: dict[str, Callable[[], Target]] = {
    "native": lambda: trusted(targets.host()),
    "x86-64": targets.x86_64,
    "avx2": targets.avx2,
    "avx512": targets.avx512,
    "amx": targets.amx,
    "aarch64": targets.aarch64,
}


HALVES = 3e-2
"""How far results of networks in bfloat16 may be: each product is off by up to 2^-8, and layers add up."""


@dataclass(frozen=True)
class HostOptions:
    """`target` is the machine to compile for: this one, or a baseline that more machines can run.

    `strict_math` keeps to sums of products in the order of their definition, without minimal filtering, and to
    numbers too small for a normal float. `precision` "bf16" rounds the operands of products with constants to bfloat16
    and sums them as floats: half the memory for weights, and quick where the processor has instructions for it.
    `tuning` is a file of records that `heddle tune` wrote: kernels are made as
    they choose.
    """

    target: Literal["native", "x86-64", "avx2", "avx512", "amx", "aarch64"] = "native"
    strict_math: bool = False
    tuning: str = ""
    precision: Literal["float32", "bf16"] = "float32"


class Host(Backend):
    """Compiles every region that consists of tensors of known shape."""

    name = "host"
    takes_all = True
    Options = HostOptions

    def __init__(self, options: HostOptions | None = None) -> None:
        super().__init__(options)
        if self.options.precision == "bf16" and self.options.strict_math:
            raise BackendError(
                "host: precision bf16 rounds what is multiplied, and strict_math forbids it; give up one"
            )

    def refuses(self, node: Node) -> str | None:
        return refusal(node)

    @property
    def tolerance(self) -> Tolerance:  # type: ignore[override] # what the class has for all, this has by its options
        return Tolerance(relative=HALVES) if self._halves else Tolerance()

    @property
    def remarks(self) -> tuple[str, ...]:
        return ("products with constants are of bfloat16, summed as floats",) if self._halves else ()

    @property
    def figures(self) -> Figures:
        return figures_of(self.target)

    @property
    def recipe(self) -> str:
        sources = source_digest("heddle.core", "heddle.backends.llvm")
        versions = (llvm.llvm_version_info, np.__version__)
        return repr((sources, versions, self.target, self.options, sorted(self._choices.known.items())))

    def compile(self, region: Region) -> Artifact:
        strict = self.options.strict_math
        choices = self._choices
        made = compile_region(region.body, self.target, Kernels(strict, choices), flush=not strict)
        meta = {**made.meta, "tuning": choices.digest()} if choices.taken else made.meta
        meta = {**meta, "precision": self.options.precision} if self._halves else meta
        return replace(made, backend=self.name, meta=meta)

    def problems(self, region: Region) -> list[Problem]:
        choices = self._choices
        program(region.body, self.target, Kernels(self.options.strict_math, choices))
        return [Problem(choices.key(kernel), str(kernel), kernel, multiplications(kernel)) for kernel in choices.asked]

    def candidates(self, problem: Problem) -> list[Choice]:
        return [to_json(schedule) for schedule in self._choices.candidates(problem.payload)]

    def measurement(self, problem: Problem, choice: Choice) -> Callable[[], float]:
        return prepared(problem.payload, from_json(choice), self.target)

    @property
    def _choices(self) -> Choices:
        path = self.options.tuning
        known = read_choices(path, self.name) if path else {}
        return Choices(self.target, self.options.strict_math, known, self._halves)

    @property
    def _halves(self) -> bool:
        return bool(self.options.precision == "bf16")

    @property
    def target(self) -> Target:
        """The machine that is compiled for."""
        name = self.options.target
        if name not in _TARGETS:
            raise BackendError(f"host: target is {name!r}, it must be one of {', '.join(_TARGETS)}")
        return _TARGETS[name]()
