"""Kernels over rows of neighbouring floats: softmax and layer normalization."""

from __future__ import annotations

from collections.abc import Callable

from heddle.core.codegen.kernels.blocking import each
from heddle.core.codegen.llvm import NO_UNROLL, Function, Variable
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, Index, Value, constant, prefix_mask
from heddle.core.codegen.vmath import exp

ABREAST = 4
"""Accumulators side by side, so that additions need not wait for each other."""
SOFTMAX_CYCLES, LAYER_NORM_CYCLES = 12, 4
"""About what a vector takes."""
HELD = 16
"""Rows of so many vectors at most are kept in registers."""


def softmax(name: str, target: Target, rows: int, length: int, *, internal: bool = True) -> list[Function]:
    """The kernel `(x, y)`: e to the power of each element, divided by the row's sum of those."""
    f = _entry(name, target, ["x", "y"], internal)
    row = _Row(f, target.lanes(4), length)
    pieces = Pieces(f, rows * row.vectors * SOFTMAX_CYCLES)
    for _, i in each(f, [1] * rows):
        with pieces.one():
            x, y = (f.gep(f[key], f.times(i, length), F32) for key in ("x", "y"))
            least = constant(float("-inf"), row.vector)
            if row.vectors <= HELD:
                values = [row.load(x, j * row.lanes, row.used(j), least) for j in range(row.vectors)]
                top = f.splat(f.reduce("fmax", _tree(f, values, _greater)), row.lanes)
                raised = [exp(f, f.sub(value, top)) for value in values]
                inverse = f.splat(_inverse(f, f.reduce("fadd", _tree(f, raised, Function.add))), row.lanes)
                for j, value in enumerate(raised):
                    row.store(f.mul(value, inverse), y, j * row.lanes, row.used(j))
                continue
            tops = [f.variable(least) for _ in range(ABREAST)]

            def find(at: Value, used: int, lane: int, tops: list[Variable] = tops, least: Value = least) -> None:
                f.set(tops[lane], _greater(f, f.get(tops[lane]), row.load(at, 0, used, least)))

            row.walk(lambda j, used, lane, x=x: find(f.gep(x, j, F32), used, lane))  # type: ignore[misc]
            top = f.splat(f.reduce("fmax", _tree(f, [f.get(t) for t in tops], _greater)), row.lanes)
            sums = [f.variable(constant(0.0, row.vector)) for _ in range(ABREAST)]

            def raise_(j: Index, used: int, lane: int, x: Value = x, y: Value = y, top: Value = top,
                       sums: list[Variable] = sums, least: Value = least) -> None:  # fmt: skip
                value = exp(f, f.sub(row.load(f.gep(x, j, F32), 0, used, least), top))
                row.store(value, f.gep(y, j, F32), 0, used)
                f.set(sums[lane], f.add(f.get(sums[lane]), value))

            row.walk(raise_)
            inverse = f.splat(
                _inverse(f, f.reduce("fadd", _tree(f, [f.get(s) for s in sums], Function.add))), row.lanes
            )

            def scale(j: Index, used: int, lane: int, y: Value = y, inverse: Value = inverse) -> None:
                at = f.gep(y, j, F32)
                row.store(f.mul(row.load(at, 0, used), inverse), at, 0, used)

            row.walk(scale)
    return [f]


