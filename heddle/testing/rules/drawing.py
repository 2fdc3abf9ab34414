"""What a rule sees of a case that is being drawn: one operator, its operands by number, what may be chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Shape = tuple[int, ...]


class Drawing(Protocol):
    """The case as far as it is drawn, as a rule sees one operator of it."""

    @property
    def operands(self) -> int:
        """How many operands the operator has here."""

    @property
    def results(self) -> int:
        """How many results the operator has here."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of dimensions that may be anything."""

    @property
    def deep(self) -> bool:
        """Whether scales may have several values in this case."""

    def pick(self, options: Sequence[Any]) -> Any:
        """One of these."""

    def shape(self, number: int) -> Shape | None:
        """The shape of an operand, None while it is open or where it is absent."""

    def present(self, number: int) -> bool:
        """Whether there is such an operand."""

    def want(self, number: int, *shapes: Shape) -> Shape:
        """Give an open operand one of these shapes, or what the pattern's conditions make of one."""

    def free(self, number: int, ranks: Sequence[int]) -> Shape:
        """The shape of an operand; an open one gets any of these ranks."""

    def hold(self, number: int, values: Any) -> None:
        """Give an open operand these values, as a constant, where the pattern's conditions say nothing."""

    def within(self, number: int, low: int, high: int) -> None:
        """Let an open operand, constant or not, have whole numbers from `low` up to but without `high`."""

    def wish(self, attribute: str, options: Sequence[Any]) -> Any:
        """The value of an attribute: one that the pattern's conditions allow, else one of these."""


Rule = Callable[[Drawing], dict[str, Any]]
"""Settles the shapes of an operator's open operands, and what they hold; returns attributes."""

TEXTS: Mapping[str, tuple[str, ...]] = {
    "auto_pad": ("SAME_UPPER", "SAME_LOWER", "VALID"),
    "approximate": ("none", "tanh"),
    "mode": ("nearest", "linear", "cubic", "constant", "reflect", "edge", "wrap", "DCR", "CRD"),
    "coordinate_transformation_mode": ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"),
    "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
    "direction": ("forward", "reverse", "bidirectional", "LEFT", "RIGHT"),
    "reduction": ("none", "mean", "sum", "add", "mul", "max", "min"),
    "padding_mode": ("zeros", "border", "reflection"),
    "to": ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
}
"""What attributes that are words may say; an operator's own rule refuses those that are not its."""


def some_axes(d: Drawing, rank: int) -> list[int]:
    """One axis or several, each once, some counted from the end."""
    found: list[int] = []
    for _ in range(d.pick((1, 1, 2, 3))):
        left = [axis for axis in range(rank) if axis not in found and axis - rank not in found]
        if left:
            axis = d.pick(left)
            found.append(d.pick((axis, axis, axis - rank)))
    return found
