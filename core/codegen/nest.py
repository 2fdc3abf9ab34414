"""From tensor expressions to loop nests: flat offsets, merged axes, the order of loops, folds as accumulators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from heddle.core.codegen.affine import Affine, Axis, Quotient, Remainder, axis, flatten, of_axis, only_axis, substitute
from heddle.core.codegen.loops import Buffer, Fail, If, Kind, Local, Set, Stmt, Store, Turn, element, nest, read
from heddle.core.codegen.tensor import Check, Compute, Fold, Load, rewrite, walk
from heddle.core.codegen.vmath import BRANCHING
from heddle.core.ir import Value
from heddle.core.ops.scalar import BOOL, Expr, const

_VECTORS = 4
"""Vectors in a row of a block of accumulators."""


@dataclass
class Namer:
    """Names of a kernel's variables and arrays, in order."""

    count: int = 0

    def local(self, expr: Expr) -> Local:
        self.count += 1
        return Local(f"s{self.count}", expr.dtype)

    def array(self, expr: Expr, size: int) -> Buffer:
        self.count += 1
        return Buffer(f"acc{self.count}", expr.dtype, size, local=True)


@dataclass(frozen=True, eq=False)
class Flat:
    """A computation over flat memory: at every point of `axes`, `buffer[offset] = body`."""

    axes: tuple[Axis, ...]
    buffer: Buffer
    offset: Affine
    body: Expr


def flat(compute: Compute, buffers: Callable[[Value], Buffer]) -> Flat:
    """A computation with every index made a position in a dense row-major buffer."""
    body = flat_expr(compute.body, buffers)
    offset = flatten(compute.target, compute.output.shape)
    offset = substitute(offset, {}, partial(flat_expr, buffers=buffers))
    return Flat(compute.axes, buffers(compute.output), offset, body)


def flat_expr(expr: Expr, buffers: Callable[[Value], Buffer]) -> Expr:
    """An expression with every index made a position in a dense row-major buffer."""

    def leaf(load: Load) -> Expr:
        return element(buffers(load.source), flatten(load.indices, load.source.shape))

    return rewrite(expr, leaf=leaf)


# -- merging axes --------------------------------------------------------------------------------------------------


