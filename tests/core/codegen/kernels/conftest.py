"""Compiling kernels for a target, running them on numpy arrays between guard pages, and the targets that run here."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from itertools import count

import llvmlite.binding as llvm
import pytest
from heddle.core.codegen import target as targets
from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import Target
from numpy.typing import NDArray

from tests.guarded import guarded

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()

NAMED = {
    "sse2": targets.x86_64(),
    "avx2": targets.avx2(),
    "avx512": targets.avx512(),
    "amx": targets.amx(),
    "aarch64": targets.aarch64(),
}
RUNNABLE = [name for name, target in NAMED.items() if set(target.features) <= set(targets.host().features)]
_numbers = count()


def machine(target: Target, *, relocation: str = "pic") -> llvm.TargetMachine:
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.feature_string, opt=3, reloc=relocation
    )


def optimized(functions: Sequence[Function], target: Target) -> llvm.ModuleRef:
    made = llvm.parse_assembly(module(functions, target.triple))
    made.verify()
    options = llvm.create_pipeline_tuning_options(2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine(target), options)
    builder.getModulePassManager().run(made, builder)
    return made


class Native:
    """Machine code of kernels for one target."""

    def __init__(self, name: str) -> None:
        self.target = NAMED[name]
        self._jit = llvm.create_lljit_compiler(machine(self.target))
        self._kept: list[object] = []

    def __call__(self, functions: Sequence[Function], *arrays: NDArray | None) -> None:
        """Compile the functions and call the last of them with the arrays' addresses."""
        image = machine(self.target).emit_object(optimized(functions, self.target))
        entry = functions[-1].name
        library = llvm.JITLibraryBuilder().add_object_img(image).add_current_process().export_symbol(entry)
        linked = library.link(self._jit, f"library{next(_numbers)}")
        self._kept.append(linked)
        pointers = [None if array is None else array.ctypes.data for array in arrays]
        pointers += [None] * (len(functions[-1].parameters) - len(pointers))  # no share: the work is not divided
        ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(pointers))(linked[entry])(*pointers)


@pytest.fixture(params=RUNNABLE)
def native(request: pytest.FixtureRequest) -> Native:
    return Native(request.param)


@pytest.fixture(scope="session")
def assemble() -> Callable[[Sequence[Function], Target], str]:
    """The assembly text of kernels for any target, this machine's or not."""
    return lambda functions, target: machine(target).emit_assembly(optimized(functions, target))


@pytest.fixture(scope="session")
def guard() -> Callable[[NDArray], NDArray]:
    return guarded
