"""The native loop that runs a region: binds the caller's buffers, then executes each primitive by address."""

from __future__ import annotations

from functools import cache

from heddle.backends.onednn.frames import BINDING, FRAME, STEP
from heddle.core.codegen.build import Unit, shared_object
from heddle.core.codegen.calling import calling
from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import host
from heddle.core.codegen.values import I32, I64, PTR, Type, Value, constant
from heddle.core.runtime.abi import CALL, ENTRY

_PARAMETERS = ("inputs", "outputs", "constants", "workspace", "services", "team")


@cache
def native_loop() -> bytes:
    """The loop as a shared object for this machine, with the host's interface and a frame for its workspace.

    It returns 0, or the number from 1 of the primitive that failed. The thread count is the caller's again afterwards.
    """
    target = host()
    units = [Unit(module([_loop()], target.triple)), Unit(calling(target))]
    return shared_object(units, [ENTRY, CALL], target)


def _loop() -> Function:
    f = Function(ENTRY, [(name, "ptr") for name in _PARAMETERS], I32)

    def word(name: str, type: Type = PTR) -> Value:
        return f.load(type, f.gep(f["workspace"], FRAME.index(name), I64))

    bind = word("bind")
    for table in ("inputs", "outputs"):
        with f.loop(0, word(f"{table} bound", I64)) as i:
            binding = f.gep(word(table), f.mul(i, constant(len(BINDING), I64)), I64)
            buffer = f.load(PTR, f.gep(f[table], f.load(I64, f.gep(binding, BINDING.index("buffer"), I64)), PTR))
            f.call_pointer(bind, I32, [f.load(PTR, f.gep(binding, BINDING.index("memory"), I64)), buffer])
    before = f.call_pointer(word("get_threads"), I32, [])
    f.call_pointer(word("set_threads"), None, [word("threads", I32)])
    fault, number = f.variable(constant(0, I32)), f.variable(constant(0, I64))
    with f.repeat() as (_, done):
        f.leave(done, f.compare("eq", f.get(number), word("steps made", I64)))
        step = f.gep(word("steps"), f.mul(f.get(number), constant(len(STEP), I64)), I64)
        primitive, count, arguments = (
            f.load(type, f.gep(step, STEP.index(name), I64))
            for name, type in (("primitive", PTR), ("count", I32), ("arguments", PTR))
        )
        status = f.call_pointer(word("execute"), I32, [primitive, word("stream"), count, arguments])
        f.set(number, f.add(f.get(number), constant(1, I64)))
        with f.when(f.compare("ne", status, constant(0, I32))):
            f.set(fault, f.convert("trunc", f.get(number), I32))
        f.leave(done, f.compare("ne", status, constant(0, I32)))
    f.call_pointer(word("set_threads"), None, [before])
    f.give(f.get(fault))
    return f
