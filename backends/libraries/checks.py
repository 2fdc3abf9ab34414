"""What every library demands of the tensors of a match."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from heddle.core.ir import TensorType
from heddle.core.pattern import Match

Check = Callable[[Match], str | None]
"""The reason for which a match is refused, None where it is not."""


def shapes_known(most_axes: int) -> Check:
    """Refuses tensors of unknown shape, of more axes than these, and computed ones without elements."""

    def known(match: Match) -> str | None:
        for node in match.nodes:
            for value in (*node.operands, *node.results):
                if not isinstance(value.type, TensorType) or value.type.shape is None:
                    return f"{value} is {value.type}, takes a known shape"
                if len(value.type.shape) > most_axes:
                    return f"{value} has {len(value.type.shape)} axes, takes at most {most_axes}"
                if value not in match.graph.constants and prod(value.type.shape) == 0:
                    return f"{value} is {value.type}, takes at least one element"
        return None

    return known
