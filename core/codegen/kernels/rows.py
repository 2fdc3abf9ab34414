"""Kernels over rows of neighbouring floats: softmax and layer normalization."""

from __future__ import annotations

from collections.abc import Callable

from heddle.core.codegen.kernels.blocking import each
from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, Index, Value, constant, prefix_mask
from heddle.core.codegen.vmath import exp_of_distance, log

Combine = Callable[[Function, Value, Value], Value]

ABREAST = 4
"""Vectors side by side, so that their instructions need not wait for each other."""
SOFTMAX_CYCLES, LAYER_NORM_CYCLES = 12, 4
"""About what a vector takes."""


def softmax(
    name: str, target: Target, rows: int, length: int, *, logarithmic: bool = False, internal: bool = True
) -> list[Function]:
    """The kernel `(x, y)`: e to the power of each element, divided by the row's sum of those; or its logarithm."""
    f = _entry(name, target, ["x", "y"], internal)
    row = _Row(f, target.lanes(4), length)
    pieces = Pieces(f, rows * row.vectors * SOFTMAX_CYCLES)
    for _, i in each(f, [1] * rows):
        with pieces.one():
            x, y = (f.gep(f[key], f.times(i, length), F32) for key in ("x", "y"))
            if row.vectors <= target.vector_registers // 2:
                _short_softmax(f, row, x, y, logarithmic)
            else:
                _long_softmax(f, row, x, y, logarithmic)
    return [f]


def _short_softmax(f: Function, row: _Row, x: Value, y: Value, logarithmic: bool) -> None:
    """One row that is kept in registers."""
    least = constant(float("-inf"), row.vector)
    values = [row.load(x, j * row.lanes, row.lanes, row.used(j), least) for j in range(row.vectors)]
    top = f.splat(_whole(f, values, _greater), row.lanes)
    distances = [f.sub(value, top) for value in values]
    raised = [exp_of_distance(f, distance) for distance in distances]
    total = _whole(f, raised, Function.add)
    if logarithmic:
        shift = f.splat(log(f, total), row.lanes)
        results = [f.sub(distance, shift) for distance in distances]
    else:
        inverse = f.splat(_inverse(f, total), row.lanes)
        results = [f.mul(value, inverse) for value in raised]
    for j, result in enumerate(results):
        row.store(result, y, j * row.lanes, row.used(j))


def _long_softmax(f: Function, row: _Row, x: Value, y: Value, logarithmic: bool) -> None:
    """One row in three walks: for its greatest element, for the sum, and for the results."""
    least = float("-inf")
    tops, sums = _Folding(row, least, _greater), _Folding(row, 0.0, Function.add)

    def distance(j: Index, lanes: int, used: int) -> Value:
        return f.sub(row.load(x, j, lanes, used, constant(least, F32.of(lanes))), f.splat(top, lanes))

    def raise_(j: Index, lanes: int, used: int) -> None:
        value = exp_of_distance(f, distance(j, lanes, used))
        if not logarithmic:
            row.store(value, y, j, used)
        sums.join(value)

    def finish(j: Index, lanes: int, used: int) -> None:
        if logarithmic:
            result = f.sub(distance(j, lanes, used), f.splat(factor, lanes))
        else:
            result = f.mul(row.load(y, j, lanes, used), f.splat(factor, lanes))
        row.store(result, y, j, used)

    row.walk(lambda j, lanes, used: tops.join(row.load(x, j, lanes, used, constant(least, F32.of(lanes)))))
    top = tops.result()
    row.walk(raise_)
    total = sums.result()
    factor = log(f, total) if logarithmic else _inverse(f, total)
    row.walk(finish)


def layer_norm(
    name: str, target: Target, rows: int, length: int, epsilon: float, *, shifted: bool = True, internal: bool = True
) -> list[Function]:
    """The kernel `(x, scale, shift, y)`: each row's distance from its mean, over its deviation, scaled and shifted.

    Without `shifted` the third pointer is not read.
    """
    f = _entry(name, target, ["x", "scale", "shift", "y"], internal)
    row = _Row(f, target.lanes(4), length)
    pieces = Pieces(f, rows * row.vectors * LAYER_NORM_CYCLES)
    for _, i in each(f, [1] * rows):
        with pieces.one():
            x, y = (f.gep(f[key], f.times(i, length), F32) for key in ("x", "y"))
            _normalize(f, row, x, y, epsilon, shifted)
    return [f]


