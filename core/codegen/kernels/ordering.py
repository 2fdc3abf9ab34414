"""The places of a row's first elements in order: a few are selected on the way, many are sorted by their digits."""

from __future__ import annotations

from heddle.core.codegen.kernels.blocking import each
from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, I32, I64, Index, Type, Value, constant

FEW = 24
"""As many elements are kept in order while a row is walked; more are had by sorting the row."""
DIGIT = 8
DIGITS = 32 // DIGIT
LAST = constant(-1, I64)
"""Behind every element, compared as unsigned."""


def first_places(
    name: str,
    target: Target,
    scalar: Type,
    shape: tuple[int, int, int],
    count: int,
    *,
    largest: bool,
    internal: bool = True,
) -> list[Function]:
    """The kernel `(x, places, scratch)`: of each row of [outer, size, inner] the places of the `count` largest elements
    (or smallest), in order, as [outer, count, inner]; see `scratch_bytes`.

    Elements are floats or signed integers of 32 bits. Equal ones come in the order of the row; NaN is the largest.
    """
    assert scalar in (F32, I32)
    outer, size, inner = shape
    parameters = [("x", "ptr noalias readonly"), ("y", "ptr noalias"), ("scratch", "ptr noalias")]
    attributes = f'noinline nounwind "prefer-vector-width"="{target.vector_bytes * 8}"'
    f = Function(name, parameters, internal=internal, attributes=attributes)
    row = _Row(f, scalar, size, inner, largest)
    for _, n in each(f, [1] * outer):
        for _, i in each(f, [1] * inner):
            x = f.gep(f["x"], f.plus(f.times(n, size * inner), i), scalar)
            y = f.gep(f["y"], f.plus(f.times(n, count * inner), i), I64)
            found = _selected(row, x, count, target.lanes(4)) if count <= FEW else _sorted(row, x)
            with f.loop(0, count, 1, (NO_UNROLL,)) as r:
                place = f.binary("and", f.load(I64, f.gep(found, r, I64)), constant(0xFFFFFFFF, I64))
                f.store(place, f.gep(y, f.times(r, inner), I64))
    return [f]


def scratch_bytes(size: int, count: int) -> int:
    """The working memory that the kernel wants."""
    return 0 if count <= FEW else 16 * size


class _Row:
    """A row and its keys: unsigned integers in the order that is wanted, with the place in the lower half."""

    def __init__(self, f: Function, scalar: Type, size: int, inner: int, largest: bool) -> None:
        self.f, self.scalar, self.size, self.inner, self.largest = f, scalar, size, inner, largest

    def heads(self, x: Value, at: Index, lanes: int = 1) -> Value:
        """The upper halves of keys."""
        f = self.f
        element = f.load(self.scalar.of(lanes), f.gep(x, f.times(at, self.inner), self.scalar))
        type = I32.of(lanes)
        sign = constant(-(1 << 31), type)
        if not self.scalar.floating:
            ascending = f.binary("xor", element, sign)
        else:
            zero = constant(0.0, element.type)
            element = f.select(f.compare("oeq", element, zero), zero, element)
            bits = f.bitcast(element, type)
            flipped = f.binary("xor", bits, constant(-1, type))
            negative = f.compare("slt", bits, constant(0, type))
            ascending = f.select(negative, flipped, f.binary("xor", bits, sign))
            ascending = f.select(f.compare("uno", element, element), constant(-1, type), ascending)
        return f.binary("xor", ascending, constant(-1, type)) if self.largest else ascending

    def key(self, x: Value, at: Value) -> Value:
        f = self.f
        head = f.convert("zext", self.heads(x, at), I64)
        return f.binary("or", f.binary("shl", head, constant(32, I64)), at)


def _selected(row: _Row, x: Value, count: int, lanes: int) -> Value:
    """The address of the first keys, found in one walk: most elements are passed by a vector at a time."""
    f = row.f
    found = f.slot(I64, count).address
    with f.loop(0, count, 1, (NO_UNROLL,)) as r:
        f.store(LAST, f.gep(found, r, I64))
    last = f.gep(found, count - 1, I64)

    def offer(at: Value) -> None:
        key = row.key(x, at)
        with f.when(f.compare("ult", key, f.load(I64, last))):
            place = f.variable(constant(count - 1, I64))
            with f.repeat() as (_, done):
                here = f.get(place)
                f.leave(done, f.compare("eq", here, constant(0, I64)))
                before = f.load(I64, f.gep(found, f.sub(here, constant(1, I64)), I64))
                f.leave(done, f.compare("ult", before, key))
                f.store(before, f.gep(found, here, I64))
                f.set(place, f.sub(here, constant(1, I64)))
            f.store(key, f.gep(found, f.get(place), I64))

    whole = row.size - row.size % lanes if row.inner == 1 else 0
    if whole:
        with f.loop(0, whole, lanes, (NO_UNROLL,)) as j:
            head = f.convert("trunc", f.binary("lshr", f.load(I64, last), constant(32, I64)), I32)
            near = f.compare("ule", row.heads(x, j, lanes), f.splat(head, lanes))
            with f.when(f.reduce("or", near)), f.loop(0, lanes, 1, (NO_UNROLL,)) as lane:
                offer(f.add(j, lane))
    if whole < row.size:
        with f.loop(whole, row.size, 1, (NO_UNROLL,)) as j:
            offer(j)
    return found


def _sorted(row: _Row, x: Value) -> Value:
    """The address of all keys in order: sorted by one digit after the other, the last first."""
    f, size, buckets = row.f, row.size, 1 << DIGIT
    sides = [f["scratch"], f.gep(f["scratch"], size, I64)]
    starts = f.slot(I32, DIGITS * buckets).address
    f.fill(starts, 0, DIGITS * buckets * 4)

    def bucket(key: Value, digit: int) -> Value:
        shifted = f.binary("lshr", key, constant(32 + digit * DIGIT, I64))
        number = f.binary("and", shifted, constant(buckets - 1, I64))
        return f.gep(starts, f.plus(number, digit * buckets), I32)

    with f.loop(0, size, 1, (NO_UNROLL,)) as j:
        key = row.key(x, j)
        f.store(key, f.gep(sides[0], j, I64))
        for digit in range(DIGITS):
            at = bucket(key, digit)
            f.store(f.add(f.load(I32, at), constant(1, I32)), at)
    for digit in range(DIGITS):
        total = f.variable(constant(0, I32))
        with f.loop(0, buckets, 1, (NO_UNROLL,)) as b:
            at = f.gep(starts, f.plus(b, digit * buckets), I32)
            held = f.load(I32, at)
            f.store(f.get(total), at)
            f.set(total, f.add(f.get(total), held))
        from_, to = sides[digit % 2], sides[1 - digit % 2]
        with f.loop(0, size, 1, (NO_UNROLL,)) as j:
            key = f.load(I64, f.gep(from_, j, I64))
            at = bucket(key, digit)
            place = f.load(I32, at)
            f.store(key, f.gep(to, f.convert("zext", place, I64), I64))
            f.store(f.add(place, constant(1, I32)), at)
    return sides[DIGITS % 2]
