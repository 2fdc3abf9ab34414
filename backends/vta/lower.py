"""Matches of a region to layers, and where each value lies: reshaped, turned and cut in place wherever that can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from heddle.backends.vta.layers import Copy, Layer, Pitch, Tensor, Turn, block_of
from heddle.backends.vta.scalings import number, unchanged
from heddle.backends.vta.views import View, dense, detour, is_dense, reshaped, transposed
from heddle.core.errors import BackendError
from heddle.core.ir import Value
from heddle.core.pattern import Match
from heddle.hw.vta.config import Config


class Lowering:
    """The layers of a region so far, and where its values lie."""

    def __init__(self, config: Config, wanted: dict[Value, int]) -> None:
        self.config = config
        self.lanes = block_of(config)
        self.layers: list[Layer] = []
        self.nodes: dict[str, tuple[str, ...]] = {}
        """The ONNX nodes that the layer of a name computes."""
        self.views: dict[Value, View] = {}
        self._wanted = wanted
        self._turned: dict[tuple[Value, int], View] = {}
        self._memories = 0

    def add(self, layer: Layer, nodes: tuple[str, ...]) -> None:
        """One more layer, which computes these ONNX nodes."""
        self.layers.append(layer)
        self.nodes[layer.name] = nodes

    def view(self, value: Value) -> View:
        """Where a value lies; one that was not met before comes in through a port."""
        if value not in self.views:
            channel = self._wanted.get(value, 1)
            self.views[value] = dense(value.name, value.shape, channel, self.lanes)
        return self.views[value]

    def place(self, value: Value, channel: int) -> View:
        """Where a value is to be written: in a memory of its own."""
        self.views[value] = dense(value.name, value.shape, channel, self.lanes)
        return self.views[value]

    def read(self, match: Match, operand: str, channel: int | None = None) -> Tensor:
        """The tensor of an operand, with its channels along this axis."""
        value = match[operand]
        view = self.view(value) if channel is None else self.along(value, channel)
        return self.tensor(view, match, operand, value.dtype == np.uint8)

    def write(self, match: Match, channel: int) -> Tensor:
        """The tensor of the result, with its channels along this axis."""
        value = match.outputs[0]
        return self.tensor(self.place(value, channel), match, "y", value.dtype == np.uint8)

    def tensor(self, view: View, match: Match, operand: str, unsigned: bool) -> Tensor:
        """A view as layers know it, with the scale and the zero point that the match binds under the operand's name."""
        scale, zero = number(match, f"{operand}_scale", 1.0), int(number(match, f"{operand}_zero_point", 0))
        return tensor_of(view, scale, zero, unsigned)

    def along(self, value: Value, channel: int) -> View:
        """Where a value lies with its channels along this axis; its data is turned where it has others."""
        view = self.view(value)
        if view.channel == channel:
            return view
        if (value, channel) not in self._turned:
            result = dense(self._memory(value), view.sizes, channel, self.lanes)
            self._turn(value, view, result)
            self._turned[value, channel] = result
        return self._turned[value, channel]

    def _turn(self, value: Value, view: View, result: View) -> None:
        """Write a view where another lies that has its channels along another axis."""
        if len(view.sizes) > 4:
            raise BackendError(f"vta: {value}: its channels are axis {view.channel}, axis {result.channel} is needed")
        if view.pitches[result.channel] != 1 and view.sizes[result.channel] > 1:
            view = self.copied(value, view, inner=result.channel)
        axes = [axis for axis in range(len(view.sizes)) if axis not in (view.channel, result.channel)]
        source, target = _turnable(view, axes, result.channel), _turnable(result, axes, view.channel)
        self.add(Turn(result.memory, source, target), ())

    def copied(
        self, value: Value, view: View, inner: int | None = None, signed: bool = False, clears: int | None = None
    ) -> View:
        """A value in a new memory.

        Elements along the axis `inner` are neighbours there; `signed` makes int8 of uint8, 128 less; lanes beyond the
        channels hold the zero point `clears` where one is given.
        """
        result = dense(self._memory(value), view.sizes, view.channel, self.lanes)
        if inner is not None:
            rest = [axis for axis in range(len(view.sizes)) if axis not in (view.channel, inner)]
            order = [*rest, view.channel, inner]
            packed = dense(result.memory, [view.sizes[axis] for axis in order], len(rest), self.lanes)
            result = transposed(packed, [order.index(axis) for axis in range(len(order))])
        self._copy(value, view, result, signed, clears)
        return result

    def _copy(self, value: Value, view: View, result: View, signed: bool = False, clears: int | None = None) -> None:
        unsigned = value.dtype == np.uint8
        less = 128 if signed and unsigned else 0
        zero = clears or 0
        source = tensor_of(view, 1.0, zero, unsigned)
        target = tensor_of(result, 1.0, zero - less, unsigned and not signed)
        lanes = 0 if clears is None else view.blocks * self.lanes
        same = unchanged(source, target.zero_point, target.low, target.high, lanes)
        self.add(Copy(result.memory, source, target, same, clears=clears is not None), ())

    def _memory(self, value: Value) -> str:
        self._memories += 1
        return f"{value.name} ({self._memories})"

    def reshape(self, value: Value, sizes: Sequence[int]) -> View:
        """A value in other dimensions; it is copied or turned where it lies otherwise than that needs."""
        view = self.view(value)
        found = reshaped(view, sizes)
        if found is not None:
            return found
        for channel in sorted(range(1, len(sizes)), key=lambda axis: axis != view.channel):
            whole = dense(self._memory(value), sizes, channel, self.lanes)
            target = reshaped(whole, value.shape)
            if target is not None:
                self._copy(value, self.along(value, target.channel), target)
                return whole
        for channel in range(1, len(value.shape)):
            if reshaped(dense("", value.shape, channel, self.lanes), sizes) is not None:
                return self._copied_to(value, self.along(value, channel), sizes)
        around = detour(value.shape, sizes, self.lanes)
        if around is not None:
            view = self.along(value, around.start)
            whole = dense(self._memory(value), sizes, around.end, self.lanes)
            target = reshaped(whole, around.between)
            assert target is not None
            self._turn(value, reshaped(view, around.between) or self._copied_to(value, view, around.between), target)
            return whole
        raise BackendError(f"vta: {value}: its elements cannot be taken as {list(sizes)}")

    def _copied_to(self, value: Value, view: View, sizes: Sequence[int]) -> View:
        """A view in dimensions that it has once it lies densely."""
        found = reshaped(self.copied(value, view), sizes)
        assert found is not None
        return found

    def leave(self, value: Value, inputs: Sequence[Value]) -> None:
        """See to it that the host can read a value where it lies."""
        view = self.view(value)
        if port_sizes(view) is None or view.memory in {each.name for each in inputs}:
            self.views[value] = self.copied(value, view)