def _normalize(f: Function, row: _Row, x: Value, y: Value, epsilon: float, shifted: bool) -> None:
    """One row in three walks: for its mean, for its variance, and for the results."""

    def mean_of(term: Callable[[Index, int, int], Value]) -> Value:
        sums = _Folding(row, 0.0, Function.add)
        row.walk(lambda j, lanes, used: sums.join(term(j, lanes, used)))
        return f.mul(sums.result(), constant(1.0 / row.length, F32))

    def distance(j: Index, lanes: int, used: int) -> Value:
        return f.sub(row.load(x, j, lanes, used), f.splat(mean, lanes))

    def square(j: Index, lanes: int, used: int) -> Value:
        value = distance(j, lanes, used)
        if used < lanes:
            value = f.select(prefix_mask(used, lanes), value, constant(0.0, value.type))
        return f.mul(value, value)

    def finish(j: Index, lanes: int, used: int) -> None:
        normal = f.mul(distance(j, lanes, used), f.splat(inverse, lanes))
        result = f.mul(normal, row.load(f["scale"], j, lanes, used))
        if shifted:
            result = f.add(result, row.load(f["shift"], j, lanes, used))
        row.store(result, y, j, used)

    mean = mean_of(lambda j, lanes, used: row.load(x, j, lanes, used))
    variance = f.add(mean_of(square), constant(epsilon, F32))
    inverse = _inverse(f, f.intrinsic("sqrt", variance))
    row.walk(finish)


class _Row:
    """One row of elements: several vectors at a time, written as one that LLVM takes apart, so that their instructions
    come by turns and need not wait for each other; then a vector at a time, the last one cut to what is left."""

    def __init__(self, f: Function, lanes: int, length: int) -> None:
        self.f, self.lanes, self.length = f, lanes, length
        self.vector, self.wide = F32.of(lanes), ABREAST * lanes
        self.vectors = -(-length // lanes)

    def used(self, number: int) -> int:
        """How many lanes of a vector belong to the row."""
        return min(self.lanes, self.length - number * self.lanes)

    def load(self, base: Value, at: Index, lanes: int, used: int, fill: Value | None = None) -> Value:
        address = self.f.gep(base, at, F32)
        if used == lanes:
            return self.f.load(F32.of(lanes), address)
        return self.f.masked_load(F32.of(lanes), address, prefix_mask(used, lanes), fill)

    def store(self, value: Value, base: Value, at: Index, used: int) -> None:
        address, lanes = self.f.gep(base, at, F32), value.type.lanes
        if used == lanes:
            self.f.store(value, address)
        else:
            self.f.masked_store(value, address, prefix_mask(used, lanes))

    def walk(self, visit: Callable[[Index, int, int], None]) -> None:
        """`visit(first element, lanes, lanes that belong to the row)` for every vector."""
        whole = self.length - self.length % self.wide
        if whole:
            with self.f.loop(0, whole, self.wide, (NO_UNROLL,)) as j:
                visit(j, self.wide, self.wide)
        for number in range(whole // self.lanes, self.vectors):
            visit(number * self.lanes, self.lanes, self.used(number))


class _Folding:
    """A reduction over a row, in wide vectors and in single ones."""

    def __init__(self, row: _Row, initial: float, combine: Combine) -> None:
        self.f, self.combine = row.f, combine
        self.parts = {n: row.f.variable(constant(initial, F32.of(n))) for n in (row.wide, row.lanes)}

    def join(self, value: Value) -> None:
        part = self.parts[value.type.lanes]
        self.f.set(part, self.combine(self.f, self.f.get(part), value))

    def result(self) -> Value:
        """Everything in one number."""
        wide, single = (self.f.get(part) for part in self.parts.values())
        narrow = _halved(self.f, wide, self.combine, single.type.lanes)
        return _halved(self.f, self.combine(self.f, narrow, single), self.combine, 1)


def _entry(name: str, target: Target, pointers: list[str], internal: bool) -> Function:
    attributes = f'noinline nounwind "prefer-vector-width"="{target.vector_bytes * 8}"'
    parameters = [(key, "ptr noalias" if key == "y" else "ptr readonly") for key in pointers]
    return Function(name, parameters, internal=internal, attributes=attributes)


def _halved(f: Function, value: Value, combine: Combine, lanes: int) -> Value:
    """A vector joined with itself, half by half, until so many lanes are left."""
    while value.type.lanes > lanes:
        half = value.type.lanes // 2
        if half == 1:
            low, high = f.extract(value, 0), f.extract(value, 1)
        else:
            low, high = (f.shuffle(value, None, range(start, start + half)) for start in (0, half))
        value = combine(f, low, high)
    return value


def _greater(f: Function, a: Value, b: Value) -> Value:
    """The greater of two; any of them where one is NaN, which the sum shows anyway."""
    return f.select(f.compare("ogt", a, b), a, b)


def _inverse(f: Function, x: Value) -> Value:
    return f.div(constant(1.0, x.type), x)


def _whole(f: Function, values: list[Value], combine: Combine) -> Value:
    """All lanes of all values in one number."""
    return _halved(f, _tree(f, values, combine), combine, 1)


def _tree(f: Function, values: list[Value], join: Combine) -> Value:
    """All values joined pairwise."""
    while len(values) > 1:
        pairs = [join(f, a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(values) - len(values) % 2 :]
    return values[0]
