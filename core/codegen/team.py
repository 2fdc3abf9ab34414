"""The native half of a team of threads: how a kernel is handed out, claimed piece by piece, and waited for.

The caller opens a job, does what it can claim of it, closes it, and waits for those who joined it while it was open. A
helper that is late is not waited for: its part is done by the others. Who has nothing to do looks for a while, then
sleeps until it is woken.

A processor that others want as well may stop a helper in the middle of a piece, and then all wait. So the caller keeps
account. Of each job it has a record of what it takes alone, which is renewed from time to time; what a job took with
helpers is held against that. When the savings of the last jobs fall below zero, the caller works alone for a while, by
which what was lost becomes little.
"""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.codegen.llvm import Function, Variable, module
from heddle.core.codegen.modes import modes, set_modes
from heddle.core.codegen.pieces import MANY, NOBODY
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I1, I8, I32, I64, PTR, Type, Value, constant
from heddle.core.runtime.abi import HELP, SERVICES, TEAM_SERVICES, TEAM_THREADS

TOGETHER = "heddle.together"
"""`(team, job, frame, count, most, record)` runs `job(frame, share)` on all threads of a team that come; `count` and
`most` are those of a `Division`, `record` is a `RECORD` of this job's own, which is kept from run to run."""

RECORD = "[2 x i64] zeroinitializer, align 16"
"""How often a job was run, and what it takes alone."""

# Fields of a team by their bytes; what different threads write lies in lines of its own.
_STATE, _NEXT, _BELL, _SLEEPERS = 0, 128, 256, 260
_JOB, _FRAME, _COUNT, _MOST, _MODES = 384, 392, 400, 408, 416
_CREDIT, _ALONE_UNTIL, _PENANCE, _GOOD = 448, 456, 464, 472

# The state: how many helpers are at the job, whether it may be joined, whether the caller sleeps until they are done,
# and the job's number.
_WITHIN, _OPEN, _WAITING, _JOB_SHIFT = 0xFF, 0x100, 0x200, 10

_PATIENCE = 3000
"""How often a thread looks before it sleeps; on most processors a look takes some ten nanoseconds."""

_PENANCES = 32, 256
"""After a loss the caller works alone for so many times as long: the first time, and at most. It doubles with every
loss, and is halved again after so many jobs without one:"""
_TRUSTED = 256
_LONGEST = {True: 1_000_000_000, False: 100_000_000}
"""It works alone no longer than this by the clock of x86-64, and of others: some tenths of a second."""
_MEMORY = 64
"""Over about so many jobs savings count, so that good times do not hide bad ones for long."""

_RATE = 4
"""What a run adds to the record of its job is one part in so many."""
_RENEWED = 64
"""One run in so many is done alone, for the record; the second one is as well, since the first finds caches cold."""

_FUTEX = {True: 202, False: 98}
"""The number of the system call, of x86-64 and of others."""
_WAIT, _WAKE = 128, 129  # private to the process


def team(target: Target) -> str:
    """The text of a module that defines `TOGETHER` and exports `HELP`."""
    claim, together, help_ = _claim(), _together(target), _help(target)
    return module([claim, together, help_], target.triple)


def _claim() -> Function:
    """`(share)`: the first piece that is claimed in the upper 32 bits, that behind the last one in the lower."""
    f = Function("heddle.claim", [("share", "ptr")], I64)
    team = f.load(PTR, f.gep(f["share"], 2, I64))
    count, most = f.load(I64, _at(f, team, _COUNT)), f.load(I64, _at(f, team, _MOST))
    threads = f.convert("zext", f.load(I32, _at(f, team, TEAM_THREADS)), I64)
    nothing = constant(MANY << 32 | MANY, I64)
    left = f.sub(count, _read(f, I64, _at(f, team, _NEXT)))
    with f.when(f.compare("sle", left, constant(0, I64))):
        f.give(nothing)
    some = f.binary("udiv", left, f.add(threads, threads))
    some = f.intrinsic("umax", f.intrinsic("umin", some, most), constant(1, I64))
    first = _update(f, "add", _at(f, team, _NEXT), some)
    both = f.binary("or", f.binary("shl", first, constant(32, I64)), f.add(first, some))
    f.give(f.select(f.compare("slt", first, count), both, nothing))
    return f


