"""A team of threads for each row: reductions by halves through shared memory, and what is computed from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from heddle.backends.cudnn.kernels.grid import MOST_THREADS, Grid, below, both, when
from heddle.core.codegen.affine import Affine, Axis, axis, of_axis, only_axis, unflatten
from heddle.core.codegen.loops import Buffer, For, Local, Set, Stmt, Store, element, read
from heddle.core.codegen.nest import Flat, Namer, exchanged, flat, outer_folds, plain, replaced
from heddle.core.codegen.tensor import Compute, Group, position, rewrite, walk
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr

LEAST_TEAM = 32
ELEMENTS = 4
"""What each thread of a team has to do, at least, before a larger team is worth its barriers."""
FREE_ORDER = frozenset(("add", "mul", "min", "max", "and", "or"))
"""Operations that give the same in any order, rounding aside."""


@dataclass(frozen=True)
class Team:
    """Where a thread stands: its row and whether there is such a row, its place in the team, how many the team has."""

    row: Affine
    inside: Expr | None
    lane: Affine
    size: int
    thread: Affine


def shared_folds(body: Expr) -> list[Expr]:
    """The folds of an expression that a team can share; none when there is one that it cannot."""
    folds = outer_folds(body)
    if any(item.op == "if" for item in walk(body)):
        return []
    return folds if all(_shareable(item) for item in folds) else []


def _shareable(item: Expr) -> bool:
    combine = item.value.combine
    plainly = combine.op in FREE_ORDER and sorted(a.value for a in combine.args if a.op == "arg") == [0, 1]
    return plainly and fold_size(item) >= LEAST_TEAM and not any(e.op == "fold" for a in item.args for e in walk(a))


def fold_size(item: Expr) -> int:
    """Over how many elements a fold runs."""
    return prod(a.extent for a in item.value.axes)


def rows(step: Compute, buffers: Callable[[Value], Buffer], parameters: Callable[[], tuple[Buffer, ...]]) -> Grid:
    """A computation, or a group of them, with a team for each point of its axes."""
    members = step.members if isinstance(step, Group) else (step,)
    shared_axes = step.axes
    reduced = [member for member in members if not isinstance(step, Group) or not member.axes]
    folds = [item for member in reduced for item in shared_folds(member.body)]
    longest = max(fold_size(item) for item in folds)
    shortest = min(fold_size(item) for item in folds)
    size = LEAST_TEAM
    while size * 2 <= min(MOST_THREADS, shortest, longest // ELEMENTS):
        size *= 2
    count = prod(a.extent for a in shared_axes)
    together = MOST_THREADS // size if count >= MOST_THREADS // size else 1
    block, thread = Axis(-(-count // together), "block"), Axis(together * size, "thread")
    at = of_axis(thread)
    row = of_axis(block) * together + at // size
    team = Team(row, below(row, count), at % size, size, at)
    mapping = dict(zip(shared_axes, unflatten(row, tuple(a.extent for a in shared_axes)), strict=True))
    phases: list[tuple[Stmt, ...]] = []
    arrays: list[Buffer] = []
    written: set[Buffer] = set()
    for member in members:
        item = flat(member, buffers)
        own = item.axes if isinstance(step, Group) else ()
        item = Flat(own, item.buffer, replaced(item.offset, mapping), rewrite(item.body, mapping))
        phases += _spread(item, team) if own else _folded(item, team, arrays, thread.extent)
        written.add(item.buffer)
    return Grid(parameters(), frozenset(written), tuple(arrays), block, thread, tuple(phases))


def _spread(item: Flat, team: Team) -> list[tuple[Stmt, ...]]:
    """Elements of a row, each by a thread of the team, in turns."""
    extents = tuple(a.extent for a in item.axes)
    count = prod(extents)
    turn = axis(-(-count // team.size), "turn")
    index = _only(turn) * team.size + team.lane
    mapping = dict(zip(item.axes, unflatten(index, extents), strict=True))
    body = plain(Flat((), item.buffer, replaced(item.offset, mapping), rewrite(item.body, mapping)), Namer())
    loop = For(only_axis(turn), when(below(index, count), *body))
    return [when(team.inside, loop)]


def _folded(item: Flat, team: Team, arrays: list[Buffer], threads: int) -> list[tuple[Stmt, ...]]:
    """One element for a row: each thread folds its share, then the shares are folded by halves."""
    names = Namer()
    folds = shared_folds(item.body)
    partial: list[Stmt] = []
    shares: dict[Expr, Buffer] = {}
    for expr in folds:
        array = Buffer(f"shared{len(arrays)}", expr.dtype, threads, local=True)
        arrays.append(array)
        shares[expr] = array
        partial += _share(expr, array, team, names)
    phases = [when(team.inside, *partial)] if folds else []
    half = team.size // 2
    while folds and half:
        body = [
            Store(array, team.thread, _combined(expr, element(array, team.thread), element(array, team.thread + half)))
            for expr, array in shares.items()
        ]
        phases.append(when(both(team.inside, below(team.lane, half)), *body))
        half //= 2
    results = {expr: _combined(expr, expr.args[0], element(array, team.thread)) for expr, array in shares.items()}
    last = plain(Flat((), item.buffer, item.offset, exchanged(item.body, results)), names)
    phases.append(when(both(team.inside, position(team.lane).equals(0)), *last))
    return phases


def _share(expr: Expr, array: Buffer, team: Team, names: Namer) -> list[Stmt]:
    """What one thread folds: every so many elements, beginning with its own place in the team."""
    extents = tuple(a.extent for a in expr.value.axes)
    whole, left = divmod(prod(extents), team.size)

    def at(index: Affine) -> Expr:
        return rewrite(expr.args[1], dict(zip(expr.value.axes, unflatten(index, extents), strict=True)))

    local = names.local(expr)
    stmts: list[Stmt] = [Set(local, at(team.lane))]
    if whole > 1:
        turn = axis(whole - 1, "turn")
        index = _only(turn) * team.size + (team.lane + team.size)
        stmts.append(For(only_axis(turn), (_joined(local, expr, at(index)),), "fold"))
    if left:
        rest = _joined(local, expr, at(team.lane + whole * team.size))
        stmts += when(below(team.lane, left), rest)
    return [*stmts, Store(array, team.thread, read(local))]


def _joined(local: Local, expr: Expr, more: Expr) -> Set:
    return Set(local, _combined(expr, read(local), more))


def _combined(expr: Expr, left: Expr, right: Expr) -> Expr:
    return rewrite(expr.value.combine, arguments=(left, right))


def _only(index: Affine) -> Affine:
    return of_axis(only_axis(index))


def worthwhile(step: Compute) -> bool:
    """Whether a computation is better done by teams: its folds are long, and run along memory or are few."""
    folds = shared_folds(step.body)
    if not folds or any(fold_size(item) < 2 * LEAST_TEAM for item in folds):
        return False
    points = prod(a.extent for a in step.axes)
    return points < 8192 or all(_along(item) for item in folds)


def _along(item: Expr) -> bool:
    """Whether neighbours of a fold lie side by side in what it reads most."""
    last = item.value.axes[-1]
    loads = [load.value for load in walk(item.args[1]) if load.op == "load"]
    return any(load.indices and load.indices[-1].stride(last) == 1 for load in loads)
