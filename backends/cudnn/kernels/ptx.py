"""From kernels to PTX, by LLVM's own code generator; made again only for kernels that are new."""

from __future__ import annotations

import hashlib
from functools import cache

import llvmlite.binding as llvm
from heddle.backends.cudnn.kernels.code import TRIPLE, KernelFunction, device_function
from heddle.backends.cudnn.kernels.grid import Grid
from heddle.core import cache as objects
from heddle.core.codegen.build import optimized
from heddle.core.codegen.llvm import module
from heddle.core.codegen.target import Target

_RECIPE = "1"
"""Changes whenever the way from text to PTX does."""


class Kernels:
    """The kernels of one program; equal ones are one."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._functions: dict[str, KernelFunction] = {}

    def add(self, grid: Grid) -> str:
        """The name of a kernel, which its content gives it."""
        anonymous = device_function(grid, "kernel", self.target)
        name = f"heddle_{hashlib.sha256(module([anonymous], extra=anonymous.shared).encode()).hexdigest()[:16]}"
        if name not in self._functions:
            self._functions[name] = device_function(grid, name, self.target)
        return name

    def ptx(self) -> str:
        """The PTX of all of them, nothing when there are none."""
        functions = list(self._functions.values())
        if not functions:
            return ""
        text = module(functions, TRIPLE, "\n".join(f.shared for f in functions if f.shared))
        version = ".".join(map(str, llvm.llvm_version_info))
        parts = ("ptx", _RECIPE, version, self.target.cpu, self.target.feature_string, text)
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        found = objects.fetch(key)
        if found is None:
            found = compiled(text, self.target).encode()
            objects.store(key, found)
        return found.decode()


def compiled(text: str, target: Target) -> str:
    """The PTX of a module's text; BackendError with LLVM's words if it is no valid module."""
    machine = _machine(target)
    with optimized(text, machine, 3, "cudnn: LLVM refuses the kernels that were generated") as made:
        return str(machine.emit_assembly(made))


@cache
def _machine(target: Target) -> llvm.TargetMachine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    described = llvm.Target.from_triple(target.triple)
    return described.create_target_machine(cpu=target.cpu, features=target.feature_string, opt=3)
