"""Operators on quantized numbers that carry their scales and zero points along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heddle.testing.rules.drawing import Drawing, Rule, Shape
from heddle.testing.rules.movement import concat
from heddle.testing.rules.pointwise import along_axis, elementwise
from heddle.testing.rules.windows import image, pooling


def linear(d: Drawing) -> dict[str, Any]:
    """DequantizeLinear and QuantizeLinear: one scale, or one for each place along an axis."""
    x = d.free(0, (4, 2, 3))
    axis = d.wish("axis", [0, 1])
    deep = d.deep and len(x) > axis and d.pick((False, True))
    scale = d.want(1, *([(x[axis],)] if deep else []), ())
    d.want(2, scale)
    return {"axis": axis} if deep else {}


def with_scales(rule: Rule, *tensors: int) -> Rule:
    """A rule over those operands that are tensors; the others are one number each."""

    def rule_over_tensors(d: Drawing) -> dict[str, Any]:
        for number in range(d.operands):
            if number not in tensors:
                d.want(number, ())
        return rule(_Part(d, tensors))

    return rule_over_tensors


@dataclass(frozen=True)
class _Part:
    """A drawing of which a rule sees only these operands, numbered anew."""

    whole: Drawing
    numbers: tuple[int, ...]

    @property
    def operands(self) -> int:
        return sum(self.present(number) for number in range(len(self.numbers)))

    @property
    def results(self) -> int:
        return self.whole.results

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.whole.sizes

    @property
    def deep(self) -> bool:
        return self.whole.deep

    def pick(self, options: Sequence[Any]) -> Any:
        return self.whole.pick(options)

    def wish(self, attribute: str, options: Sequence[Any]) -> Any:
        return self.whole.wish(attribute, options)

    def present(self, number: int) -> bool:
        return number < len(self.numbers) and self.whole.present(self.numbers[number])

    def shape(self, number: int) -> Shape | None:
        return self.whole.shape(self.numbers[number]) if self.present(number) else None

    def want(self, number: int, *shapes: Shape) -> Shape:
        return self.whole.want(self.numbers[number], *shapes) if self.present(number) else shapes[0]

    def free(self, number: int, ranks: Sequence[int]) -> Shape:
        return self.whole.free(self.numbers[number], ranks)

    def hold(self, number: int, values: Any) -> None:
        if self.present(number):
            self.whole.hold(self.numbers[number], values)

    def within(self, number: int, low: int, high: int) -> None:
        if self.present(number):
            self.whole.within(self.numbers[number], low, high)


def joined(d: Drawing) -> dict[str, Any]:
    """QLinearConcat: after the result's scale, triples of a tensor, its scale, its zero point."""
    return with_scales(concat, *range(2, d.operands, 3))(d)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), linear),
    **dict.fromkeys(("com.microsoft.DequantizeLinear", "com.microsoft.QuantizeLinear"), linear),
    **dict.fromkeys(("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"), with_scales(elementwise, 0, 3)),
    "com.microsoft.QLinearWhere": with_scales(elementwise, 0, 1, 4),
    **dict.fromkeys(("com.microsoft.QLinearLeakyRelu", "com.microsoft.QLinearSigmoid"), with_scales(elementwise, 0)),
    "com.microsoft.QLinearSoftmax": with_scales(along_axis, 0),
    "com.microsoft.QLinearAveragePool": with_scales(pooling, 0),
    "com.microsoft.QLinearGlobalAveragePool": with_scales(image, 0),
    "com.microsoft.QLinearConcat": joined,
}