def port_sizes(view: View) -> tuple[int, int, int] | None:
    """Batch, height and width of a value that lies as ports do, wherever its memory begins; None where it does not."""
    alone = replace(view, offset=0)
    if is_dense(alone):
        behind = view.sizes[view.channel + 1 :] or view.sizes[-2:-1]
        before = view.sizes[: view.channel] if view.channel < len(view.sizes) - 1 else view.sizes[:-2]
        return math.prod(before), math.prod(behind[:-1]), behind[-1]
    image = tensor_of(alone, 1.0, 0, True)
    if image.within is None and view.channel == len(view.sizes) - 1:
        return image.batch, image.height, image.width
    return None


def tensor_of(view: View, scale: float, zero_point: int, unsigned: bool) -> Tensor:
    """A view of at most four axes as an image: the axes beside the channels are its batch, its height, its width.

    Of two axes, the first is the batch and the second the width; one is the width.
    """
    others = view.others
    axes: list[int | None] = [None] * (3 - len(others)) + [*others]
    if len(others) == 2:
        axes[0], axes[1] = axes[1], axes[0]
    counts = [1 if axis is None else view.sizes[axis] for axis in axes]
    pitches = [1 if axis is None else view.pitches[axis] for axis in axes]
    (batch, height, width), channels = counts, view.sizes[view.channel]
    whole = [view.blocks * height * width, width, 1, height * width]
    given = [*pitches, view.pitches[view.channel]]
    image, row, pixel, block = (
        w if count == 1 else g for g, w, count in zip(given, whole, [*counts, view.blocks], strict=True)
    )
    lies = Pitch(view.offset, image, block, row, pixel)
    within = None if lies == Pitch(0, whole[0], whole[3], whole[1], 1) else lies
    return Tensor(view.memory, batch, channels, height, width, scale, zero_point, unsigned, within)


def _turnable(view: View, outer: Sequence[int], inner: int) -> Tensor:
    """A view as an image of which `outer` are batch and height, and `inner` is the width."""
    return tensor_of(transposed(view, [*outer, view.channel, inner]), 1.0, 0, True)
