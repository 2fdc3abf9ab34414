"""Recurrent layers: one group of computations that runs for each turn, all states kept in order of the turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import I64, Compute, compute, group, indirect, load, part, position, rewrite, total
from heddle.core.ir import Value
from heddle.core.ir.types import DType
from heddle.core.ops import OPERATORS
from heddle.core.ops.scalar import Expr, argument, cast, const, maximum, minimum, tanh, where, widened

Function = Callable[[Expr], Expr]
_SHARED = ("Relu", "Tanh", "Sigmoid", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu", "Softsign", "Softplus")


def activations(op: Lowering, default: tuple[str, ...]) -> list[Function]:
    """The functions of a node's gates, which take their numbers in order from two lists."""
    alphas, betas = (iter(op.attrs[key] or ()) for key in ("activation_alpha", "activation_beta"))
    return [_activation(op, name, alphas, betas) for name in op.attrs["activations"] or default]


def _activation(op: Lowering, name: str, alphas: Iterator[float], betas: Iterator[float]) -> Function:
    title = {known.lower(): known for known in (*_SHARED, "Affine", "ScaledTanh")}.get(name.lower())
    if title is None:
        raise op.refuse(f"the activation {name!r} is not known")
    if title in ("Affine", "ScaledTanh"):
        alpha, beta = next(alphas, 1.0), next(betas, 0.0 if title == "Affine" else 1.0)
        return (lambda x: x * alpha + beta) if title == "Affine" else (lambda x: tanh(x * beta) * alpha)
    definition = OPERATORS[title]
    scalar = definition.scalar
    assert scalar is not None
    numbers = dict(definition.attributes)
    for key, given in (("alpha", alphas), ("beta", betas)):
        number = next(given, None) if key in numbers else None
        if number is not None:
            numbers[key] = number
    return lambda x: rewrite(scalar(argument(0, x.dtype), **numbers), arguments=[x])


