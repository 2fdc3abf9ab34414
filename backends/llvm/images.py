"""Which values of a region are images in blocks of channels, and how each lies in memory.

Images that convolutions and pooling make are kept in blocks of a vector of channels, with the halo that their readers
want; parts of a concatenation lie within the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from heddle.backends.llvm.convolutions import F32, Sliding, is_direct, sliding_of
from heddle.backends.llvm.fusion import Uses, identity, is_pointwise
from heddle.backends.llvm.held import held_number, held_type
from heddle.backends.llvm.products import located
from heddle.backends.llvm.tails import fits, operands_of
from heddle.core.codegen.affine import flatten, of_axis
from heddle.core.codegen.kernels.image import Image
from heddle.core.codegen.lower import Step
from heddle.core.codegen.narrow import storage_type
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument
from heddle.core.codegen.tensor import Compute
from heddle.core.codegen.values import I8, I16, I32
from heddle.core.ir import Graph, Names, Value, tensor
from heddle.core.ops.scalar import Expr

HELD = ("float32", "uint8", "int8", "int32")
"""The dtypes of images."""


@dataclass(frozen=True)
class Blocked:
    """An image in memory: its geometry, the value that holds it and at which byte.

    `plain` memory has the numbers as they are, other memory as `held` has them.
    """

    image: Image
    value: Value
    offset: int = 0
    plain: bool = False

    @property
    def argument(self) -> Argument:
        return Argument(self.value, self.offset)


def accepts_tail(step: Compute) -> bool:
    """Whether an image kernel can compute what stands around a contraction in a step."""
    found = sliding_of(step)
    if found is None:
        return False
    leaf, sliding = found
    if not is_direct(step, leaf) or not fits(step.body, leaf, (I8, I32)):
        return False
    return all(operand_kind(step, item, sliding.kind.startswith("whole")) for item in operands_of(step.body, leaf))


def operand_kind(step: Compute, item: Expr, whole: bool = False) -> str | None:
    """How an operand lies beside an image: `single`, `channel`, `image`, or None for any other way."""
    value, indices = item.value.source, item.value.indices
    if value.dtype.name not in HELD:
        return None
    axes = [axis for axis in step.axes if axis.extent != 1]
    strided = located(value, flatten(indices, value.shape), axes)
    if strided is None:
        return None
    moving = [axis for axis in axes if strided.steps[axis]]
    if not moving:
        return "single"
    if moving == [step.axes[1]]:
        return "channel"
    if identity(indices, step.axes) and value.shape == step.output.shape and not whole:
        return "image"
    return None


def loads_of(body: Expr) -> list[Expr]:
    """Every load of an expression, as expressions."""
    return [body] if body.op == "load" else operands_of(body, Expr("nothing", F32))


def is_whole(step: Compute) -> bool:
    """Whether a step computes its output in order, every element."""
    return step.at is None and step.output.shape == tuple(axis.extent for axis in step.axes)


class Images:
    """The images among a region's values: `blocked` says how each lies, `fills` what its halo holds."""

    def __init__(self, graph: Graph, steps: Sequence[Step], names: Names, target: Target) -> None:
        self.steps, self.names, self.target, self.lanes = steps, names, target, target.lanes(4)
        self.uses = Uses.of(steps, graph.outputs)
        self.halos: dict[Value, tuple[int, int, int, int]] = {}
        self.fills: dict[Value, int] = {}
        self.blocked: dict[Value, Blocked] = {}
        self._plan()

    def _plan(self) -> None:
        parts = self._concatenations()
        images: dict[Value, None] = {}
        for step in self.steps:
            if not isinstance(step, Compute):
                continue
            joined = step.output in parts and all(source in images for source, _ in parts[step.output])
            if joined or self._is_windowed(step) or self._is_map(step, images):
                images[step.output] = None
        for step in self.steps:
            found = sliding_of(step) if isinstance(step, Compute) else None
            if found is not None and found[1].kind == "conv":
                sliding = found[1]
                # Only a Compute slides, and `found` is None of every other step.
                bare, out = self.image(sliding.source), self.image(step.output)  # type: ignore[union-attr]
                reach = sliding.window.reach(bare, out)
                before = self.halos.get(sliding.source, (0, 0, 0, 0))
                # The greater of each of four numbers is four numbers.
                self.halos[sliding.source] = tuple(map(max, reach, before))  # type: ignore[assignment]
                self.fills.setdefault(sliding.source, self.fill(sliding))
        for value in images:
            if value in parts and value not in self.blocked:
                self._place_parts(value, parts[value])
        for value in images:
            if value not in self.blocked:
                self.blocked[value] = self.allocate(value, self.image(value))

    def _is_windowed(self, step: Compute) -> bool:
        found = sliding_of(step)
        return found is not None and not found[1].kind.startswith("whole")

    def _is_map(self, step: Compute, images: dict[Value, None]) -> bool:
        """Whether a step is elementwise work on an image, so that its result may be one as well."""
        if (
            not is_pointwise(step)
            or len(step.output.shape) != 4
            or step.output.dtype.name not in HELD
            or not is_whole(step)
        ):
            return False
        operands = loads_of(step.body)
        kinds = [operand_kind(step, item) for item in operands]
        if None in kinds or not fits(step.body, Expr("nothing", F32), (I8, I32)):
            return False
        return any(kind == "image" and item.value.source in images for kind, item in zip(kinds, operands, strict=True))

    def _concatenations(self) -> dict[Value, list[tuple[Value, int]]]:
        """Values that are put together along channels out of others, each at a multiple of a vector."""
        found: dict[Value, list[tuple[Value, int]] | None] = {}
        for step in self.steps:
            if isinstance(step, Compute) and step.at is not None:
                part = self.part(step)
                if part is None or found.get(step.output, []) is None:
                    found[step.output] = None
                else:
                    # The branch above has taken the outputs that are None.
                    found.setdefault(step.output, []).append(part)  # type: ignore[union-attr]
        return {value: parts for value, parts in found.items() if parts}

    def part(self, step: Compute) -> tuple[Value, int] | None:
        assert step.at is not None
        if step.body.op != "load" or len(step.output.shape) != 4 or step.output.dtype.name not in HELD:
            return None
        source, axes = step.body.value.source, step.axes
        if not identity(step.body.value.indices, axes) or source.shape != tuple(a.extent for a in axes):
            return None
        shift = step.at[1] - of_axis(axes[1])
        same = all(step.at[i] == of_axis(axes[i]) for i in (0, 2, 3))
        if not same or shift.known is None or shift.known % self.lanes:
            return None
        return source, shift.known

    def _place_parts(self, value: Value, parts: Sequence[tuple[Value, int]]) -> None:
        whole = self.allocate(value, self.image(value))
        self.blocked[value] = whole
        producers = {s.output: s for s in self.steps if isinstance(s, Compute) and self._is_windowed(s)}
        for source, channel in parts:
            offset = self.offset(whole.image, channel)
            own = source in producers and self.uses.only(source) is not None and source not in self.halos
            if own and source not in self.blocked:
                self.blocked[source] = Blocked(self.within(whole.image, source), whole.value, offset)
                self.fills[source] = self.fills.get(value, 0)

    def offset(self, whole: Image, channel: int) -> int:
        """The byte at which a channel begins."""
        return channel // self.lanes * whole.plane * whole.scalar.bits // 8

    def within(self, whole: Image, part: Value) -> Image:
        """The channels of one part, in the memory of a larger image."""
        return replace(whole, channels=part.shape[1], outer=whole.blocks)

    def image(self, value: Value, block: int | None = None) -> Image:
        n, channels, height, width = value.shape
        halo = self.halos.get(value, (0, 0, 0, 0))
        return Image(channels, height, width, block or self.lanes, halo, n, held_type(self.target, value.dtype))

    def plain(self, value: Value) -> Blocked:
        n, channels, height, width = value.shape
        image = Image(channels, height, width, 1, batch=n, scalar=storage_type(value.dtype))
        return Blocked(image, value, plain=True)

    def allocate(self, value: Value, image: Image) -> Blocked:
        dtype = "int16" if image.scalar == I16 else value.dtype
        return Blocked(image, self.names.fresh(f"{value.name}.blocked", tensor(dtype, image.size)))

    def fill(self, sliding: Sliding) -> int:
        """What stands for zero in the memory of a convolution's source."""
        if sliding.quantized is None:
            return 0
        return held_number(self.target, sliding.source.dtype, sliding.quantized.zero_point)
