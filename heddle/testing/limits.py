"""The limits of a pattern: its conditions and its constants, and what lies just beyond each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from heddle.core.pattern import Condition, Pattern, Predicate, Quantity, Unknown
from heddle.core.pattern.conditions import Computed, calculated, spread_of
from heddle.testing.rules import Shape

SCANNED = range(129)
"""Numbers that are tried where a condition does not say itself which fulfil it."""

SHAPELY = ("shape", "dim", "rank", "size", "spread")
"""Kinds of quantities that a shape decides."""


@dataclass(frozen=True)
class Constancy:
    """The limit that an operand must be constant."""

    of: str

    def __str__(self) -> str:
        return f"{self.of} is constant"


Limit = Condition | Constancy

OPEN = Unknown("open")
"""A quantity that is not chosen yet."""

Known = Callable[[Quantity], Any]
"""The value of a quantity in a case as far as it is drawn: OPEN, or None where the case has no such part."""


@dataclass(frozen=True)
class Demand:
    """What a condition asks of one quantity when all else is known; beyond a limit the opposite.

    A quantity of kind "shape" stands for all that the shape decides: rank, size, single dimensions.
    """

    condition: Condition
    quantity: Quantity
    known: Known
    outside: bool = False

    @property
    def predicate(self) -> Predicate:
        """What is asked, with numbers for arguments that are known without the quantity."""
        read = self._reader(OPEN)
        return self.condition.predicate.given([calculated(a, read) for a in self.condition.predicate.arguments])

    def holds(self, value: Any) -> bool:
        read = self._reader(value)
        actual = calculated(self.condition.term, read)
        arguments = [calculated(argument, read) for argument in self.condition.predicate.arguments]
        if any(each is None or isinstance(each, Unknown) for each in (actual, *arguments)):
            return not self.outside
        return self.condition.predicate.given(arguments).holds(actual) != self.outside

    def samples(self) -> tuple[Any, ...]:
        """Values that fulfil the demand, those at the edges first."""
        return tuple(dict.fromkeys(value for value in self._near() if self.holds(value)))

    def _near(self) -> Iterator[Any]:
        predicate = self.predicate
        direct = self.condition.term == self.quantity and not any(isinstance(a, Unknown) for a in predicate.arguments)
        if not direct:
            yield from SCANNED
        elif not self.outside:
            yield from predicate.samples()
        else:
            numbers = [value for value in predicate.arguments if isinstance(value, int | float)]
            yield from predicate.violations()
            for value in numbers:
                # Integers are attributes and sizes, which cannot lie between two.
                yield from (value + step for step in ((0.5, -0.5, 1, -1) if isinstance(value, float) else (1, -1)))

    def _reader(self, candidate: Any) -> Known:
        def read(quantity: Quantity) -> Any:
            if quantity == self.quantity:
                return candidate
            if self.quantity.kind == "shape" and quantity.kind in SHAPELY and not isinstance(candidate, Unknown):
                if quantity.kind == "spread" and quantity.key == self.quantity.of:
                    small = self.known(Quantity("shape", quantity.of))
                    return spread_of(small, candidate) if isinstance(small, tuple) else small
                if quantity.of == self.quantity.of:
                    return of_shape(quantity, candidate, self.known)
            return self.known(quantity)

        return read

    def __str__(self) -> str:
        told = self.predicate if self.condition.term == self.quantity else self.condition
        return f"not {told}" if self.outside else str(told)


def of_shape(quantity: Quantity, shape: Shape, known: Known) -> Any:
    """What a quantity that a shape decides is for this shape; None where the shape has no such dimension."""
    match quantity.kind:
        case "shape":
            return shape
        case "rank":
            return len(shape)
        case "size":
            return prod(shape)
        case "dim":
            return shape[quantity.key] if -len(shape) <= quantity.key < len(shape) else None
        case _:
            large = known(Quantity("shape", quantity.key))
            return spread_of(shape, large) if isinstance(large, tuple) else large


def limits_of(pattern: Pattern) -> tuple[Limit, ...]:
    """Everything that a pattern says it demands, condition by condition, then constant by constant."""
    return (*pattern.conditions, *map(Constancy, pattern.constants))


def demand_of(condition: Condition, quantity: Quantity, known: Known, outside: bool = False) -> Demand | None:
    """What a condition asks of a quantity; None where it asks nothing of it, or while another part is not known."""
    read = quantities(condition)
    own = [each for each in read if _is(each, quantity)]
    if not own:
        return None
    others = (known(each) for each in read if each not in own)
    if any(isinstance(value, Unknown) for value in others):
        return None
    return Demand(condition, quantity, known, outside)


def _is(quantity: Quantity, chosen: Quantity) -> bool:
    if quantity == chosen:
        return True
    if chosen.kind != "shape" or quantity.kind not in SHAPELY:
        return False
    return quantity.of == chosen.of or (quantity.kind == "spread" and quantity.key == chosen.of)


def quantities(condition: Condition) -> tuple[Quantity, ...]:
    """Every quantity that a condition reads, in its term and in its arguments."""
    return tuple(each for term in (condition.term, *condition.predicate.arguments) for each in _quantities(term))


def _quantities(term: Any) -> tuple[Quantity, ...]:
    if isinstance(term, Quantity):
        return (term,)
    if isinstance(term, Computed):
        return (*_quantities(term.left), *_quantities(term.right))
    return ()