@dataclass
class Layer:
    """One direction of a layer: where its operands lie, how its states are kept."""

    op: Lowering
    way: int
    backward: bool
    gates: int
    wide: DType

    @property
    def swapped(self) -> bool:
        """Whether the batch comes before the time."""
        return bool(self.op.attrs["layout"])

    @property
    def length(self) -> int:
        return self.op[0].shape[1 if self.swapped else 0]

    @property
    def batch(self) -> int:
        return self.op[0].shape[0 if self.swapped else 1]

    @property
    def hidden(self) -> int:
        return self.op[2].shape[2]

    def fresh(self, stem: str, *shape: int) -> Value:
        return self.op.fresh(f"{stem}{self.way}", self.wide, shape)

    def end(self, b: Affine) -> Expr | None:
        """The length of a sequence; None when all are as long as the tensor."""
        lengths = self.op.operand(4)
        return None if lengths is None else cast(load(lengths, b), I64)

    def place(self, turn: Affine, b: Affine) -> Affine:
        """Which element of its sequence a turn sees; its own inverse."""
        end = self.end(b)
        if not self.backward:
            return turn
        if end is None:
            return self.length - 1 - turn
        here = position(turn)
        return indirect(where(here < end, end - 1 - here, here), self.length)

    def live(self, turn: Affine, b: Affine, yes: Expr, no: Expr) -> Expr:
        """`yes` within the sequence, `no` behind its end."""
        end = self.end(b)
        return yes if end is None else where(position(turn) < end, yes, no)

    def driven(self, bias: Callable[[Affine], Expr] | None) -> Value:
        """The input's part of all gates at each place of the sequences, [length, batch, gates * hidden]."""
        x, w = self.op[0], self.op[1]
        value = self.fresh("driven", self.length, self.batch, self.gates * self.hidden)

        def body(t: Affine, b: Affine, gate: Affine) -> Expr:
            i = axis(x.shape[2], "i")
            element = load(x, b, t, i) if self.swapped else load(x, t, b, i)
            y = total([i], cast(element, self.wide) * cast(load(w, self.way, gate, i), self.wide))
            return y if bias is None else y + bias(gate)

        return self.op.compute(value, body)

    def states(self, stem: str, initial: Value | None) -> Value:
        """All states of one kind, [1 + length, batch, hidden]: first the one before the first turn."""
        value = self.fresh(stem, self.length + 1, self.batch, self.hidden)

        def body(_: Affine, b: Affine, h: Affine) -> Expr:
            if initial is None:
                return const(0, self.wide)
            return cast(load(initial, b, self.way, h) if self.swapped else load(initial, self.way, b, h), self.wide)

        shape = (1, self.batch, self.hidden)
        self.op.part(value, shape, lambda t, b, h: [Affine(), b, h], body)
        return value

    def recurrence(self, state: Value, turn: Affine, b: Affine, gate: Affine, of: Value | None = None) -> Expr:
        """The state's part of a gate: `r @ state`, of the state at a turn, or of a matrix made from it."""
        k = axis(self.hidden, "k")
        element = load(state, turn, b, k) if of is None else load(of, b, k)
        return total([k], element * cast(load(self.op[2], self.way, gate, k), self.wide))

    def step(self, state: Value, turn: Affine, body: Callable[[Affine, Affine], Expr]) -> Compute:
        """The next state of a kind; it stands still behind the end of a sequence."""
        shape = (self.batch, self.hidden)

        def held(b: Affine, h: Affine) -> Expr:
            return self.live(turn, b, body(b, h), load(state, turn, b, h))

        return part(state, shape, lambda b, h: [turn + 1, b, h], held, self.op.label)

    def between(self, stem: str, gates: int, body: Callable[[Affine, Affine], Expr]) -> Compute:
        """Something that a turn computes for itself, [batch, gates * hidden]."""
        return compute(self.fresh(stem, self.batch, gates * self.hidden), body, self.op.label)

    def clip(self, x: Expr) -> Expr:
        most = self.op.attrs["clip"]
        return x if most is None else minimum(maximum(x, -most), most)

    def give(self, hidden: Value, cell: Value | None) -> None:
        """The outputs of this direction."""
        every, *last = (*self.op.node.outputs, None, None)[:3]
        if every is not None:
            self._every(every, hidden)
        for output, state in zip(last, (hidden, cell), strict=True):
            if output is not None and state is not None:
                self._last(output, state)

    def _every(self, output: Value, hidden: Value) -> None:
        def target(t: Affine, b: Affine, h: Affine) -> list[Affine | int]:
            return [b, t, self.way, h] if self.swapped else [t, self.way, b, h]

        def body(t: Affine, b: Affine, h: Affine) -> Expr:
            seen = load(hidden, self.place(t, b) + 1, b, h)
            return cast(self.live(t, b, seen, const(0, self.wide)), output.dtype)

        self.op.part(output, (self.length, self.batch, self.hidden), target, body)

    def _last(self, output: Value, state: Value) -> None:
        def target(b: Affine, h: Affine) -> list[Affine | int]:
            return [b, self.way, h] if self.swapped else [self.way, b, h]

        def body(b: Affine, h: Affine) -> Expr:
            return cast(load(state, self.length, b, h), output.dtype)

        self.op.part(output, (self.batch, self.hidden), target, body)


def layers(op: Lowering, gates: int) -> list[Layer]:
    """The directions of a node."""
    direction = op.attrs["direction"]
    ways = 2 if direction == "bidirectional" else 1
    wide = widened(op[0].dtype)
    if op.operand(4) is not None:
        over = axis(op[4].shape[0], "b")
        end = cast(load(op[4], over), I64)
        length = op[0].shape[1 if op.attrs["layout"] else 0]
        op.check([over], (end < 0) | (end > length), f"a sequence is longer than the tensor's {length}")
    return [Layer(op, way, direction == "reverse" or way == 1, gates, wide) for way in range(ways)]


def _bias(layer: Layer, rows: int, second: bool) -> Callable[[Affine], Expr] | None:
    """The bias of a gate; with `second`, the input's and the state's together."""
    b = layer.op.operand(3)
    if b is None:
        return None

    def bias(gate: Affine) -> Expr:
        first = cast(load(b, layer.way, gate), layer.wide)
        return first + cast(load(b, layer.way, gate + rows), layer.wide) if second else first

    return bias


@lowers("RNN")
def rnn(op: Lowering) -> None:
    functions = activations(op, ("Tanh", "Tanh"))
    for layer in layers(op, 1):
        driven = layer.driven(_bias(layer, layer.hidden, True))
        state = layer.states("h", op.operand(5))
        turn = axis(layer.length, "t")

        def body(b: Affine, h: Affine, layer: Layer = layer, *, driven: Value = driven, state: Value = state) -> Expr:
            x = load(driven, layer.place(turn, b), b, h) + layer.recurrence(state, turn, b, h)  # noqa: B023 - used at once
            return functions[layer.way](layer.clip(x))

        op.add(group([turn], [layer.step(state, turn, body)], op.label))
        layer.give(state, None)


