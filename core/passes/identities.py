"""Removes what changes nothing: each rule is a row of a table, with its meaning beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from heddle.core.ir import Graph, Node, TensorType, Value
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops import attributes_of
from heddle.core.passes.sweep import Sweep, sweep


@dataclass(frozen=True)
class Identity:
    """Where a node of one of these operators is as good as a value that `find` names (None: not here)."""

    meaning: str
    ops: tuple[str, ...]
    find: Callable[[Node, Sweep], Value | None]


def identities(graph: Graph) -> Graph:
    """Replace each node that changes nothing by its operand, and pairs that undo each other by what went in."""
    return sweep(graph, _rule)


def _rule(node: Node, state: Sweep) -> Sequence[Value | None] | None:
    if len(node.results) != 1:
        return None
    for row in _BY_OP.get(node.op, ()):
        value = row.find(node, state)
        if value is not None:
            return [None if output is None else value for output in node.outputs]
    return None


# -- what rules ask ------------------------------------------------------------------------------------------------


def same_shape(left: Value, right: Value) -> bool:
    """True when two tensors certainly have one shape."""
    a, b = left.type, right.type
    if not isinstance(a, TensorType) or not isinstance(b, TensorType):
        return False
    return a.dims is not None and a.dims == b.dims and UNKNOWN not in a.dims


def _is_all(value: Value | None, number: float, state: Sweep) -> bool:
    """True for a constant whose elements all are this number."""
    array = state.known.get(value) if value is not None else None
    return array is not None and array.size > 0 and array.dtype.kind not in "OUS" and bool((array == number).all())


def _first(node: Node, state: Sweep) -> Value | None:
    return node.inputs[0]


def _unchanged(node: Node, state: Sweep) -> Value | None:
    """The first operand, when the result certainly has its shape (which is all that the operator could change)."""
    return node.inputs[0] if node.inputs[0] is not None and same_shape(node.inputs[0], node.output) else None


def _neutral(position: int, number: float) -> Callable[[Node, Sweep], Value | None]:
    """The other operand, when the one at this position is everywhere this number and does not broadcast the other."""

    def find(node: Node, state: Sweep) -> Value | None:
        if len(node.inputs) != 2 or not _is_all(node.inputs[position], number, state):
            return None
        other, neutral = node.inputs[1 - position], node.inputs[position]
        assert other is not None
        assert neutral is not None
        return other if same_shape(other, node.output) or neutral.tensor.dims == () else None

    return find


def _undone(op: str) -> Callable[[Node, Sweep], Value | None]:
    """What went into the operator whose result this node takes back."""

    def find(node: Node, state: Sweep) -> Value | None:
        inner = state.maker(node.inputs[0], op)
        return None if inner is None else inner.inputs[0]

    return find


def _repeated(node: Node, state: Sweep) -> Value | None:
    return node.inputs[0] if state.maker(node.inputs[0], node.op) is not None else None


def _single(node: Node, state: Sweep) -> Value | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _inactive(node: Node, state: Sweep) -> Value | None:
    """Dropout gives its operand unless it trains."""
    training = node.inputs[2] if len(node.inputs) > 2 else None
    if len(node.outputs) > 1 or not (training is None or _is_all(training, 0, state)):
        return None
    return node.inputs[0]


def _same_dtype(node: Node, state: Sweep) -> Value | None:
    (x, *_) = node.operands
    return x if isinstance(x.type, TensorType) and x.dtype == node.output.dtype else None


def _wider_and_back(node: Node, state: Sweep) -> Value | None:
    inner = state.maker(node.inputs[0], "Cast")
    if inner is None:
        return None
    (x,), middle = inner.operands, inner.output.dtype
    lossless = x.dtype.kind in "biuf" and x.dtype.kind == middle.kind and np.can_cast(x.dtype, middle, "safe")
    return x if lossless and x.dtype == node.output.dtype else None


def _in_order(node: Node, state: Sweep) -> Value | None:
    perm = node.attrs.get("perm")
    return node.inputs[0] if perm is not None and perm == tuple(range(len(perm))) else None


def _composed(node: Node, state: Sweep) -> Value | None:
    inner = state.maker(node.inputs[0], "Transpose")
    outer_perm = node.attrs.get("perm")
    inner_perm = None if inner is None else inner.attrs.get("perm")
    if inner is None or outer_perm is None or inner_perm is None:
        return None
    perm = tuple(inner_perm[axis] for axis in outer_perm)
    if perm == tuple(range(len(perm))):
        return inner.inputs[0]
    return state.apply("Transpose", inner.inputs[0], stem=node.output.name, label=node.name, perm=perm)


def _reshaped_twice(node: Node, state: Sweep) -> Value | None:
    inner = next((m for op in _RESHAPES if (m := state.maker(node.inputs[0], op)) is not None), None)
    shape = node.output.tensor.shape
    if inner is None or shape is None:
        return None
    source = inner.inputs[0]
    assert source is not None
    if same_shape(source, node.output):
        return source
    vector = state.constant(np.array(shape, np.int64), f"{node.output.name}.shape")
    return state.apply("Reshape", source, vector, stem=node.output.name, label=node.name, **_zero_is_zero(shape))


def _zero_is_zero(shape: tuple[int, ...]) -> dict[str, int]:
    return {"allowzero": 1} if 0 in shape else {}


def _no_padding(node: Node, state: Sweep) -> Value | None:
    return node.inputs[0] if _is_all(node.inputs[1], 0, state) else None


def _whole(node: Node, state: Sweep) -> Value | None:
    """A slice that keeps the size of every axis, forwards, keeps everything."""
    steps = node.inputs[4] if len(node.inputs) > 4 else None
    return _unchanged(node, state) if steps is None or _is_all(steps, 1, state) else None


def _unscaled(node: Node, state: Sweep) -> Value | None:
    mode = attributes_of(node)["coordinate_transformation_mode"]
    return None if mode == "tf_crop_and_resize" else _unchanged(node, state)


def _unbounded(node: Node, state: Sweep) -> Value | None:
    (x,) = node.inputs[:1]
    assert x is not None
    if x.dtype.kind != "f":
        return None
    low, high = (*node.inputs[1:], None, None)[:2]
    free = (low is None or _is_all(low, -np.inf, state)) and (high is None or _is_all(high, np.inf, state))
    return x if free else None


_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")

TABLE = (
    Identity("Identity(x) -> x", ("Identity",), _first),
    Identity("Dropout(x) -> x, unless it trains", ("Dropout",), _inactive),
    Identity("x + 0 -> x", ("Add",), _neutral(1, 0)),
    Identity("0 + x -> x", ("Add",), _neutral(0, 0)),
    Identity("x - 0 -> x", ("Sub",), _neutral(1, 0)),
    Identity("x * 1 -> x", ("Mul",), _neutral(1, 1)),
    Identity("1 * x -> x", ("Mul",), _neutral(0, 1)),
    Identity("x / 1 -> x", ("Div",), _neutral(1, 1)),
    Identity("x ** 1 -> x", ("Pow",), _neutral(1, 1)),
    Identity("x and true -> x", ("And",), _neutral(1, True)),
    Identity("true and x -> x", ("And",), _neutral(0, True)),
    Identity("x or false -> x", ("Or",), _neutral(1, False)),
    Identity("false or x -> x", ("Or",), _neutral(0, False)),
    Identity("not not x -> x", ("Not",), _undone("Not")),
    Identity("--x -> x", ("Neg",), _undone("Neg")),
    Identity("Relu(Relu(x)) -> Relu(x)", ("Relu", "Abs", "Ceil", "Floor", "Round", "Sign"), _repeated),
    Identity("Cast(x, its own type) -> x", ("Cast", "CastLike"), _same_dtype),
    Identity("Cast(Cast(x, wider), its own type) -> x", ("Cast",), _wider_and_back),
    Identity("Transpose(x, axes in order) -> x", ("Transpose",), _in_order),
    Identity("Transpose(Transpose(x, p), q) -> Transpose(x, p[q])", ("Transpose",), _composed),
    Identity("Reshape(x, its own shape) -> x", _RESHAPES, _unchanged),
    Identity("Reshape(Reshape(x, s), t) -> Reshape(x, t)", _RESHAPES, _reshaped_twice),
    Identity("Expand(x, its own shape) -> x", ("Expand", "Tile"), _unchanged),
    Identity("Concat(x) -> x, of one operand", ("Concat", "Sum", "Max", "Min", "Mean"), _single),
    Identity("Split(x) -> x, into one part", ("Split",), _unchanged),
    Identity("Pad(x, 0) -> x", ("Pad",), _no_padding),
    Identity("Slice(x, all of it) -> x", ("Slice",), _whole),
    Identity("Resize(x, its own size) -> x", ("Resize",), _unscaled),
    Identity("Clip(x) -> x, without bounds", ("Clip",), _unbounded),
)
"""Every rule; the first that holds is taken."""

_BY_OP: dict[str, list[Identity]] = {}
for _row in TABLE:
    for _op in _row.ops:
        _BY_OP.setdefault(_op, []).append(_row)
