"""Gives operators whose results are as large as the data says a form of known shape, of which a part is used.

So is a slice of one axis whose ends are computed, but always equally far apart: it is compiled once, and not for each
place where it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from heddle.core.frontend.builder import Call
from heddle.core.ir import Graph, Node, TensorType, Value
from heddle.core.ops import attributes_of
from heddle.core.ops.by_value import FROM_TYPES
from heddle.core.passes.sweep import Sweep, sweep

_AXES: Mapping[str, Callable[[Node], Sequence[int | None]]] = {
    "NonZero": lambda node: (1,),
    "Compress": lambda node: (_axis(node),),
    "Unique": lambda node: (_axis(node), 0, None, 0),
    "NonMaxSuppression": lambda node: (0,),
}
"""Along which axis each result is trimmed; None where it has its full size."""

COUNTED = frozenset(_AXES)
"""Operators that the data tells how many elements they have."""


def _axis(node: Node) -> int:
    """The axis that an operator works along; without one it works on all elements in order."""
    return attributes_of(node)["axis"] or 0


def bound_counts(graph: Graph) -> Graph:
    """Compute each such result in full size, with a count, and trim it to that."""
    return sweep(graph, _rule)


def _rule(node: Node, state: Sweep) -> Sequence[Value | None] | None:
    if node.op == "Slice":
        return _slice(node, state)
    if node.op not in COUNTED:
        return None
    stems = [None if value is None else f"{value.name}.full" for value in node.outputs]
    call = Call(f"heddle.{node.op}Bounded", node.inputs, node.attrs, len(node.outputs) + 1)
    count, *full = state.add(call, [f"{node.results[0].name}.count", *stems], node.name)
    results: list[Value | None] = []
    for value, whole, axis in zip(node.outputs, full, _AXES[node.op](node), strict=False):
        if value is None or whole is None or axis is None:
            results.append(whole)
        else:
            results.append(state.apply("heddle.Trim", whole, count, stem=value.name, label=node.name, axis=axis))
    return results


_MOVED = frozenset(("Identity", "Reshape", "Squeeze", "Unsqueeze"))
"""Operators that give a single number another shape."""


def _slice(node: Node, state: Sweep) -> Sequence[Value | None] | None:
    """The window that moves along one axis; a slice of any other kind is left."""
    data, starts, ends, axes, steps = (*node.inputs, None, None)[:5]
    along = _number(axes, state) if axes is not None else 0
    if data is None or starts is None or ends is None or along is None or _size(starts) != 1:
        return None
    if (steps is not None and _number(steps, state) != 1) or _size(node.output) is not None:
        return None
    (first, from_), (last, to) = (_offset(value, state) for value in (starts, ends))
    if first != last or to <= from_ or _told_by_types(first, state):
        return None
    call = Call("heddle.SliceBounded", (data, starts, ends), {"axis": along, "size": to - from_}, 2)
    stem = node.output.name
    count, full = state.add(call, [f"{stem}.count", f"{stem}.full"], node.name)
    assert full is not None
    return [state.apply("heddle.Trim", full, count, stem=stem, label=node.name, axis=along)]


def _size(value: Value) -> int | None:
    return value.type.size if isinstance(value.type, TensorType) else None


def _number(value: Value | None, state: Sweep) -> int | None:
    """A constant of one element."""
    known = None if value is None else state.known.get(value)
    return int(known.item()) if known is not None and known.size == 1 else None


def _told_by_types(value: Value, state: Sweep) -> bool:
    """Whether shapes alone say what a value is, so that it is known when code is made."""
    waiting, seen = [value], {value}
    while waiting:
        item = waiting.pop()
        maker = state.makers.get(item)
        if maker is None and item not in state.known:
            return False
        if maker is not None and maker.op not in FROM_TYPES:
            waiting += [operand for operand in maker.operands if operand not in seen]
            seen.update(maker.operands)
    return True


def _offset(value: Value, state: Sweep) -> tuple[Value, int]:
    """A single whole number as another one and what is added to it."""
    added = 0
    while (maker := state.makers.get(value)) is not None:
        left, right = (*maker.inputs, None, None)[:2]
        if maker.op in _MOVED and left is not None:
            value = left
        elif maker.op == "Add" and left is not None and (number := _number(right, state)) is not None:
            value, added = left, added + number
        elif maker.op == "Add" and right is not None and (number := _number(left, state)) is not None:
            value, added = right, added + number
        elif maker.op == "Sub" and left is not None and (number := _number(right, state)) is not None:
            value, added = left, added - number
        else:
            break
    return value, added