@lowers("LSTM")
def lstm(op: Lowering) -> None:
    """Gates: input, output, forget, cell; peepholes: input, output, forget."""
    functions = activations(op, ("Sigmoid", "Tanh", "Tanh") * 2)
    for layer in layers(op, 4):
        _lstm_layer(op, layer, functions[3 * layer.way : 3 * layer.way + 3])


def _lstm_layer(op: Lowering, layer: Layer, functions: list[Function]) -> None:
    f, g, last = functions
    size, wide = layer.hidden, layer.wide
    driven = layer.driven(_bias(layer, 4 * size, True))
    hidden, cell = layer.states("h", op.operand(5)), layer.states("c", op.operand(6))
    turn = axis(layer.length, "t")
    peepholes = op.operand(7)

    def seen(gate: int, h: Affine, state: Expr) -> Expr:
        """What a gate sees of the cell."""
        if peepholes is None:
            return const(0, wide)
        return cast(load(peepholes, layer.way, h + gate * size), wide) * state

    def driving(b: Affine, gate: Affine) -> Expr:
        return load(driven, layer.place(turn, b), b, gate) + layer.recurrence(hidden, turn, b, gate)

    gates = layer.between("gates", 4, driving)

    def next_cell(b: Affine, h: Affine) -> Expr:
        before = load(cell, turn, b, h)
        into = f(layer.clip(load(gates.output, b, h) + seen(0, h, before)))
        kept = f(layer.clip(load(gates.output, b, h + 2 * size) + seen(2, h, before)))
        forget = 1 - into if op.attrs["input_forget"] else kept
        return forget * before + into * g(layer.clip(load(gates.output, b, h + 3 * size)))

    def next_hidden(b: Affine, h: Affine) -> Expr:
        now = load(cell, turn + 1, b, h)
        return f(layer.clip(load(gates.output, b, h + size) + seen(1, h, now))) * last(now)

    steps = [gates, layer.step(cell, turn, next_cell), layer.step(hidden, turn, next_hidden)]
    op.add(group([turn], steps, op.label))
    layer.give(hidden, cell)


@lowers("GRU")
def gru(op: Lowering) -> None:
    """Gates: update, reset, hidden."""
    functions = activations(op, ("Sigmoid", "Tanh") * 2)
    for layer in layers(op, 3):
        _gru_layer(op, layer, functions[2 * layer.way : 2 * layer.way + 2])


def _gru_layer(op: Lowering, layer: Layer, functions: list[Function]) -> None:
    f, g = functions
    size, wide, linear = layer.hidden, layer.wide, bool(op.attrs["linear_before_reset"])
    driven = layer.driven(_bias(layer, 3 * size, False))
    hidden = layer.states("h", op.operand(5))
    turn = axis(layer.length, "t")
    bias = op.operand(3)

    def own(gate: Affine) -> Expr:
        return const(0, wide) if bias is None else cast(load(bias, layer.way, gate + 3 * size), wide)

    def driving(b: Affine, gate: Affine) -> Expr:
        state = layer.recurrence(hidden, turn, b, gate) + own(gate)
        return f(layer.clip(load(driven, layer.place(turn, b), b, gate) + state))

    gates = layer.between("gates", 2, driving)

    def let_through(b: Affine, h: Affine) -> Expr:
        return load(gates.output, b, h + size) * load(hidden, turn, b, h)

    passed = layer.between("passed", 1, let_through)

    def next_hidden(b: Affine, h: Affine) -> Expr:
        gate = h + 2 * size
        if linear:
            inner = load(gates.output, b, h + size) * (layer.recurrence(hidden, turn, b, gate) + own(gate))
        else:
            inner = layer.recurrence(hidden, turn, b, gate, passed.output) + own(gate)
        fresh = g(layer.clip(load(driven, layer.place(turn, b), b, gate) + inner))
        update = load(gates.output, b, h)
        return (1 - update) * fresh + update * load(hidden, turn, b, h)

    steps = [gates, *([] if linear else [passed]), layer.step(hidden, turn, next_hidden)]
    op.add(group([turn], steps, op.label))
    layer.give(hidden, None)