def _together(target: Target) -> Function:
    parameters = [
        ("team", "ptr"),
        ("job", "ptr"),
        ("frame", "ptr"),
        ("count", "i64"),
        ("most", "i64"),
        ("record", "ptr"),
    ]
    f = Function(TOGETHER, parameters)
    team, state = f["team"], _at(f, f["team"], _STATE)
    with f.when(f.compare("eq", team, NOBODY)):
        f.call_pointer(f["job"], None, [f["frame"], NOBODY])
        f.give()
    opened = _clock(f, target)
    runs, alone = f["record"], f.gep(f["record"], 1, I64)
    number, typical = _read(f, I64, runs), _read(f, I64, alone)
    _write(f, f.add(number, constant(1, I64)), runs)
    resting = f.compare("slt", opened, f.load(I64, _at(f, team, _ALONE_UNTIL)))
    again = f.compare("eq", f.binary("urem", number, constant(_RENEWED, I64)), constant(1, I64))
    with f.when(f.binary("or", resting, again)):
        f.call_pointer(f["job"], None, [f["frame"], NOBODY])
        _write(f, _renewed(f, typical, f.sub(_clock(f, target), opened)), alone)
        f.give()
    for field, value in ((_JOB, f["job"]), (_FRAME, f["frame"]), (_COUNT, f["count"]), (_MOST, f["most"])):
        f.store(value, _at(f, team, field))
    f.store(modes(f, target), _at(f, team, _MODES))
    _write(f, constant(0, I64), _at(f, team, _NEXT))
    number = f.add(f.binary("lshr", _read(f, I32, state), _word(_JOB_SHIFT)), _word(1))
    _write(f, f.binary("or", f.binary("shl", number, _word(_JOB_SHIFT)), _word(_OPEN)), state)
    with f.when(f.compare("ne", _read(f, I32, _at(f, team, _SLEEPERS)), _word(0))):
        _update(f, "add", _at(f, team, _BELL), _word(1))
        _futex(f, target, team, _at(f, team, _BELL), _WAKE, _word(MANY))
    _take_part(f, team, _word(0), f["job"], f["frame"])
    _update(f, "and", state, _word(~_OPEN))
    looks = f.variable(_word(0))
    with f.repeat() as (_, done):
        seen = _read(f, I32, state)
        f.leave(done, _no_one_within(f, seen))
        with f.when(_impatient(f, target, looks)):
            asleep = f.binary("or", seen, _word(_WAITING))
            with f.when(_exchange(f, state, seen, asleep)):
                _futex(f, target, team, state, _WAIT, asleep)
    with f.when(f.compare("ne", typical, constant(0, I64))):
        now = _clock(f, target)
        _settle(f, target, f.sub(typical, f.sub(now, opened)), now)
    f.give()
    return f


def _renewed(f: Function, typical: Value, took: Value) -> Value:
    """What a job takes alone, by the record so far and a further run: an outlier counts little."""
    bounded = f.intrinsic("umin", took, f.add(typical, typical))
    moved = f.add(typical, f.binary("sdiv", f.sub(bounded, typical), constant(_RATE, I64)))
    return f.select(f.compare("eq", typical, constant(0, I64)), took, moved)


def _settle(f: Function, target: Target, gain: Value, now: Value) -> None:
    """Add to the account what a job has gained, and let the caller work alone for a while if it shows a loss."""
    team = f["team"]
    account = _at(f, team, _CREDIT)
    before = f.load(I64, account)
    credit = f.add(f.sub(before, f.binary("sdiv", before, constant(_MEMORY, I64))), gain)
    loss = f.compare("slt", credit, constant(0, I64))
    f.store(f.select(loss, constant(0, I64), credit), account)
    least, most = (constant(penance, I64) for penance in _PENANCES)
    penance = f.intrinsic("umax", f.load(I64, _at(f, team, _PENANCE)), least)
    good = f.add(f.load(I64, _at(f, team, _GOOD)), constant(1, I64))
    with f.when(loss):
        alone = f.intrinsic("umin", f.mul(f.neg(credit), penance), constant(_LONGEST[target.x86], I64))
        f.store(f.add(now, alone), _at(f, team, _ALONE_UNTIL))
        f.store(f.intrinsic("umin", f.add(penance, penance), most), _at(f, team, _PENANCE))
        f.store(constant(0, I64), _at(f, team, _GOOD))
        f.give()
    trusted = f.compare("ugt", good, constant(_TRUSTED, I64))
    half = f.binary("lshr", penance, constant(1, I64))
    f.store(f.select(trusted, half, penance), _at(f, team, _PENANCE))
    f.store(f.select(trusted, constant(0, I64), good), _at(f, team, _GOOD))


