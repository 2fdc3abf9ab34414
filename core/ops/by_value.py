"""Which operands an operator must know by value, not only by type, before code can be made for it."""

from __future__ import annotations

from heddle.core.ir import Node, TensorType

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

ALWAYS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys((f"Reduce{name}" for name in _REDUCTIONS), (1,)),
    "CumSum": (1,),
    "CumProd": (1,),
    "Slice": (3, 4),
    "Pad": (1, 3),
    "Resize": (1, 2, 3),
    "Split": (1,),
    "SplitToSequence": (1,),
    "DFT": (1, 2),
    "STFT": (1, 3),
    "Col2Im": (1, 2),
    "Dropout": (2,),
    "Expand": (1,),
    "Tile": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "TopK": (1,),
    "OneHot": (1,),
    "Range": (0, 1, 2),
    "CenterCropPad": (1,),
    "AffineGrid": (1,),
    "MaxUnpool": (2,),
    "HannWindow": (0,),
    "HammingWindow": (0,),
    "BlackmanWindow": (0,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "heddle.NonMaxSuppressionBounded": (2,),
}
"""Operands that decide what code there is, or what shape it makes."""

CHECKED: dict[str, tuple[int, ...]] = {"Reshape": (1,), "Slice": (1, 2)}
"""Operands that may be data where the shape of the result is known without them: the code checks that they agree."""

FROM_TYPES = frozenset(("Shape", "Size"))
"""Operators whose result follows from their operand's type."""


def by_value(node: Node) -> tuple[int, ...]:
    """The operands of a node, by position, whose values must be known to compile it; absent ones included."""
    shaped = all(isinstance(value.type, TensorType) and value.type.shape is not None for value in node.results)
    return (*ALWAYS.get(node.op, ()), *(() if shaped else CHECKED.get(node.op, ())))
