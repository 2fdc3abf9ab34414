"""Which shapes, attributes and values go together: a rule for each family of operators, for making cases up.

A rule may be generous: what an operator's own type rule refuses is no case and is drawn anew.
"""

from collections.abc import Mapping

from heddle.testing.rules import movement, pointwise, products, quantized, windows
from heddle.testing.rules.drawing import TEXTS, Drawing, Rule, Shape
from heddle.testing.rules.pointwise import elementwise

RULES: Mapping[str, Rule] = {
    **windows.RULES,
    **products.RULES,
    **pointwise.RULES,
    **movement.RULES,
    **quantized.RULES,
}
"""The rule of each operator that has one of its own; the others' operands broadcast."""

TOGETHER: Mapping[str, tuple[str, ...]] = {"com.microsoft.QLinearConcat": ("x", "x_scale", "x_zero_point")}
"""What a variadic operator's last operands are, where several belong together."""

__all__ = ["RULES", "TEXTS", "TOGETHER", "Drawing", "Rule", "Shape", "elementwise"]
