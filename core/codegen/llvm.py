"""A builder of textual LLVM IR: typed values, loops, conditions, vectors, masks, intrinsics, and a module's text.

Index arithmetic accepts Python integers and folds them, so that code generators write offsets plainly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from heddle.core.codegen.values import F32, I1, I8, I32, I64, PTR, Index, Type, Value, constant, vector

NO_UNROLL = '!"llvm.loop.unroll.disable"'
NO_VECTORIZE = '!"llvm.loop.vectorize.enable", i1 false'
VECTORIZE = '!"llvm.loop.vectorize.enable", i1 true'


def interleaved(count: int) -> str:
    """The property of a loop that, made of vectors, has so many of them in a turn."""
    return f'!"llvm.loop.interleave.count", i32 {count}'


@dataclass(frozen=True)
class Variable:
    """A mutable local that LLVM's SROA turns into registers."""

    address: Value
    type: Type


@dataclass(frozen=True)
class Division:
    """A function's work is done in `count` pieces, of which a thread claims `most` at once at most."""

    count: int
    most: int


class Function:
    """One function under construction: its methods append instructions at the end of the current block.

    `flags` are the fast-math flags of the floating-point instructions that follow; see `fast`. `turns` is how often
    the current place runs for each call, as far as loops have known bounds.
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[tuple[str, str]],
        result: Type | None = None,
        *,
        internal: bool = False,
        attributes: str = "nounwind",
    ) -> None:
        """`parameters` are pairs of a name and a type with its attributes, as in `("a", "ptr noalias readonly")`."""
        self.name, self.result, self.internal, self.attributes = name, result, internal, attributes
        self.parameters = tuple(parameters)
        self.arguments = {key: Value(f"%{key}", Type(text.split()[0])) for key, text in parameters}
        self.flags = ""
        self.turns = 1
        self.division: Division | None = None
        self.declarations: set[str] = set()
        self.globals: dict[str, str] = {}
        self._slots: list[str] = []
        self._body: list[str] = []
        self._metadata: list[tuple[str, ...]] = []
        self._count = 0
        self._closed = False

    def __getitem__(self, name: str) -> Value:
        """The argument of this name."""
        return self.arguments[name]

    def parameter(self, name: str, text: str) -> Value:
        """One more parameter, behind those that there are; `text` is its type with its attributes."""
        self.parameters = (*self.parameters, (name, text))
        self.arguments[name] = Value(f"%{name}", Type(text.split()[0]))
        return self.arguments[name]

    # -- instructions as text ------------------------------------------------------------------------------------

    def emit(self, text: str) -> None:
        """Append an instruction without a result."""
        if not self._closed:
            self._body.append(f"  {text}")

    def value(self, text: str, type: Type) -> Value:
        """Append an instruction with a result."""
        self._count += 1
        name = f"%t{self._count}"
        self.emit(f"{name} = {text}")
        return Value(name, type)

    def call(self, name: str, result: Type | None, args: Sequence[Value], *, attributes: Sequence[str] = ()) -> Value:
        """Call an external function or intrinsic, declaring it; `attributes` belong to the arguments, in order."""
        declared = ", ".join(str(arg.type) for arg in args)
        self.declarations.add(f"declare {result or 'void'} @{name}({declared})")
        return self._call(f"@{name}", result, args, attributes, self.flags if result and result.floating else "")

    def call_pointer(self, address: Value, result: Type | None, args: Sequence[Value]) -> Value:
        """Call the function at an address."""
        return self._call(address.text, result, args, (), "")

    def assembly(self, code: str, constraints: str, result: Type | None, args: Sequence[Value]) -> Value:
        """Inline assembly, as LLVM writes it: `"vaddps $2, $1, $0"`, `"=x,x,x"`; it may have effects of its own."""
        return self._call(f"asm sideeffect {json.dumps(code)}, {json.dumps(constraints)}", result, args, (), "")

    def invoke(self, callee: Function, args: Sequence[Value]) -> Value:
        """Call a function of the same module."""
        return self._call(f"@{callee.name}", callee.result, args, (), "fastcc" if callee.internal else "")

    def _call(
        self, callee: str, result: Type | None, args: Sequence[Value], attributes: Sequence[str], prefix: str
    ) -> Value:
        notes = [*attributes, *[""] * (len(args) - len(attributes))]
        inner = ", ".join(
            " ".join(filter(None, (str(arg.type), note, arg.text))) for arg, note in zip(args, notes, strict=True)
        )
        text = " ".join(filter(None, ("call", prefix, str(result or "void"), f"{callee}({inner})")))
        if result is None:
            self.emit(text)
            return Value("", Type("void"))
        return self.value(text, result)

    def intrinsic(self, name: str, *args: Value) -> Value:
        """An overloaded intrinsic whose result and operands are of one type: `fma`, `sqrt`, `maxnum`, `umin`."""
        type = args[0].type
        return self.call(f"llvm.{name}.{type.suffix}", type, args)

    @contextmanager
    def fast(self, flags: str) -> Iterator[None]:
        """Within, floating-point instructions bear these fast-math flags."""
        before, self.flags = self.flags, flags
        yield
        self.flags = before

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def binary(self, op: str, a: Value, b: Value, flags: str = "") -> Value:
        """An instruction of two operands of one type, by LLVM's name."""
        assert a.type == b.type, f"{self.name}: {op} of {a} and {b}"
        return self.value(" ".join(filter(None, (op, flags, str(a.type), f"{a.text}, {b.text}"))), a.type)

    def _arithmetic(self, op: str, a: Value, b: Value) -> Value:
        return self.binary(f"f{op}", a, b, self.flags) if a.type.floating else self.binary(op, a, b)

    def add(self, a: Value, b: Value) -> Value:
        return self._arithmetic("add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self._arithmetic("sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self._arithmetic("mul", a, b)

    def div(self, a: Value, b: Value) -> Value:
        """Floating-point division; `sdiv` and `udiv` are had by `binary`."""
        return self.binary("fdiv", a, b, self.flags)

    def neg(self, a: Value) -> Value:
        if not a.type.floating:
            return self.sub(constant(0, a.type), a)
        return self.value(" ".join(filter(None, ("fneg", self.flags, str(a)))), a.type)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """`a * b + c`, rounded once. Without the instruction it is a call of the C library: see `Target.fused`."""
        return self.intrinsic("fma", a, b, c)

    def compare(self, op: str, a: Value, b: Value) -> Value:
        """`icmp` or `fcmp` by its predicate: `slt`, `ult`, `eq`; `olt`, `uno`."""
        assert a.type == b.type, f"{self.name}: {op} of {a} and {b}"
        kind = "fcmp" if a.type.floating else "icmp"
        return self.value(f"{kind} {op} {a}, {b.text}", a.type.like("i1"))

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        return self.value(f"select {condition}, {yes}, {no}", yes.type)

    def convert(self, op: str, a: Value, scalar: Type) -> Value:
        """A conversion by LLVM's name (`sitofp`, `trunc`, `zext`...), lane by lane; nothing where the type is right."""
        to = scalar.of(a.type.lanes)
        return a if to == a.type else self.value(f"{op} {a} to {to}", to)

    def bitcast(self, a: Value, type: Type) -> Value:
        return a if a.type == type else self.value(f"bitcast {a} to {type}", type)

    # -- indices, folded where they are known --------------------------------------------------------------------

    def index(self, i: Index) -> Value:
        """An index as a value of i64."""
        return constant(i, I64) if isinstance(i, int) else i

    def plus(self, a: Index, b: Index) -> Index:
        """The sum of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0 or b == 0:
            return a if b == 0 else b
        return self.binary("add", self.index(a), self.index(b), "nsw")

    def times(self, a: Index, b: Index) -> Index:
        """The product of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 0 or b == 0:
            return 0
        if a == 1 or b == 1:
            return a if b == 1 else b
        return self.binary("mul", self.index(a), self.index(b), "nsw")

    def gep(self, base: Value, offset: Index, element: Type = F32, *, inbounds: bool = True) -> Value:
        """The address `offset` elements after `base`."""
        if offset == 0:
            return base
        kind = "getelementptr inbounds" if inbounds else "getelementptr"
        return self.value(f"{kind} {element}, {base}, {self.index(offset)}", PTR)

    # -- memory --------------------------------------------------------------------------------------------------

    def load(self, type: Type, address: Value, align: int | None = None) -> Value:
        """A load; without `align`, alignment is that of one lane."""
        return self.value(f"load {type}, {address}, align {align or max(1, type.bits // 8)}", type)

    def store(self, value: Value, address: Value, align: int | None = None) -> None:
        self.emit(f"store {value}, {address}, align {align or max(1, value.type.bits // 8)}")

    def masked_load(self, type: Type, address: Value, mask: Value, fill: Value | None = None) -> Value:
        """The lanes of `mask` from memory, the others from `fill` (zero by default) without touching memory."""
        args = (address, mask, fill or Value("zeroinitializer", type))
        return self.call(
            f"llvm.masked.load.{type.suffix}.p0", type, args, attributes=(f"align {max(1, type.bits // 8)}",)
        )

    def masked_store(self, value: Value, address: Value, mask: Value) -> None:
        align = f"align {max(1, value.type.bits // 8)}"
        self.call(f"llvm.masked.store.{value.type.suffix}.p0", None, (value, address, mask), attributes=("", align))

    def prefetch(self, address: Value) -> None:
        """Ask for a line of memory in the nearest cache; any address is safe."""
        hints = (constant(0, I32), constant(3, I32), constant(1, I32))
        self.call("llvm.prefetch.p0", None, (address, *hints))

    def copy(self, destination: Value, source: Value, count: Index) -> None:
        """Copy bytes between places that do not overlap."""
        self.call("llvm.memcpy.p0.p0.i64", None, (destination, source, self.index(count), constant(0, I1)))

    def fill(self, destination: Value, byte: int, count: Index) -> None:
        """Set bytes."""
        self.call("llvm.memset.p0.i64", None, (destination, constant(byte, I8), self.index(count), constant(0, I1)))

    def table(self, values: Sequence[float], scalar: Type) -> Value:
        """The address of a constant array, aligned to 64 bytes and shared by equal tables of the function."""
        elements = ", ".join(str(constant(value, scalar)) for value in values)
        text = f"private unnamed_addr constant [{len(values)} x {scalar}] [{elements}], align 64"
        return Value(self.globals.setdefault(text, f"@{self.name}.table{len(self.globals)}"), PTR)

    # -- vectors -------------------------------------------------------------------------------------------------

    def splat(self, a: Value, lanes: int) -> Value:
        """A scalar in every lane."""
        if lanes == 1:
            return a
        type = a.type.of(lanes)
        one = self.value(f"insertelement {type} poison, {a}, i64 0", type)
        return self.value(f"shufflevector {one}, {type} poison, <{lanes} x i32> zeroinitializer", type)

    def shuffle(self, a: Value, b: Value | None, lanes: Sequence[int]) -> Value:
        """Lanes picked from `a` and then `b`; -1 leaves a lane open."""
        picks = ", ".join("i32 poison" if lane < 0 else f"i32 {lane}" for lane in lanes)
        second = b.text if b else "poison"
        type = a.type.of(len(lanes))
        return self.value(f"shufflevector {a}, {a.type} {second}, <{len(lanes)} x i32> <{picks}>", type)

    def extract(self, a: Value, lane: Index) -> Value:
        if a.type.lanes == 1:
            return a
        return self.value(f"extractelement {a}, {self.index(lane)}", a.type.of(1))

    def insert(self, a: Value, scalar: Value, lane: Index) -> Value:
        if a.type.lanes == 1:
            return scalar
        return self.value(f"insertelement {a}, {scalar}, {self.index(lane)}", a.type)

    def iota(self, start: Index, lanes: int) -> Value:
        """The vector `start, start + 1, ...` of i64."""
        steps = vector(range(lanes), I64)
        return self.add(self.splat(self.index(start), lanes), steps) if lanes > 1 else self.index(start)

    def reduce(self, op: str, a: Value) -> Value:
        """All lanes folded in any order: `add`, `fadd`, `fmul`, `fmax`, `fmin`, `fmaximum`, `smax`, `umin`, `and`..."""
        if a.type.lanes == 1:
            return a
        first = [constant(-0.0 if op == "fadd" else 1.0, a.type.of(1))] if op in ("fadd", "fmul") else []
        with self.fast(self.flags if not first or "reassoc" in self.flags else f"{self.flags} reassoc".strip()):
            return self.call(f"llvm.vector.reduce.{op}.{a.type.suffix}", a.type.of(1), (*first, a))

    # -- variables and control -----------------------------------------------------------------------------------

    def variable(self, initial: Value) -> Variable:
        """A mutable local."""
        variable = self.slot(initial.type)
        self.set(variable, initial)
        return variable

    def slot(self, type: Type, count: int = 1) -> Variable:
        """A local that is not set yet; with `count`, an array on the stack."""
        self._count += 1
        name = f"%v{self._count}"
        self._slots.append(f"  {name} = alloca {type if count == 1 else f'[{count} x {type}]'}, align 64")
        return Variable(Value(name, PTR), type)

    def get(self, variable: Variable) -> Value:
        return self.load(variable.type, variable.address)

    def set(self, variable: Variable, value: Value) -> None:
        assert variable.type == value.type, f"{self.name}: a {variable.type} is set to {value}"
        self.store(value, variable.address)

    def _label(self, name: str) -> None:
        self._closed = False
        self._body.append(f"{name}:")

    def _jump(self, text: str) -> None:
        self.emit(f"br {text}")
        self._closed = True

    def _names(self, *stems: str) -> list[str]:
        self._count += 1
        return [f"{stem}{self._count}" for stem in stems]

    def _attach(self, properties: Sequence[str]) -> str:
        """A loop's metadata; the number is made the module's own by `module`."""
        if not properties:
            return ""
        self._metadata.append(tuple(properties))
        return f", !llvm.loop !LOOP.{len(self._metadata) - 1}."

    @contextmanager
    def loop(self, start: Index, stop: Index, step: int = 1, properties: Sequence[str] = ()) -> Iterator[Value]:
        """Run the body with an index from `start` while below `stop`. Known bounds must give at least one turn."""
        known = isinstance(start, int) and isinstance(stop, int)
        assert not known or start < stop, f"{self.name}: a loop from {start} to {stop} is empty"  # type: ignore[operator]
        body, exit_ = self._names("loop", "done")
        counter = self.variable(self.index(start))
        if known:
            self._jump(f"label %{body}")
        else:
            some = self.compare("slt", self.index(start), self.index(stop))
            self._jump(f"{some}, label %{body}, label %{exit_}")
        self._label(body)
        i = self.get(counter)
        around = self.turns
        if known:
            self.turns *= len(range(start, stop, step))  # type: ignore[arg-type] # both are numbers
        yield i
        self.turns = around
        following = self.binary("add", i, constant(step, I64), "nsw")
        self.set(counter, following)
        again = self.compare("slt", following, self.index(stop))
        self._jump(f"{again}, label %{body}, label %{exit_}{self._attach(properties)}")
        self._label(exit_)

    @contextmanager
    def repeat(self) -> Iterator[tuple[str, str]]:
        """An endless loop, left by `leave(exit)`; gives the labels (again, exit)."""
        body, exit_ = self._names("again", "left")
        self._jump(f"label %{body}")
        self._label(body)
        yield body, exit_
        self._jump(f"label %{body}")
        self._label(exit_)

    def leave(self, label: str, condition: Value | None = None) -> None:
        """Jump to a label, or only when the condition holds."""
        if condition is None:
            self._jump(f"label %{label}")
            return
        (stay,) = self._names("stay")
        self._jump(f"{condition}, label %{label}, label %{stay}")
        self._label(stay)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Run the body if the condition holds."""
        yes, end = self._names("when", "end")
        self._jump(f"{condition}, label %{yes}, label %{end}")
        self._label(yes)
        yield
        self._jump(f"label %{end}")
        self._label(end)

    @contextmanager
    def unless(self, condition: Value) -> Iterator[None]:
        """Run the body if the condition does not hold."""
        no, end = self._names("unless", "end")
        self._jump(f"{condition}, label %{end}, label %{no}")
        self._label(no)
        yield
        self._jump(f"label %{end}")
        self._label(end)

    def give(self, value: Value | None = None) -> None:
        """Return from the function; what follows in the block is dropped."""
        self.emit(f"ret {value or 'void'}")
        self._closed = True

    # -- text ----------------------------------------------------------------------------------------------------

    def text(self, first_metadata: int = 0) -> str:
        """The definition, its loops' metadata numbered from `first_metadata`."""
        body = "\n".join(self._body)
        for number in range(len(self._metadata)):
            body = body.replace(f"!LOOP.{number}.", f"!{first_metadata + number}")
        linkage = "internal fastcc" if self.internal else ""
        inner = ", ".join(f"{text} %{key}" for key, text in self.parameters)
        head = " ".join(
            filter(None, ("define", linkage, str(self.result or "void"), f"@{self.name}({inner})", self.attributes))
        )
        end = "" if self._closed else ("\n  ret void" if self.result is None else "\n  unreachable")
        return "\n".join((f"{head} {{", "entry:", *self._slots, body)) + end + "\n}\n"


def module(functions: Sequence[Function], triple: str = "", extra: str = "") -> str:
    """The text of a module that holds the functions; `extra` is text to add, such as globals."""
    texts: list[str] = []
    loops: list[tuple[str, ...]] = []
    for function in functions:
        texts.append(function.text(len(loops)))
        loops += function._metadata
    globals_ = [f"{name} = {text}" for function in functions for text, name in function.globals.items()]
    declarations = sorted(set().union(*(function.declarations for function in functions)))
    nodes: list[str] = []
    following = len(loops)
    for number, properties in enumerate(loops):
        inner = "".join(f", !{following + i}" for i in range(len(properties)))
        nodes.append(f"!{number} = distinct !{{!{number}{inner}}}")
        nodes += [f"!{following + i} = !{{{text}}}" for i, text in enumerate(properties)]
        following += len(properties)
    head = [f'target triple = "{triple}"'] if triple else []
    return "\n".join([*head, *globals_, *([extra] if extra else []), *texts, *declarations, *nodes]) + "\n"
