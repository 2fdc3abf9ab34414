"""Where the tile of an instruction lies in loops, found by unification, and the copies that lay operands out for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import numpy as np
from heddle.core.codegen.affine import Affine, Axis, Quotient, axis, flatten, of_axis, only_axis, show, substitute
from heddle.core.codegen.tensor import Compute, Load, guarded, load, position, rewrite, walk
from heddle.core.ir import Names, TensorType, Value
from heddle.core.ops.scalar import Expr, const
from numpy.typing import NDArray

_COMMUTATIVE = frozenset({"add", "mul", "min", "max", "and", "or", "xor"})


@dataclass(frozen=True)
class Tile:
    """A tile of m rows, n columns and a sum of k: what it means, as an expression of the sum so far, of a, and of b.

    `lanewise`: a has an element of its own for each column, as b has. `dense`: those of b are neighbours; of a lanewise
    tile they always are, and those of a as well.
    """

    sizes: tuple[int, int, int]
    meaning: Expr
    lanewise: bool
    dense: bool


@dataclass(frozen=True, eq=False)
class Tiling:
    """A tile in loops: what is read as a and b, the loops along rows, columns and the sum, and those around them.

    `sums` are the loops along which the results lie in memory, in order, each with its index in those of the step.
    """

    a: Load
    b: Load
    tile: tuple[Axis, Axis, Axis]
    around: tuple[Axis, ...]
    sums: tuple[tuple[Axis, Affine], ...]


@dataclass(frozen=True, eq=False)
class _Place:
    """One way in which a tile can lie, before anything is copied for it."""

    a: Load
    b: Load
    row: Axis
    column: Axis
    depth: Axis


@dataclass(frozen=True)
class Copies:
    """Copies of operands: of constants here and now, among the tables, of others as the steps that are `made`."""

    tables: dict[Value, NDArray[Any]]
    names: Names
    made: list[Compute] = field(default_factory=list)

    def copy(self, item: Load, last: Axis, wide: Mapping[Axis, int], wider: Mapping[Axis, Axis]) -> Load:
        """The load of a copy: with a row of neighbours along `last`, and zeros beyond the axes that are made wider."""
        kept, along = _copy_axes(item, last, wide)
        source, shape = item.source, _copy_shape(item, last, wide)
        copy = self.names.fresh(f"{source.name}.packed", TensorType(source.dtype, shape))
        places = [Axis(size) for size in shape]
        inside = dict(zip(along, map(of_axis, places[len(kept) :]), strict=True))
        indices = [
            of_axis(places[kept.index(number)]) if number in kept else substitute(index, inside, lambda expr: expr)
            for number, index in enumerate(item.indices)
        ]
        if source in self.tables:
            limits = dict(zip(places[len(kept) :], (one.extent for one in along), strict=True))
            self.tables[copy] = _gathered(self.tables[source], indices, places, limits)
        else:
            body = load(source, *indices)
            for one in wide:
                body = guarded(position(inside[one]) < one.extent, body, const(0, body.dtype))
            self.made.append(Compute(copy, tuple(places), body))
        return Load(
            copy, (*(item.indices[number] for number in kept), *(of_axis(wider.get(one, one)) for one in along))
        )


def in_groups(axes: Sequence[Axis], fold: Expr) -> tuple[dict[Axis, Affine], Expr]:
    """A sum with an outer axis made two wherever indices divide it: the groups of a convolution and their filters.

    The new axes come with their indices in the old ones.
    """
    divisors: dict[Axis, set[int]] = {axis: set() for axis in axes}
    for item in walk(fold):
        for index in item.value.indices if item.op == "load" else ():
            for atom, _ in index.terms:
                if isinstance(atom, Quotient) and len(atom.inner.terms) == 1 and not atom.inner.constant:
                    ((inner, factor),) = atom.inner.terms
                    if inner in divisors and factor == 1:
                        divisors[inner].add(atom.divisor)
    made: dict[Axis, Affine] = {}
    mapping: dict[Axis, Affine] = {}
    for one in axes:
        size = min(divisors[one], default=1)
        if len(divisors[one]) == 1 and one.extent % size == 0:
            group, within = axis(one.extent // size, "g"), axis(size, one.name)
            mapping[one] = group * size + within
            made |= {only_axis(group): of_axis(one) // size, only_axis(within): of_axis(one) % size}
        else:
            made[one] = of_axis(one)
    return made, rewrite(fold, mapping) if mapping else fold


def fit(tile: Tile, outer: Mapping[Axis, Affine], fold: Expr, copies: Copies) -> Tiling | str:
    """How a tile lies in a sum over `outer`, once the copies for it are made; why it does not, as text.

    Of all the ways the one that computes least in vain, then the one that copies least.
    """
    places = _places(tile, tuple(outer), fold)
    if isinstance(places, str):
        return places

    def effort(place: _Place) -> tuple[int, ...]:
        axes = (place.row, place.column, place.depth)
        computed = prod(_wide(one.extent, size) for one, size in zip(axes, tile.sizes, strict=True))
        around = prod(one.extent for one in (*outer, *fold.value.axes) if one not in axes)
        copied = sum(
            prod(_copy_shape(item, last, wide))
            for item, last, wide in _moved(tile, place)
            if item.source not in copies.tables
        )
        turned = 0 if place.column.extent == 1 or place.column is tuple(outer)[-1] else prod(a.extent for a in outer)
        return computed * around, copied + turned, *(-one.extent for one in axes)

    place = min(places, key=effort)
    chosen = (place.row, place.column, place.depth)
    wider = {
        one: Axis(_wide(one.extent, size), one.name)
        for one, size in zip(chosen, tile.sizes, strict=True)
        if one.extent % size
    }
    moved = {item: copies.copy(item, last, wide, wider) for item, last, wide in _moved(tile, place)}
    row, column, depth = (wider.get(one, one) for one in chosen)
    around = tuple(one for one in (*outer, *fold.value.axes) if one not in chosen and one.extent != 1)
    sums = [(wider.get(one, one), index) for one, index in outer.items() if one is not place.column]
    sums += [(column, outer[place.column])] if place.column in outer else []
    a, b = moved.get(place.a, place.a), moved.get(place.b, place.b)
    return Tiling(a, b, (row, column, depth), around, tuple(sums))


def _places(tile: Tile, outer: Sequence[Axis], fold: Expr) -> list[_Place] | str:
    """Every way in which a tile can lie in a sum; why there is none."""
    initial, element = fold.args
    axes = (*outer, *fold.value.axes)
    if initial.op != "const" or initial.value != 0:
        return "the sum does not begin at zero"
    if any(one.extent == 0 for one in axes):
        return "there is nothing to compute"
    computed = rewrite(fold.value.combine, arguments=[Expr("arg", fold.dtype, value=0), element])
    found: list[_Place] = []
    reasons: list[str] = []
    for bound in unified(tile.meaning, computed, {}):
        a, b = bound[1].value, bound[2].value
        along_a, along_b = steps(a, axes), steps(b, axes)
        if along_a is None or along_b is None:
            reasons.append(f"{b.source if along_a else a.source} is not read in equal steps")
            continue
        placed = _placed(tile, outer, fold.value.axes, _Reads(a, b, along_a, along_b))
        if isinstance(placed, str):
            reasons.append(placed)
        else:
            found += placed
    if found:
        return found
    return reasons[0] if reasons else f"it means {show(tile.meaning)}, and the loops compute {show(computed)}"


@dataclass(frozen=True, eq=False)
class _Reads:
    """The operands of a sum, and their steps along its axes."""

    a: Load
    b: Load
    along_a: Mapping[Axis, int]
    along_b: Mapping[Axis, int]


def _placed(tile: Tile, outer: Sequence[Axis], inner: Sequence[Axis], reads: _Reads) -> list[_Place] | str:
    m, n, k = tile.sizes

    def those(axes: Sequence[Axis], a: bool, b: bool) -> list[Axis]:
        """The axes along which only those operands step."""
        return [one for one in axes if (bool(reads.along_a[one]), bool(reads.along_b[one])) == (a, b)]

    rows = those(outer, True, False) or ([Axis(1)] if m == 1 else [])
    columns = those(outer, tile.lanewise, True) or ([Axis(1)] if n == 1 else [])
    depths = those(inner, True, True) or ([Axis(1)] if k == 1 else [])
    if not _idles(tile.meaning):
        depths = [one for one in depths if one.extent % k == 0]
    shared = [] if tile.lanewise else those(outer, True, True)
    advice = f"; a lanewise tile takes the {shared[0].extent} steps that both operands make" if shared else ""
    if not rows:
        return f"no loop has steps in {reads.a.source} alone, for {m} rows{advice}"
    if not columns:
        both = f"both {reads.a.source} and {reads.b.source}" if tile.lanewise else f"{reads.b.source} alone"
        return f"no loop has steps in {both}, for {n} columns{advice}"
    if not depths:
        sizes = ", ".join(str(one.extent) for one in inner)
        return f"no loop of the sum is a multiple of {k} long: {sizes}"
    return [_Place(reads.a, reads.b, *chosen) for chosen in product(rows, columns, depths)]


def _idles(meaning: Expr) -> bool:
    """Whether zeros leave the sum as it is: then a sum can be made longer by zeros."""
    sum_first = meaning.args if meaning.op == "add" and meaning.args[0].op == "arg" else meaning.args[::-1]
    if meaning.op != "add" or (sum_first[0].op, sum_first[0].value) != ("arg", 0):
        return False
    known = {int(item.value): item.dtype for item in walk(meaning) if item.op == "arg"}
    added = rewrite(sum_first[1], arguments=[const(0, known[number]) for number in sorted(known)])
    return (added.op, added.value) == ("const", 0)


def _wide(extent: int, size: int) -> int:
    """The extent, made whole tiles."""
    return -(-extent // size) * size


def _moved(tile: Tile, place: _Place) -> Iterator[tuple[Load, Axis, dict[Axis, int]]]:
    """The operands that must be copied: each with the axis that is to be its last, and the extents that grow."""
    m, n, k = tile.sizes
    operands = (
        (place.a, tile.lanewise, [(place.row, m), (place.depth, k), *([(place.column, n)] if tile.lanewise else [])]),
        (place.b, tile.lanewise or tile.dense, [(place.depth, k), (place.column, n)]),
    )
    for item, dense, axes in operands:
        wide = {one: _wide(one.extent, size) for one, size in axes if one.extent % size}
        apart = dense and place.column.extent > 1 and flat(item).stride(place.column) != 1
        if wide or apart:
            yield item, place.column, wide


def _copy_axes(item: Load, last: Axis, wide: Mapping[Axis, int]) -> tuple[list[int], list[Axis]]:
    """The dimensions that a copy keeps, and the axes that stand in the place of the others; `last` comes last."""
    changed = {last, *wide}
    kept = [number for number, index in enumerate(item.indices) if not changed & index.axes]
    along: dict[Axis, None] = {}
    for number, index in enumerate(item.indices):
        if number not in kept:
            along |= dict.fromkeys(atom for atom, _ in index.terms if isinstance(atom, Axis))
    return kept, [*(one for one in along if one is not last), *([last] if last in along else [])]


def _copy_shape(item: Load, last: Axis, wide: Mapping[Axis, int]) -> tuple[int, ...]:
    kept, along = _copy_axes(item, last, wide)
    return (*(item.source.shape[number] for number in kept), *(wide.get(one, one.extent) for one in along))


def _gathered(
    array: NDArray[Any], indices: Sequence[Affine], places: Sequence[Axis], limits: Mapping[Axis, int]
) -> NDArray[Any]:
    """A copy of a constant, now: the element at the indices for each place, zero from the limits of places on."""
    grid = dict(zip(places, np.ix_(*(range(place.extent) for place in places)), strict=True))
    where = []
    for index, size in zip(indices, array.shape, strict=True):
        at: Any = index.constant
        for atom, factor in index.terms:
            assert isinstance(atom, Axis)
            at = at + factor * grid[atom]
        where.append(np.minimum(at, size - 1))
    made = np.array(np.broadcast_to(array[tuple(where)], [place.extent for place in places]))
    for place, limit in limits.items():
        np.moveaxis(made, places.index(place), 0)[limit:] = 0
    return made


def unified(meaning: Expr, found: Expr, bound: Mapping[int, Expr]) -> Iterator[dict[int, Expr]]:
    """Every way in which an expression is the meaning, with what each argument stands for."""
    if meaning.op == "arg":
        number = int(meaning.value)
        fits = (found.op == "arg" and found.value == 0) if number == 0 else found.op == "load"
        if fits and meaning.dtype == found.dtype and bound.get(number, found) is found:
            yield {**bound, number: found}
        return
    same = (meaning.op, meaning.dtype, meaning.value, len(meaning.args)) == (
        found.op, found.dtype, found.value, len(found.args),
    )  # fmt: skip
    if not same:
        return
    orders = [found.args, found.args[::-1]] if meaning.op in _COMMUTATIVE else [found.args]
    for order in orders:
        yield from _all_unified(meaning.args, order, bound)


def _all_unified(
    meanings: Sequence[Expr], found: Sequence[Expr], bound: Mapping[int, Expr]
) -> Iterator[dict[int, Expr]]:
    if not meanings:
        yield dict(bound)
        return
    for first in unified(meanings[0], found[0], bound):
        yield from _all_unified(meanings[1:], found[1:], first)


def flat(item: Load) -> Affine:
    """The row-major position of a load in its source."""
    return flatten(item.indices, item.source.shape)


def steps(item: Load, axes: Sequence[Axis]) -> dict[Axis, int] | None:
    """The steps of a load along axes; None when it reads in any other way, as behind a condition."""
    offset = flat(item)
    if any(not isinstance(atom, Axis) for atom, _ in offset.terms):
        return None
    return {axis: offset.stride(axis) or 0 for axis in axes}
