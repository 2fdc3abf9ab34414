"""The entry of a region, `heddle_run`: it calls the kernels in order and keeps the caller's floating-point state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from heddle.core.codegen.emit import attributes
from heddle.core.codegen.llvm import Function, Variable, module
from heddle.core.codegen.memory import Place
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I8, I32, I64, PTR, Value, constant
from heddle.core.runtime.abi import ENTRY

_FLUSH_MXCSR = 0x8040
"""Flush-to-zero and denormals-are-zero of x86's MXCSR (Intel SDM volume 1, 10.2.3)."""

_FLUSH_FPCR = 1 << 24
"""FZ of AArch64's FPCR (Arm ARM, C5.2.8)."""


@dataclass(frozen=True)
class Invocation:
    """One call of a kernel: where its arguments lie, and at which byte of them.

    A `plain` kernel takes the services first and gives a status, which is looked at only where it may tell of `faults`.
    """

    name: str
    arguments: tuple[tuple[Place, int], ...]
    faults: bool = False
    plain: bool = True


def entry(calls: Sequence[Invocation], constants: Sequence[str], target: Target, flush: bool) -> str:
    """The text of the module; `constants` are the names in the order in which they are passed."""
    parameters = [(name, "ptr") for name in ("inputs", "outputs", "constants", "workspace", "services")]
    f = Function(ENTRY, parameters, I32, attributes=attributes(target))
    status = f.variable(constant(0, I32))
    with _flushing(f, target) if flush else _nothing(), f.repeat() as (_, done):
        for call in calls:
            pointers = [_pointer(f, place, offset, constants) for place, offset in call.arguments]
            if not call.plain:
                f.call(call.name, None, pointers)
                continue
            result = f.call(call.name, I32, [f["services"], *pointers])
            if call.faults:
                f.set(status, result)
                f.leave(done, f.compare("ne", result, constant(0, I32)))
        f.leave(done)
    f.give(f.get(status))
    return module([f], target.triple)


def _pointer(f: Function, place: Place, offset: int, constants: Sequence[str]) -> Value:
    if place.kind == "workspace":
        return f.gep(f["workspace"], place.number + offset, I8)
    number = constants.index(place.name) if place.kind == "constants" else place.number
    return f.gep(f.load(PTR, f.gep(f[place.kind], number, PTR), align=8), offset, I8)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _flushing(f: Function, target: Target) -> Iterator[None]:
    """Within, what is too small for a normal number counts as zero; after, everything is as the caller had it."""
    if target.x86:
        before = _mxcsr(f)
        _set_mxcsr(f, f.binary("or", before, constant(_FLUSH_MXCSR, I32)))
        yield
        _set_mxcsr(f, before)
    else:
        kept = f.call("llvm.aarch64.get.fpcr", I64, [])
        f.call("llvm.aarch64.set.fpcr", None, [f.binary("or", kept, constant(_FLUSH_FPCR, I64))])
        yield
        f.call("llvm.aarch64.set.fpcr", None, [kept])


def _mxcsr(f: Function) -> Value:
    slot = f.slot(I32)
    f.call("llvm.x86.sse.stmxcsr", None, [slot.address])
    return f.get(slot)


def _set_mxcsr(f: Function, value: Value) -> None:
    slot: Variable = f.variable(value)
    f.call("llvm.x86.sse.ldmxcsr", None, [slot.address])
