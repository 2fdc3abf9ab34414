"""The processor's floating-point modes: what is too small for a normal number may count as zero while code runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I32, I64, Value, constant

_FLUSH_MXCSR = 0x8040
"""Flush-to-zero and denormals-are-zero of x86's MXCSR (Intel SDM volume 1, 10.2.3)."""

_FLUSH_FPCR = 1 << 24
"""FZ of AArch64's FPCR (Arm ARM, C5.2.8)."""


def modes(f: Function, target: Target) -> Value:
    """The modes of this thread, as i64."""
    if not target.x86:
        return f.call("llvm.aarch64.get.fpcr", I64, [])
    slot = f.slot(I32)
    f.call("llvm.x86.sse.stmxcsr", None, [slot.address])
    return f.convert("zext", f.get(slot), I64)


def set_modes(f: Function, target: Target, value: Value) -> None:
    if not target.x86:
        f.call("llvm.aarch64.set.fpcr", None, [value])
        return
    slot = f.variable(f.convert("trunc", value, I32))
    f.call("llvm.x86.sse.ldmxcsr", None, [slot.address])


@contextmanager
def flushing(f: Function, target: Target) -> Iterator[None]:
    """Within, what is too small for a normal number counts as zero; after, everything is as the caller had it."""
    before = modes(f, target)
    flush = _FLUSH_MXCSR if target.x86 else _FLUSH_FPCR
    set_modes(f, target, f.binary("or", before, constant(flush, I64)))
    yield
    set_modes(f, target, before)
