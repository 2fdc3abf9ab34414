"""What the accelerator moves rather than computes: most reshapes, transpositions and cuts are only another view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heddle.backends.vta.checks import activations, scalar
from heddle.backends.vta.views import dense, detour, reshaped
from heddle.core.ir import Value
from heddle.core.pattern import Match, Pattern, const, dequantize, either, maybe_const, ops, pattern, quantize, rank


def _either_way(op: Callable[..., Any], x: Value) -> Value:
    """An operator between DequantizeLinear and QuantizeLinear, or on the integers themselves."""
    result: Value = either(quantize(op(dequantize(x), label="real")), op(x, label="whole"))
    return result


def _keeps_lanes(lanes: int, turns: bool) -> Callable[[Match], str | None]:
    """Refuses reshapes whose elements would have to change places, however the data lies before."""

    def can_be_a_view(match: Match) -> str | None:
        if reason := scalar("x", "y")(match):
            return reason
        before, after = match["x"].shape, match.outputs[0].shape
        if not 2 <= len(after) <= 4:
            return f"the result is {match.outputs[0].type}, takes 2 to 4 dimensions"
        for one, other in ((before, after), (after, before)):
            for channel in range(1, len(one) if turns else 2):
                found = reshaped(dense("", one, channel, lanes), other)
                if found is not None and found.channel and (turns or found.channel == 1):
                    return None
        if turns and detour(before, after, lanes) is not None:
            return None
        return f"{match['x'].type} becomes {match.outputs[0].type}, takes what leaves vectors of {lanes} channels whole"

    return can_be_a_view


def cuts(match: Match) -> list[tuple[int, int, int, int]]:
    """What a Slice takes: for each axis that it cuts its number, the first index, how many and the step."""
    starts, ends = match.array("starts"), match.array("ends")
    assert starts is not None
    assert ends is not None
    axes, steps = match.array("axes"), match.array("steps")
    sizes = match["x"].shape
    found = []
    for at in range(starts.size):
        axis = (at if axes is None else int(axes.reshape(-1)[at])) % len(sizes)
        step = 1 if steps is None else int(steps.reshape(-1)[at])
        taken = range(sizes[axis])[int(starts.reshape(-1)[at]) : int(ends.reshape(-1)[at]) : step]
        if taken != range(sizes[axis]):
            found.append((axis, taken.start, len(taken), step))
    return found


def _goes_forward(turns: bool) -> Callable[[Match], str | None]:
    def cut_can_be_made(match: Match) -> str | None:
        if reason := scalar("x", "y")(match):
            return reason
        for axis, _, count, step in cuts(match):
            if count == 0:
                return f"nothing is left of axis {axis}"
            if step < 1:
                return f"axis {axis} is cut in steps of {step}, takes positive ones"
            if step > 1 and axis == 1 and (len(match["x"].shape) == 2 or not turns):
                return f"axis 1, the channels, is cut in steps of {step}, takes 1"
        return None

    return cut_can_be_made


def movements(lanes: int, turns: bool) -> list[Pattern]:
    """The patterns; `turns` says that pixels can become channels."""

    def reshaping(name: str, op: Callable[..., Any]) -> Pattern:
        conditions = [*activations("x"), rank("x").between(2, 4)]
        return pattern(name, conditions=conditions, where=_keeps_lanes(lanes, turns))(lambda x: _either_way(op, x))

    def reshape(x: Any, label: str) -> Any:
        return ops.Reshape(x, const(f"{label}_shape"), label=label)

    def squeeze(x: Any, label: str) -> Any:
        return ops.Squeeze(x, maybe_const(f"{label}_axes"), label=label)

    def unsqueeze(x: Any, label: str) -> Any:
        return ops.Unsqueeze(x, const(f"{label}_axes"), label=label)

    def cut(x: Any, label: str) -> Any:
        bounds = "starts", "ends"
        return ops.Slice(x, *(const(n) for n in bounds), maybe_const("axes"), maybe_const("steps"), label=label)

    @pattern("transpose", conditions=[*activations("x"), rank("x").between(2, 4)], where=scalar("x", "y"))
    def transpose(x: Any) -> Any:
        return _either_way(ops.Transpose, x)

    @pattern("slice", conditions=[*activations("x"), rank("x").between(2, 4)], where=_goes_forward(turns))
    def slice_(x: Any) -> Any:
        return quantize(cut(dequantize(x), "real"))

    @pattern("integer_slice", conditions=[*activations("x"), rank("x").between(2, 4)], where=_goes_forward(turns))
    def integer_slice(x: Any) -> Any:
        return cut(x, "whole")

    return [
        reshaping("reshape", reshape), reshaping("flatten", ops.Flatten), reshaping("squeeze", squeeze),
        reshaping("unsqueeze", unsqueeze), slice_, integer_slice, *([transpose] if turns else []),
    ]  # fmt: skip


def order_of(match: Match) -> list[int]:
    """The order of axes of a Transpose; reversed where it gives none."""
    given = match.attr("real", "perm") if match.node("real") is not None else match.attr("whole", "perm")
    size = len(match["x"].shape)
    return list(given) if given is not None else list(range(size))[::-1]