def _help(target: Target) -> Function:
    f = Function(HELP, [("team", "ptr"), ("lane", "i32")])
    team, state = f["team"], _at(f, f["team"], _STATE)
    helped = f.variable(_word(0))
    looks = f.variable(_word(0))
    with f.repeat() as (again, _):
        seen = _read(f, I32, state)
        with f.when(_joinable(f, seen, f.get(helped))):
            f.leave(again, f.binary("xor", _exchange(f, state, seen, f.add(seen, _word(1))), constant(True, I1)))
            f.set(helped, f.binary("lshr", seen, _word(_JOB_SHIFT)))
            before = modes(f, target)
            set_modes(f, target, f.load(I64, _at(f, team, _MODES)))
            _take_part(f, team, f["lane"], f.load(PTR, _at(f, team, _JOB)), f.load(PTR, _at(f, team, _FRAME)))
            set_modes(f, target, before)
            left = f.sub(_update(f, "sub", state, _word(1)), _word(1))
            waiting = f.compare("ne", f.binary("and", left, _word(_WAITING)), _word(0))
            with f.when(f.binary("and", waiting, _no_one_within(f, left))):
                _futex(f, target, team, state, _WAKE, _word(1))
            f.set(looks, _word(0))
            f.leave(again)
        with f.when(_impatient(f, target, looks)):
            bell = _read(f, I32, _at(f, team, _BELL))
            _update(f, "add", _at(f, team, _SLEEPERS), _word(1))
            with f.unless(_joinable(f, _read(f, I32, state), f.get(helped))):
                _futex(f, target, team, _at(f, team, _BELL), _WAIT, bell)
            _update(f, "sub", _at(f, team, _SLEEPERS), _word(1))
            f.set(looks, _word(0))
    return f


def _take_part(f: Function, team: Value, lane: Value, job: Value, frame: Value) -> None:
    """Run a job with a share of this thread's own: how to claim, the lane, the team."""
    share = f.slot(I64, 3).address
    f.store(Value("@heddle.claim", PTR), share)
    f.store(lane, f.gep(share, 1, I64))
    f.store(team, f.gep(share, 2, I64))
    f.call_pointer(job, None, [frame, share])


def _clock(f: Function, target: Target) -> Value:
    """A time in the processor's own unit; only ratios of such times are used."""
    return f.call("llvm.readcyclecounter" if target.x86 else "llvm.readsteadycounter", I64, [])


def _joinable(f: Function, state: Value, helped: Value) -> Value:
    """Whether there is a job that this helper has not yet helped with."""
    is_open = f.compare("ne", f.binary("and", state, _word(_OPEN)), _word(0))
    return f.binary("and", is_open, f.compare("ne", f.binary("lshr", state, _word(_JOB_SHIFT)), helped))


def _no_one_within(f: Function, state: Value) -> Value:
    return f.compare("eq", f.binary("and", state, _word(_WITHIN)), _word(0))


def _impatient(f: Function, target: Target, looks: Variable) -> Value:
    """Whether it has been looked for long enough; else the processor is told that this thread only waits."""
    if target.x86:
        f.call("llvm.x86.sse2.pause", None, [])
    else:
        f.call("llvm.aarch64.hint", None, [_word(1)])
    f.set(looks, f.add(f.get(looks), _word(1)))
    return f.compare("ugt", f.get(looks), _word(_PATIENCE))


def _word(number: int) -> Value:
    return constant(number, I32)


def _at(f: Function, team: Value, field: int) -> Value:
    return f.gep(team, field, I8)


def _read(f: Function, type: Type, address: Value) -> Value:
    return f.value(f"load atomic {type}, {address} seq_cst, align {type.bits // 8}", type)


def _write(f: Function, value: Value, address: Value) -> None:
    f.emit(f"store atomic {value}, {address} seq_cst, align {value.type.bits // 8}")


def _update(f: Function, op: str, address: Value, value: Value) -> Value:
    """What was there before."""
    return f.value(f"atomicrmw {op} {address}, {value} seq_cst", value.type)


def _exchange(f: Function, address: Value, old: Value, new: Value) -> Value:
    """Whether the new value took the old one's place."""
    pair = f.value(f"cmpxchg {address}, {old}, {new} seq_cst seq_cst", Type("{ i32, i1 }"))
    return f.value(f"extractvalue {pair}, 1", I1)


def _futex(f: Function, target: Target, team: Value, address: Value, operation: int, value: Value) -> None:
    services = f.load(PTR, _at(f, team, TEAM_SERVICES))
    syscall = f.load(PTR, f.gep(services, SERVICES.index("syscall"), PTR))
    numbers: Sequence[Value] = [constant(_FUTEX[target.x86], I64), address, constant(operation, I64)]
    rest = [f.convert("sext", value, I64), NOBODY, NOBODY, constant(0, I64)]
    f.call_pointer(syscall, I64, [*numbers, *rest])