def merge_axes(item: Flat) -> Flat:
    """The same computation with neighbouring axes made one wherever every offset runs through both evenly."""
    axes = [a for a in item.axes if a.extent != 1]
    position = 0
    item = _split_axes(replace(item, axes=tuple(axes)))
    item = replace(item, axes=tuple(a for a in item.axes if a.extent != 1))
    while position + 1 < len(item.axes):
        outer, inner = item.axes[position : position + 2]
        if _mergeable([item.offset, *_offsets(item.body)], outer, inner):
            one = axis(outer.extent * inner.extent, outer.name)
            mapping = {outer: one // inner.extent, inner: one % inner.extent}
            rest = (*item.axes[:position], only_axis(one), *item.axes[position + 2 :])
            item = Flat(rest, item.buffer, replaced(item.offset, mapping), rewrite(item.body, mapping))
        else:
            position += 1
    return replace(item, body=_merge_folds(item.body))


def _split_axes(item: Flat) -> Flat:
    """The same computation with an axis made two wherever indices divide it by a number that divides its extent."""
    divisors: dict[Axis, set[int]] = {}
    for offset in (item.offset, *_offsets(item.body)):
        for atom, _ in offset.terms:
            if isinstance(atom, Quotient | Remainder) and len(atom.inner.terms) == 1 and not atom.inner.constant:
                ((inner, factor),) = atom.inner.terms
                if isinstance(inner, Axis) and factor == 1:
                    divisors.setdefault(inner, set()).add(atom.divisor)
    for number, outer in enumerate(item.axes):
        found = divisors.get(outer, set())
        if len(found) == 1 and outer.extent % min(found) == 0:
            inner_extent = min(found)
            pair = axis(outer.extent // inner_extent, outer.name), axis(inner_extent, f"{outer.name}_")
            mapping = {outer: _single(pair[0]) * inner_extent + _single(pair[1])}
            axes = (*item.axes[:number], *map(only_axis, pair), *item.axes[number + 1 :])
            return _split_axes(Flat(axes, item.buffer, replaced(item.offset, mapping), rewrite(item.body, mapping)))
    return item


def replaced(index: Affine, mapping: dict[Axis, Affine]) -> Affine:
    """An index with axes replaced, in what it computes from expressions too."""
    return substitute(index, mapping, lambda expr: rewrite(expr, mapping))


def _merge_folds(expr: Expr) -> Expr:
    """The expression with the neighbouring axes of its folds merged."""
    for item in walk(expr):
        if item.op != "fold":
            continue
        axes = item.value.axes
        for position in range(len(axes) - 1):
            outer, inner = axes[position : position + 2]
            if _mergeable(_offsets(item.args[1]), outer, inner):
                one = axis(outer.extent * inner.extent, outer.name)
                body = rewrite(item.args[1], {outer: one // inner.extent, inner: one % inner.extent})
                joined = (*axes[:position], only_axis(one), *axes[position + 2 :])
                merged = Expr("fold", item.dtype, (item.args[0], body), Fold(joined, item.value.combine))
                return _merge_folds(_exchange(expr, item, merged))
    return expr


def _exchange(expr: Expr, old: Expr, new: Expr) -> Expr:
    if expr is old:
        return new
    args = tuple(_exchange(arg, old, new) for arg in expr.args)
    if all(a is b for a, b in zip(args, expr.args, strict=True)):
        return expr
    return Expr(expr.op, expr.dtype, args, expr.value)


def _offsets(expr: Expr) -> list[Affine]:
    """Every index inside an expression."""
    found = []
    for item in walk(expr):
        if item.op == "load":
            found += item.value.indices
        elif item.op == "index":
            found.append(item.value)
    return found


def _mergeable(offsets: Sequence[Affine], outer: Axis, inner: Axis) -> bool:
    for offset in offsets:
        steps = dict(offset.terms)
        if steps.get(outer, 0) != steps.get(inner, 0) * inner.extent:
            return False
        nested = [Affine(((atom, 1),)).axes for atom, _ in offset.terms if not isinstance(atom, Axis)]
        if any(outer in axes or inner in axes for axes in nested):
            return False
    return True


# -- statements ----------------------------------------------------------------------------------------------------


@dataclass
class _Body:
    """Statements under construction; `scalar` puts folds before the place where their value is wanted."""

    names: Namer
    stmts: list[Stmt] = field(default_factory=list)

    def scalar(self, expr: Expr) -> Expr:
        """The expression without folds, after the statements that compute them."""
        if not any(item.op == "fold" for item in walk(expr)):
            return expr
        if expr.op == "fold":
            return self.fold(expr)
        if expr.op == "if":
            return self.choose(expr)
        return Expr(expr.op, expr.dtype, tuple(self.scalar(arg) for arg in expr.args), expr.value)

    def fold(self, expr: Expr) -> Expr:
        initial, body = expr.args
        local = self.names.local(expr)
        self.stmts.append(Set(local, self.scalar(initial)))
        inner = _Body(self.names)
        value = inner.scalar(body)
        inner.stmts.append(Set(local, rewrite(expr.value.combine, arguments=(read(local), value))))
        self.stmts += nest(expr.value.axes, inner.stmts, ["fold"] * len(expr.value.axes))
        return read(local)

    def choose(self, expr: Expr) -> Expr:
        local = self.names.local(expr)
        condition = self.scalar(expr.args[0])
        sides = []
        for arg in expr.args[1:]:
            side = _Body(self.names)
            value = side.scalar(arg)
            sides.append((*side.stmts, Set(local, value)))
        self.stmts.append(If(condition, *sides))
        return read(local)


def statements(item: Flat, names: Namer, lanes: int) -> tuple[Stmt, ...]:
    """The loop nest of a computation; `lanes` is how many floats a vector register holds."""
    if any(a.extent == 0 for a in item.axes):
        return ()
    ordered = by_store(merge_axes(item))
    shaped = _blocked(ordered, names, lanes) or _turned(ordered, names, lanes) or _in_vectors(ordered, names, lanes)
    return shaped or plain(ordered, names)


def by_store(item: Flat) -> Flat:
    """The axes in the order in which memory is written, the contiguous one innermost."""
    strides = [item.offset.stride(a) for a in item.axes]
    if any(stride is None for stride in strides):
        return item
    order = sorted(range(len(strides)), key=lambda i: -abs(strides[i] or 0))
    return replace(item, axes=tuple(item.axes[i] for i in order))


def _in_vectors(item: Flat, names: Namer, lanes: int) -> tuple[Stmt, ...] | None:
    """What LLVM would not make vectors of, since it branches: whole vectors along the last axis, then what is left."""
    ops = {expr.op for expr in walk(item.body)}
    if not ops & BRANCHING or ops & {"fold", "if"} or not item.axes or item.axes[-1].extent < lanes:
        return None
    column = item.axes[-1]
    if item.offset.stride(column) != 1:
        return None
    tile, lane = axis(column.extent // lanes, "t"), axis(lanes, "v")
    place = {column: _single(tile) * lanes + _single(lane)}
    store = Store(item.buffer, replaced(item.offset, place), rewrite(item.body, place))
    vectors = nest([only_axis(lane)], [store], ["vector"])
    axes = [*item.axes[:-1], only_axis(tile)]
    left = _window(item, {column: (column.extent // lanes * lanes, column.extent)})
    return (*nest(axes, vectors, ["parallel"] * len(axes)), *(plain(left, names) if left is not None else ()))


def plain(item: Flat, names: Namer) -> tuple[Stmt, ...]:
    """One turn of the inner body for each element."""
    block = _Body(names)
    value = block.scalar(item.body)
    body = (*block.stmts, Store(item.buffer, item.offset, value))
    kinds: list[Kind] = ["parallel"] * len(item.axes)
    return nest(item.axes, body, kinds)


def _turned(item: Flat, names: Namer, size: int) -> tuple[Stmt, ...] | None:
    """A transposition, by squares; what is left at two borders by elements."""
    if item.body.op != "load" or len(item.axes) < 2:
        return None
    source, (origin,) = item.body.value.source, item.body.value.indices
    inner = item.axes[-1]
    step, unit = origin.stride(inner), item.offset.stride(inner)
    outer = next((a for a in item.axes[:-1] if origin.stride(a) == 1), None)
    if outer is None or not step or step < 2 or unit != 1 or min(outer.extent, inner.extent) < size:
        return None
    across = item.offset.stride(outer)
    if across is None or source is item.buffer:
        return None
    whole = {a: a.extent // size * size for a in (outer, inner)}
    tiles = [axis(whole[a] // size, a.name) for a in (outer, inner)]
    corner = {a: _single(tile) * size for a, tile in zip((outer, inner), tiles, strict=True)}
    square = Turn(
        item.buffer,
        replaced(item.offset, corner),
        across,
        source,
        replaced(origin, corner),
        step,
        size,
    )
    rest = [a for a in item.axes if a not in (outer, inner)]
    stmts = list(nest([*rest, *map(only_axis, tiles)], [square], ["parallel"]))
    right = _window(item, {inner: (whole[inner], inner.extent)})
    below = _window(item, {outer: (whole[outer], outer.extent), inner: (0, whole[inner])})
    return (*stmts, *(stmt for part in (right, below) if part is not None for stmt in plain(part, names)))


def _window(item: Flat, spans: dict[Axis, tuple[int, int]]) -> Flat | None:
    """The part of a computation where axes stay within [start, stop); None when there is none."""
    mapping: dict[Axis, Affine] = {}
    axes = list(item.axes)
    for old, (start, stop) in spans.items():
        if start >= stop:
            return None
        fresh = axis(stop - start, old.name)
        mapping[old] = _single(fresh) + start
        axes[axes.index(old)] = only_axis(fresh)
    kept = tuple(a for a in axes if a.extent != 1)
    return Flat(kept, item.buffer, replaced(item.offset, mapping), rewrite(item.body, mapping))


def _blocked(item: Flat, names: Namer, lanes: int) -> tuple[Stmt, ...] | None:
    """Folds over a block of elements at once, along the axis in which memory is contiguous: rows x vectors."""
    folds = outer_folds(item.body)
    if not folds or not item.axes or any(e.op == "if" for e in walk(item.body)):
        return None
    if any(inner.op == "fold" for f in folds for arg in f.args for inner in walk(arg)):
        return None
    column = item.axes[-1]
    if item.offset.stride(column) != 1 or column.extent < 4 or not _suits(folds, column):
        return None
    row = _shared_row(item, folds, column, lanes)
    width = min(column.extent, lanes * _VECTORS)
    outer = tuple(a for a in item.axes if a not in (column, row))
    stmts: list[Stmt] = []
    whole, left = divmod(column.extent, width)
    for start, count, wide in ((0, whole, width), (whole * width, 1, left)):
        if count and wide:
            stmts += _block(item, folds, names, (row, column), (start, count, wide), lanes)
    return nest(outer, stmts, ["parallel"])


def _block(
    item: Flat,
    folds: Sequence[Expr],
    names: Namer,
    axes: tuple[Axis | None, Axis],
    span: tuple[int, int, int],
    lanes: int,
) -> tuple[Stmt, ...]:
    """Elements [start, start + count * wide) of the columns, in blocks."""
    (row, column), (start, count, wide) = axes, span
    height = _rows(row, lanes)
    tile, lane = axis(count, "t"), axis(wide, "v")
    group, line = axis(row.extent // height if row else 1, "g"), axis(height, "r")
    mapping = {column: _single(tile) * wide + of_axis(only_axis(lane)) + start}
    if row is not None:
        mapping[row] = _single(group) * height + of_axis(only_axis(line))
    inside: list[Axis] = [only_axis(line), only_axis(lane)]
    kinds: list[Kind] = ["unroll", "vector"]
    place = of_axis(only_axis(line)) * wide + of_axis(only_axis(lane))
    stmts: list[Stmt] = []
    results: dict[Expr, Expr] = {}
    for expr in folds:
        array = names.array(expr, height * wide)
        initial, body = (rewrite(arg, mapping) for arg in expr.args)
        stmts += nest(inside, [Store(array, place, initial)], kinds)
        combined = rewrite(expr.value.combine, arguments=(element(array, place), body))
        update = nest(inside, [Store(array, place, combined)], kinds)
        stmts += nest(expr.value.axes, update, ["fold"] * len(expr.value.axes))
        results[expr] = element(array, place)
    value = rewrite(exchanged(item.body, results), mapping)
    stmts += nest(inside, [Store(item.buffer, replaced(item.offset, mapping), value)], kinds)
    return nest((only_axis(group), only_axis(tile)), stmts)


def _single(index: Affine) -> Affine:
    return of_axis(only_axis(index))


def exchanged(expr: Expr, results: dict[Expr, Expr]) -> Expr:
    """The expression with some of its parts exchanged for others."""
    if expr in results:
        return results[expr]
    args = tuple(exchanged(arg, results) for arg in expr.args)
    if all(a is b for a, b in zip(args, expr.args, strict=True)):
        return expr
    return Expr(expr.op, expr.dtype, args, expr.value)


def outer_folds(expr: Expr) -> list[Expr]:
    """The folds that stand in no other fold, each once."""
    if expr.op == "fold":
        return [expr]
    found: dict[Expr, None] = {}
    for arg in expr.args:
        found.update(dict.fromkeys(outer_folds(arg)))
    return list(found)


def _suits(folds: Sequence[Expr], column: Axis) -> bool:
    """Whether what folds read along a column axis lies side by side, and going along the fold is no better."""
    across, along = [], []
    for expr in folds:
        last = expr.value.axes[-1]
        for load in (item.value for item in walk(expr) if item.op == "load"):
            (offset,) = load.indices
            across.append(offset.stride(column))
            along.append(offset.stride(last))
    if all(stride in (0, 1) for stride in across):
        return 1 in across or not all(stride in (0, 1) for stride in along)
    return False


def _shared_row(item: Flat, folds: Sequence[Expr], column: Axis, lanes: int) -> Axis | None:
    """An axis whose turns read the same row of some operand, which a block of rows then reads once."""
    for candidate in reversed(item.axes[:-1]):
        if _rows(candidate, lanes) == 1:
            continue
        for expr in folds:
            for inner in walk(expr):
                if inner.op == "load":
                    (offset,) = inner.value.indices
                    if offset.stride(column) == 1 and offset.stride(candidate) == 0:
                        return candidate
    return None


def _rows(row: Axis | None, lanes: int) -> int:
    """How many rows a block has: what divides the axis, as far as there are registers (32 of the widest vectors)."""
    most = 6 if lanes >= 16 else 3
    return 1 if row is None else next(n for n in range(most, 0, -1) if row.extent % n == 0)


def check_statements(check: Check, buffers: Callable[[Value], Buffer], number: int, names: Namer) -> tuple[Stmt, ...]:
    """The loop that looks for a fault, and ends the run with its number."""
    if any(a.extent == 0 for a in check.axes):
        return ()
    local = Local("bad", BOOL)
    found = rewrite(flat_expr(check.bad, buffers))
    block = _Body(names)
    value = block.scalar(found)
    block.stmts.append(Set(local, read(local) | value))
    return (
        Set(local, const(False, BOOL)),
        *nest(check.axes, block.stmts, ["fold"] * len(check.axes)),
        If(read(local), (Fail(number),)),
    )
