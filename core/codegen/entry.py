"""The entry of a region, `heddle_run`: it calls the kernels in order and keeps the caller's floating-point state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from heddle.core.codegen.emit import attributes
from heddle.core.codegen.llvm import Division, Function, module
from heddle.core.codegen.memory import Place
from heddle.core.codegen.modes import flushing
from heddle.core.codegen.pieces import lane
from heddle.core.codegen.target import Target
from heddle.core.codegen.team import RECORD, TOGETHER
from heddle.core.codegen.values import I8, I32, I64, PTR, Value, constant
from heddle.core.runtime.abi import ENTRY

_TABLES = ("inputs", "outputs", "constants", "workspace", "services")


@dataclass(frozen=True)
class Invocation:
    """One call of a kernel: where its arguments lie, and at which byte of them.

    A `plain` kernel takes the services first and gives a status, which is looked at only where it may tell of `faults`.
    One in pieces takes its share of the work last; of the argument at the position `scratch` every thread has its own.
    """

    name: str
    arguments: tuple[tuple[Place, int], ...]
    faults: bool = False
    plain: bool = True
    division: Division | None = None
    scratch: int | None = None


@dataclass(frozen=True)
class Scratch:
    """The memory of helpers: it begins at a byte of the workspace, and each has so many bytes."""

    start: int
    size: int


def entry(calls: Sequence[Invocation], constants: Sequence[str], target: Target, flush: bool, scratch: Scratch) -> str:
    """The text of the module; `constants` are the names in the order in which they are passed."""
    f = Function(ENTRY, [(name, "ptr") for name in (*_TABLES, "team")], I32, attributes=attributes(target))
    status = f.variable(constant(0, I32))
    tables = {name: f[name] for name in _TABLES}
    jobs: list[Function] = []
    frame = f.slot(PTR, len(_TABLES)).address
    if any(call.division for call in calls):
        for number, name in enumerate(_TABLES):
            f.store(f[name], f.gep(frame, number, PTR))
    with flushing(f, target) if flush else nullcontext(), f.repeat() as (_, done):
        for call in calls:
            if call.division is not None:
                jobs.append(_job(f"heddle.job{len(jobs)}", call, constants, target, scratch))
                job = Value(f"@{jobs[-1].name}", PTR)
                division = [constant(number, I64) for number in (call.division.count, call.division.most)]
                record = Value(f"@heddle.record{len(jobs)}", PTR)
                f.call(TOGETHER, None, [f["team"], job, frame, *division, record])
                continue
            pointers = [_pointer(f, tables, place, offset, constants) for place, offset in call.arguments]
            result = _call(f, call, tables, pointers)
            if call.faults:
                f.set(status, result)
                f.leave(done, f.compare("ne", result, constant(0, I32)))
        f.leave(done)
    f.give(f.get(status))
    records = "\n".join(f"@heddle.record{number + 1} = internal global {RECORD}" for number in range(len(jobs)))
    return module([*jobs, f], target.triple, records)


def _job(name: str, call: Invocation, constants: Sequence[str], target: Target, scratch: Scratch) -> Function:
    """`(frame, share)`: one thread's part of a kernel in pieces; the frame is a table of tables."""
    f = Function(name, [("frame", "ptr"), ("share", "ptr")], attributes=attributes(target))
    tables = {name: f.load(PTR, f.gep(f["frame"], i, PTR), align=8) for i, name in enumerate(_TABLES)}
    pointers = [_pointer(f, tables, place, offset, constants) for place, offset in call.arguments]
    if call.scratch is not None:
        number = f.convert("zext", lane(f, f["share"]), I64)
        helper = f.plus(f.times(number, scratch.size), scratch.start - scratch.size)
        own = f.gep(tables["workspace"], helper, I8)
        first = f.compare("eq", number, constant(0, I64))
        pointers[call.scratch] = f.select(first, pointers[call.scratch], own)
    _call(f, call, tables, [*pointers, f["share"]])
    return f


def _call(f: Function, call: Invocation, tables: Mapping[str, Value], pointers: Sequence[Value]) -> Value:
    if call.plain:
        return f.call(call.name, I32, [tables["services"], *pointers])
    return f.call(call.name, None, pointers)


def _pointer(f: Function, tables: Mapping[str, Value], place: Place, offset: int, constants: Sequence[str]) -> Value:
    if place.kind == "workspace":
        return f.gep(tables["workspace"], place.number + offset, I8)
    number = constants.index(place.name) if place.kind == "constants" else place.number
    return f.gep(f.load(PTR, f.gep(tables[place.kind], number, PTR), align=8), offset, I8)
