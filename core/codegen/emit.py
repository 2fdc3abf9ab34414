"""From loop nests to LLVM: one function per kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from heddle.core.codegen.affine import Affine, Atom, Axis, Opaque, Quotient
from heddle.core.codegen.kernels.blocking import chunks, each
from heddle.core.codegen.kernels.layout import transpose_registers
from heddle.core.codegen.llvm import NO_UNROLL, Function, Variable, interleaved
from heddle.core.codegen.loops import Buffer, Fail, For, Kernel, Local, Set, Stmt, Store, Turn, While, read_by
from heddle.core.codegen.narrow import from_storage, register_type, storage_type, to_storage
from heddle.core.codegen.numeric import Context, apply, literal, power_by
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.tensor import walk
from heddle.core.codegen.values import I1, I32, I64, Index, Value, constant, vector
from heddle.core.codegen.vmath import ABREAST
from heddle.core.codegen.work import cycles
from heddle.core.errors import BackendError
from heddle.core.ops.scalar import Expr, is_floating

FOLD_FLAGS = "reassoc contract nsz"
"""Reductions may be reordered, and a product may join a sum: what ONNX leaves open. NaN and infinity stay exact."""

_PIECES = 64
"""The most pieces of a kernel made of loops: enough for threads to even out, and few to walk over."""
_BLOCK = 64
"""Turns of an innermost loop come in blocks of so many, so that vectors are whole."""


def attributes(target: Target) -> str:
    """The attributes of every function: the widest vectors, and no calls of a C library that is not there."""
    width = target.vector_bytes * 8
    return (
        f'nounwind "no-builtins" "no-trapping-math"="true" "prefer-vector-width"="{width}" "min-legal-vector-width"="0"'
    )


def emit(kernel: Kernel, name: str, target: Target) -> Function:
    """The kernel as `i32 name(services, parameters...)`; it returns 0, or the number of a fault."""
    parameters = [("services", "ptr noalias readonly")]
    for number, buffer in enumerate(kernel.parameters):
        readonly = "" if buffer in kernel.written else " readonly"
        parameters.append((f"b{number}", f"ptr noalias align {alignment(buffer)}{readonly}"))
    f = Function(name, parameters, I32, attributes=attributes(target))
    addresses = {buffer: f[f"b{number}"] for number, buffer in enumerate(kernel.parameters)}
    pieces = Pieces(f, cycles(kernel) if _divisible(kernel) else 0)
    Emitter(Context(f, target, f["services"]), addresses, pieces).block(kernel.body)
    f.give(constant(0, I32))
    return f


def _divisible(kernel: Kernel) -> bool:
    """Whether the turns of its outermost loops may run in any order."""
    if not all(isinstance(stmt, For) and stmt.kind == "parallel" for stmt in kernel.body):
        return False
    return len(kernel.body) == 1 or not any(buffer in kernel.written for buffer in read_by(kernel.body))


def _properties(stmt: For) -> tuple[str, ...]:
    """What LLVM is told of a loop: outer ones stay as they are, long chains of arithmetic stand side by side."""
    if any(isinstance(inner, For) for inner in stmt.body):
        return (NO_UNROLL,)
    values = [inner.value for inner in stmt.body if isinstance(inner, Set | Store)]
    counts = [ABREAST[item.op] for value in values for item in walk(value) if item.op in ABREAST]
    return (interleaved(min(counts)),) if counts else ()


def alignment(buffer: Buffer) -> int:
    """The bytes at whose multiples an element of a buffer lies."""
    return max(1, storage_type(buffer.dtype).bits // 8)


class Emitter:
    """What is known at one place of the function: where buffers, axes, variables and finished expressions are."""

    def __init__(self, context: Context, addresses: Mapping[Buffer, Value], pieces: Pieces | None = None) -> None:
        self.f = context.f
        self.context = context
        self.addresses = dict(addresses)
        self.pieces = pieces if pieces is not None and pieces.shared else None
        self.axes: dict[Axis, Index] = {}
        self.vector: tuple[Axis, int] | None = None
        self.locals: dict[Local, Variable] = {}
        self.scopes: list[dict[Expr, Value]] = [{}]

    # -- statements ------------------------------------------------------------------------------------------------

    def block(self, body: Sequence[Stmt]) -> None:
        for stmt in body:
            self.statement(stmt)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is computed inside is not known after."""
        self.scopes.append({})
        yield
        self.scopes.pop()

    def statement(self, stmt: Stmt) -> None:
        f = self.f
        if isinstance(stmt, For):
            self.loop(stmt)
        elif isinstance(stmt, Set):
            value = self.expr(stmt.value)
            value = self.widen(value, self.vector[1]) if self.vector else value
            if stmt.local not in self.locals or self.locals[stmt.local].type != value.type:
                self.locals[stmt.local] = f.slot(value.type)
            f.set(self.locals[stmt.local], value)
            self.forget()
        elif isinstance(stmt, Store):
            self.store(stmt)
        elif isinstance(stmt, Turn):
            self.turned(stmt)
        elif isinstance(stmt, Fail):
            self.fail(stmt.number)
        elif isinstance(stmt, While):
            with f.repeat() as (_, done), self.scope():
                f.leave(done, self.invert(self.expr(stmt.condition)))
                self.block(stmt.body)
        else:
            condition = self.expr(stmt.condition)
            with f.when(condition), self.scope():
                self.block(stmt.then)
            if stmt.otherwise:
                with f.unless(condition), self.scope():
                    self.block(stmt.otherwise)
            self.forget()

    def fail(self, number: int) -> None:
        """End the run with the number of a fault."""
        self.f.give(constant(number, I32))

    def forget(self) -> None:
        """Variables or memory changed: what was computed from them is to be computed again."""
        for scope in self.scopes:
            scope.clear()

    def invert(self, condition: Value) -> Value:
        return self.f.binary("xor", condition, constant(True, I1))

    def loop(self, stmt: For) -> None:
        axis = stmt.axis
        if axis.extent == 0:
            return
        if self.pieces is not None:
            self.in_pieces(stmt, self.pieces)
        elif stmt.kind == "vector":
            self.vectors(stmt)
        elif axis.extent == 1:
            self.turn(stmt, 0)
        elif stmt.kind == "unroll":
            for number in range(axis.extent):
                self.turn(stmt, number)
        else:
            with self.f.loop(0, axis.extent, properties=_properties(stmt)) as i:
                self.turn(stmt, i)

    def in_pieces(self, stmt: For, pieces: Pieces, outside: int = 1) -> None:
        """A parallel loop whose turns, in blocks, are the pieces of the kernel; or those of the loop in it."""
        f, axis = self.f, stmt.axis
        inner = stmt.body[0] if len(stmt.body) == 1 else None
        if isinstance(inner, For) and inner.kind == "parallel" and outside * axis.extent < _PIECES:
            with f.loop(0, axis.extent, properties=(NO_UNROLL,)) as i:
                self.axes[axis] = i
                self.in_pieces(inner, pieces, outside * axis.extent)
                del self.axes[axis]
            return
        size = -(-axis.extent * outside // _PIECES)
        if not any(isinstance(part, For) for part in stmt.body):
            size = -(-size // _BLOCK) * _BLOCK
        self.pieces = None  # what is inside is a part of a piece
        for count, start in each(f, chunks(axis.extent, size)):
            with pieces.one(), f.loop(0, count, 1, _properties(stmt)) if count > 1 else nullcontext(0) as i:
                self.turn(stmt, f.plus(start, i))
        self.pieces = pieces

    def turn(self, stmt: For, i: Index) -> None:
        self.forget()
        self.axes[stmt.axis] = i
        with self.scope(), self.f.fast(FOLD_FLAGS if stmt.kind == "fold" else self.f.flags):
            self.block(stmt.body)
        del self.axes[stmt.axis]
        self.forget()

    def vectors(self, stmt: For) -> None:
        """All turns of a loop, written out as vectors of the machine's width, then of smaller powers of two."""
        assert self.vector is None, "vector loops do not nest"
        widest = self.context.target.lanes(4)
        at = 0
        while at < stmt.axis.extent:
            lanes = widest
            while lanes > stmt.axis.extent - at:
                lanes //= 2
            self.vector = (stmt.axis, lanes) if lanes > 1 else None
            self.turn(stmt, at)
            self.vector = None
            at += lanes

    def turned(self, stmt: Turn) -> None:
        f, type = self.f, storage_type(stmt.source.dtype)
        origin = self.address(stmt.source, self.index(stmt.origin))
        rows = [f.load(type.of(stmt.size), f.gep(origin, j * stmt.step, type)) for j in range(stmt.size)]
        target = self.address(stmt.target, self.index(stmt.at))
        for i, row in enumerate(transpose_registers(f, rows)):
            f.store(row, f.gep(target, i * stmt.across, type))
        self.forget()

    def store(self, stmt: Store) -> None:
        f, buffer = self.f, stmt.buffer
        value = to_storage(f, self.context.target, buffer.dtype, self.expr(stmt.value))
        lanes, stride = self.along(stmt.offset)
        if lanes == 1 or stride == 0:
            if value.type.lanes > 1:
                raise BackendError(f"host: every lane of a vector is stored in the same element of {buffer}")
            f.store(value, self.address(buffer, self.index(stmt.offset)))
        elif stride == 1:
            f.store(self.widen(value, lanes), self.address(buffer, self.index(stmt.offset)))
        else:
            offsets = self.lane_offsets(stmt.offset, lanes)
            for lane in range(lanes):
                one = f.extract(value, lane)
                f.store(one, self.address(buffer, offsets[lane]))
        self.forget()

    # -- memory ----------------------------------------------------------------------------------------------------

    def address(self, buffer: Buffer, offset: Index) -> Value:
        if buffer not in self.addresses:
            assert buffer.local, f"{buffer} is no parameter of the kernel"
            self.addresses[buffer] = self.f.slot(storage_type(buffer.dtype), max(buffer.size, 2)).address
        return self.f.gep(self.addresses[buffer], offset, storage_type(buffer.dtype))

    def along(self, offset: Affine) -> tuple[int, int | None]:
        """(lanes, stride) of an offset along the loop that is being vectorised; None: not a constant stride."""
        if self.vector is None:
            return 1, 0
        axis, lanes = self.vector
        stride = offset.stride(axis)
        if stride == 0 and any(isinstance(atom, Opaque) and self.varies(atom.expr) for atom, _ in offset.terms):
            stride = None
        return lanes, stride

    def varies(self, expr: Expr) -> bool:
        """Whether an expression differs between lanes through a variable."""
        return any(
            item.op == "local" and item.value in self.locals and self.locals[item.value].type.lanes > 1
            for item in walk(expr)
        )

    def load(self, expr: Expr) -> Value:
        f, buffer, offset = self.f, expr.value.source, expr.value.indices[0]
        type = storage_type(buffer.dtype)
        lanes, stride = self.along(offset)
        if lanes == 1 or stride == 0:
            stored = f.load(type, self.address(buffer, self.index(offset)))
        elif stride == 1:
            stored = f.load(type.of(lanes), self.address(buffer, self.index(offset)))
        else:
            offsets = self.lane_offsets(offset, lanes)
            stored = Value("poison", type.of(lanes))
            for lane in range(lanes):
                stored = f.insert(stored, f.load(type, self.address(buffer, offsets[lane])), lane)
        return from_storage(f, self.context.target, buffer.dtype, stored)

    def lane_offsets(self, offset: Affine, lanes: int) -> list[Index]:
        """The offset in each lane."""
        value = self.index_vector(offset, lanes)
        if isinstance(value, Value) and value.type.lanes > 1:
            return [self.f.extract(value, lane) for lane in range(lanes)]
        return [value] * lanes

    # -- expressions -----------------------------------------------------------------------------------------------

    def expr(self, expr: Expr) -> Value:
        for scope in reversed(self.scopes):
            if expr in scope:
                return scope[expr]
        value = self.scopes[-1][expr] = self.compute(expr)
        return value

    def compute(self, expr: Expr) -> Value:
        if expr.op == "const":
            return literal(expr.value, expr.dtype)
        if expr.op == "load":
            return self.load(expr)
        if expr.op == "local":
            return self.f.get(self.locals[expr.value])
        if expr.op == "index":
            if self.vector is not None and self.along(expr.value)[1] != 0:
                value = self.index_vector(expr.value, self.vector[1])
            else:
                value = self.index(expr.value)
            return self.f.index(value)
        if expr.op == "if":
            return self.choose(expr)
        if expr.op == "pow" and expr.args[1].op == "const" and is_floating(expr.dtype):
            found = power_by(self.context, expr.dtype, self.expr(expr.args[0]), expr.args[1].value)
            if found is not None:
                return found
        args = [self.expr(arg) for arg in expr.args]
        lanes = max(arg.type.lanes for arg in args)
        args = [self.widen(arg, lanes) for arg in args]
        operand = expr.args[-1].dtype
        return apply(self.context, expr.op, expr.dtype, operand, args)

    def widen(self, value: Value, lanes: int) -> Value:
        if value.type.lanes == lanes or lanes == 1:
            return value
        if not value.text.startswith("%") and value.text != "poison":
            return Value(f"splat ({value})", value.type.of(lanes))
        return self.f.splat(value, lanes)

    def choose(self, expr: Expr) -> Value:
        """Only the side that the condition wants is computed."""
        condition = self.expr(expr.args[0])
        if self.vector is not None:
            raise BackendError("host: a guarded expression stands in a vector loop")
        result = self.f.slot(register_type(expr.dtype))
        with self.f.when(condition), self.scope():
            self.f.set(result, self.expr(expr.args[1]))
        with self.f.unless(condition), self.scope():
            self.f.set(result, self.expr(expr.args[2]))
        return self.f.get(result)

    # -- indices ---------------------------------------------------------------------------------------------------

    def index(self, index: Affine) -> Index:
        """An index (in the first lane, when it differs between lanes)."""
        value: Index = index.constant
        for atom, coefficient in index.terms:
            value = self.f.plus(value, self.f.times(self.atom(atom), coefficient))
        return value

    def atom(self, atom: Atom) -> Index:
        if isinstance(atom, Axis):
            return self.axes[atom]
        if isinstance(atom, Opaque):
            return self.expr(atom.expr)
        inner = self.index(atom.inner)
        if isinstance(inner, int):
            return inner // atom.divisor if isinstance(atom, Quotient) else inner % atom.divisor
        return self.divided(atom.inner, inner, atom.divisor, isinstance(atom, Quotient))

    def divided(self, index: Affine, inner: Value, divisor: int, quotient: bool) -> Value:
        """The quotient rounded down, or the remainder; unsigned division where nothing can be negative."""
        f = self.f
        by = constant(divisor, inner.type)
        if index.low >= 0:
            return f.binary("udiv" if quotient else "urem", inner, by)
        rest = f.binary("srem", inner, by)
        zero = constant(0, inner.type)
        rest = f.select(f.compare("slt", rest, zero), f.add(rest, by), rest)
        return f.binary("sdiv", f.sub(inner, rest), by) if quotient else rest

    def index_vector(self, index: Affine, lanes: int) -> Index:
        """An index in every lane of the loop that is being vectorised."""
        assert self.vector is not None
        axis, _ = self.vector
        f = self.f
        total: Index = index.constant
        for atom, coefficient in index.terms:
            part = self.atom_vector(atom, axis, lanes)
            total = self._combine("add", total, self._combine("mul", part, coefficient, lanes), lanes)
        return total if isinstance(total, int) or total.type.lanes > 1 else f.splat(total, lanes)

    def atom_vector(self, atom: Atom, axis: Axis, lanes: int) -> Index:
        if atom is axis:
            return self._combine("add", self.axes[axis], vector(range(lanes), I64), lanes)
        if isinstance(atom, Axis):
            return self.axes[atom]
        if isinstance(atom, Opaque):
            return self.expr(atom.expr)
        if axis not in atom.inner.axes:
            return self.atom(atom)
        inner = self.index_vector(atom.inner, lanes)
        assert isinstance(inner, Value)
        return self.divided(atom.inner, inner, atom.divisor, isinstance(atom, Quotient))

    def _combine(self, op: str, a: Index, b: Index, lanes: int) -> Index:
        """Sum or product of two indices, either of which may be a vector."""
        f = self.f
        vectors = [x for x in (a, b) if isinstance(x, Value) and x.type.lanes > 1]
        if not vectors:
            return f.plus(a, b) if op == "add" else f.times(a, b)
        if op == "mul" and 1 in (a, b):
            return b if a == 1 else a
        return f.binary(op, self.widen(f.index(a), lanes), self.widen(f.index(b), lanes))
