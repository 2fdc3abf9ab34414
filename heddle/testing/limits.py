"""The limits of a pattern: its conditions and its constants, and what lies just beyond each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from heddle.core.pattern import Condition, Pattern, Predicate, Quantity, Term
from heddle.testing.shapes import Shape


@dataclass(frozen=True)
class Constancy:
    """The limit that an operand must be constant."""

    of: str

    def __str__(self) -> str:
        return f"{self.of} is constant"


Limit = Condition | Constancy


@dataclass(frozen=True)
class Demand:
    """What a drawing asks of one quantity: a predicate, or beyond a limit its opposite."""

    predicate: Predicate
    outside: bool = False

    @property
    def each(self) -> bool:
        return self.predicate.each

    def holds(self, value: Any) -> bool:
        return self.predicate.holds(value) != self.outside

    def samples(self) -> tuple[Any, ...]:
        """Values that fulfil the demand, those at the edges first."""
        if not self.outside:
            return self.predicate.samples()
        numbers = [value for value in self.predicate.arguments if isinstance(value, int | float)]
        steps = [(value, step) for value in numbers for step in (0.5, -0.5, 1, -1)]
        # Integers are attributes and sizes, which cannot lie between two.
        near = [value + step for value, step in steps if isinstance(value, float) or isinstance(step, int)]
        near = [*self.predicate.violations(), *near]
        return tuple(dict.fromkeys(value for value in near if self.holds(value)))

    def __str__(self) -> str:
        return f"not {self.predicate}" if self.outside else str(self.predicate)


def limits_of(pattern: Pattern) -> tuple[Limit, ...]:
    """Everything that a pattern says it demands, condition by condition, then constant by constant."""
    return (*pattern.conditions, *map(Constancy, pattern.constants))


def demand_of(condition: Condition, known: Callable[[str], Shape | None], outside: bool) -> Demand | None:
    """A condition with its arguments as numbers; None while one of them is not known."""
    arguments = []
    for argument in condition.predicate.arguments:
        if isinstance(argument, Quantity) and argument.kind in ("shape", "dim", "rank"):
            shape = known(argument.of)
            if shape is None:
                return None
            values = {"shape": shape, "rank": len(shape)}
            arguments.append(shape[argument.key] if argument.kind == "dim" else values[argument.kind])
        elif isinstance(argument, Term):
            return None
        else:
            arguments.append(argument)
    return Demand(replace(condition.predicate, arguments=tuple(arguments)), outside)