def layer_norm(
    name: str, target: Target, rows: int, length: int, epsilon: float, *, shifted: bool = True, internal: bool = True
) -> list[Function]:
    """The kernel `(x, scale, shift, y)`: each row's distance from its mean, over its deviation, scaled and shifted.

    Without `shifted` the third pointer is not read.
    """
    f = _entry(name, target, ["x", "scale", "shift", "y"], internal)
    row = _Row(f, target.lanes(4), length)
    zero = constant(0.0, row.vector)
    pieces = Pieces(f, rows * row.vectors * LAYER_NORM_CYCLES)
    for _, i in each(f, [1] * rows):
        with pieces.one():
            x, y = (f.gep(f[key], f.times(i, length), F32) for key in ("x", "y"))

            def total(term: Callable[[Index, int], Value]) -> Value:
                sums = [f.variable(zero) for _ in range(ABREAST)]
                row.walk(lambda j, used, lane: f.set(sums[lane], f.add(f.get(sums[lane]), term(j, used))))
                whole = f.reduce("fadd", _tree(f, [f.get(s) for s in sums], Function.add))
                return f.mul(whole, constant(1.0 / length, F32))

            mean = f.splat(total(lambda j, used, x=x: row.load(f.gep(x, j, F32), 0, used)), row.lanes)  # type: ignore[misc]

            def square(j: Index, used: int, x: Value = x, mean: Value = mean) -> Value:
                distance = f.sub(row.load(f.gep(x, j, F32), 0, used), mean)
                if used < row.lanes:
                    distance = f.select(prefix_mask(used, row.lanes), distance, zero)
                return f.mul(distance, distance)

            variance = f.add(total(square), constant(epsilon, F32))
            inverse = f.splat(_inverse(f, f.intrinsic("sqrt", variance)), row.lanes)

            def finish(j: Index, used: int, lane: int, x: Value = x, y: Value = y, mean: Value = mean,
                       inverse: Value = inverse) -> None:  # fmt: skip
                normal = f.mul(f.sub(row.load(f.gep(x, j, F32), 0, used), mean), inverse)
                result = f.mul(normal, row.load(f.gep(f["scale"], j, F32), 0, used))
                if shifted:
                    result = f.add(result, row.load(f.gep(f["shift"], j, F32), 0, used))
                row.store(result, f.gep(y, j, F32), 0, used)

            row.walk(finish)
    return [f]


class _Row:
    """One row of elements, a vector at a time, the last one cut to what is left."""

    def __init__(self, f: Function, lanes: int, length: int) -> None:
        self.f, self.lanes, self.length = f, lanes, length
        self.vector = F32.of(lanes)
        self.vectors = -(-length // lanes)

    def used(self, number: int) -> int:
        """How many lanes of a vector belong to the row."""
        return min(self.lanes, self.length - number * self.lanes)

    def load(self, base: Value, at: Index, used: int, fill: Value | None = None) -> Value:
        address = self.f.gep(base, at, F32)
        if used == self.lanes:
            return self.f.load(self.vector, address)
        return self.f.masked_load(self.vector, address, prefix_mask(used, self.lanes), fill)

    def store(self, value: Value, base: Value, at: Index, used: int) -> None:
        address = self.f.gep(base, at, F32)
        if used == self.lanes:
            self.f.store(value, address)
        else:
            self.f.masked_store(value, address, prefix_mask(used, self.lanes))

    def walk(self, visit: Callable[[Index, int, int], None]) -> None:
        """`visit(first element, lanes used, number of the accumulator)` for every vector."""
        step = ABREAST * self.lanes
        whole = self.length - self.length % step
        if whole:
            with self.f.loop(0, whole, step, (NO_UNROLL,)) as j:
                for lane in range(ABREAST):
                    visit(self.f.plus(j, lane * self.lanes), self.lanes, lane)
        for lane, number in enumerate(range(whole // self.lanes, self.vectors)):
            visit(number * self.lanes, self.used(number), lane)


def _entry(name: str, target: Target, pointers: list[str], internal: bool) -> Function:
    attributes = f'noinline nounwind "prefer-vector-width"="{target.vector_bytes * 8}"'
    parameters = [(key, "ptr noalias" if key == "y" else "ptr readonly") for key in pointers]
    return Function(name, parameters, internal=internal, attributes=attributes)


def _greater(f: Function, a: Value, b: Value) -> Value:
    """The greater of two; any of them where one is NaN, which the sum shows anyway."""
    return f.select(f.compare("ogt", a, b), a, b)


def _inverse(f: Function, x: Value) -> Value:
    return f.div(constant(1.0, x.type), x)


def _tree(f: Function, values: list[Value], join: Callable[[Function, Value, Value], Value]) -> Value:
    """All values joined pairwise."""
    while len(values) > 1:
        pairs = [join(f, a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(values) - len(values) % 2 :]
    return values[0]
