"""From LLVM's text to machine code: units compiled apart, fetched from the cache where they are known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm
from heddle.core import cache as objects
from heddle.core.codegen.elf import link, read, undefined
from heddle.core.codegen.library import library
from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import Target
from heddle.core.errors import BackendError

_RECIPE = "1"
"""Changes whenever the way from text to object does."""


@dataclass(frozen=True)
class Unit:
    """A module's text, to be one object; `explicit` when its vectors and loops are already as they should be."""

    text: str
    explicit: bool = False

    def key(self, target: Target) -> str:
        """What the object depends on, as a digest."""
        version = ".".join(map(str, llvm.llvm_version_info))
        parts = (_RECIPE, version, target.triple, target.cpu, target.feature_string, str(self.explicit), self.text)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def unit(function: Function, stem: str, target: Target) -> tuple[str, Unit]:
    """A unit of one function under a name that its content gives it, so that equal kernels are one; and the name."""
    function.name = "placeholder"
    digest = hashlib.sha256(module([function], target.triple).encode()).hexdigest()[:16]
    function.name = f"{stem}_{digest}"
    return function.name, Unit(module([function], target.triple))


def units_of(functions: Sequence[Function], target: Target) -> tuple[str, Unit]:
    """A unit of a kernel in explicit vectors, whose entry is last, under a name that its content gives it."""
    entry = functions[-1]
    digest = hashlib.sha256(module(functions, target.triple).encode()).hexdigest()[:16]
    entry.name, entry.internal = f"{entry.name}_{digest}", False
    return entry.name, Unit(module(functions, target.triple), explicit=True)


def shared_object(units: Sequence[Unit], exports: Sequence[str], target: Target) -> bytes:
    """One loadable object of all the units; what LLVM calls of its own accord is added to them."""
    distinct = list(dict.fromkeys(units))
    compiled = [read(object_of(item, target)) for item in distinct]
    for _ in range(2):  # a function of the library may itself call another
        for name in undefined(compiled):
            extra = library(name, target)
            if extra is not None:
                compiled.append(read(object_of(Unit(extra), target)))
    return link(compiled, exports)


def object_of(item: Unit, target: Target) -> bytes:
    """A unit's object, from the cache or compiled and then cached."""
    key = item.key(target)
    data = objects.fetch(key)
    if data is None:
        data = compile_text(item.text, target, item.explicit)
        objects.store(key, data)
        _evict_once()
    return data


def compile_text(text: str, target: Target, explicit: bool = False) -> bytes:
    """An object from a module's text; BackendError with LLVM's words if it is no valid module."""
    machine = _machine(target)
    with optimized(text, machine, 1 if explicit else 3, "host: LLVM refuses the code that was generated") as made:
        return bytes(machine.emit_object(made))


def optimized(text: str, machine: llvm.TargetMachine, level: int, refused: str) -> llvm.ModuleRef:
    """The module of a text after LLVM's passes; BackendError, `refused` with LLVM's words, if it is no valid one."""
    try:
        parsed = llvm.parse_assembly(text)
        parsed.verify()
    except RuntimeError as error:
        raised = BackendError(f"{refused}: {str(error).strip()}")
        raised.add_note(text)
        raise raised from None
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(level))
    builder.getModulePassManager().run(parsed, builder)
    return parsed


@cache
def _machine(target: Target) -> llvm.TargetMachine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()  # inline assembly of intrinsics
    described = llvm.Target.from_triple(target.triple)
    return described.create_target_machine(
        cpu=target.cpu, features=target.feature_string, opt=3, reloc="pic", codemodel="small"
    )


@cache
def _evict_once() -> None:
    """Keep the cache within its limit; looking once per process is enough."""
    objects.evict()
