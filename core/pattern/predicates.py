"""Predicates: sets, ranges and relations that a value must satisfy, as data to print, check and sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from heddle.core.ir import dtype_name


class Relation(Enum):
    """How a value must relate to the arguments of its predicate."""

    AMONG = "among"
    OTHER_THAN = "other than"
    BETWEEN = "between"
    AT_LEAST = "at least"
    AT_MOST = "at most"
    MULTIPLE_OF = "a multiple of"


@dataclass(frozen=True)
class Predicate:
    """A relation and its arguments; `each` asks it of every element of a tuple, and then of a lone value too.

    An argument may be a quantity of the match (see `conditions`); it is replaced by its value before the predicate
    is asked.
    """

    relation: Relation
    arguments: tuple[Any, ...]
    each: bool = False

    def given(self, arguments: Sequence[Any]) -> Predicate:
        """The predicate with other arguments."""
        return replace(self, arguments=tuple(arguments))

    def holds(self, value: Any) -> bool:
        """True when the value satisfies the predicate."""
        if self.each:
            return all(self._one(item) for item in (value if isinstance(value, tuple) else (value,)))
        return self._one(value)

    def _one(self, value: Any) -> bool:
        match self.relation:
            case Relation.AMONG:
                return any(same(value, argument) for argument in self.arguments)
            case Relation.OTHER_THAN:
                return not any(same(value, argument) for argument in self.arguments)
            case Relation.BETWEEN:
                return bool(self.arguments[0] <= value <= self.arguments[1])
            case Relation.AT_LEAST:
                return bool(value >= self.arguments[0])
            case Relation.AT_MOST:
                return bool(value <= self.arguments[0])
            case Relation.MULTIPLE_OF:
                return bool(value % self.arguments[0] == 0)

    def repaired(self, value: Any) -> Any:
        """The value nearest to `value` that holds; None when there is no nearest one."""
        if self.each and isinstance(value, tuple):
            items = tuple(self._repaired_one(item) for item in value)
            return None if any(item is None for item in items) else items
        return self._repaired_one(value)

    def _repaired_one(self, value: Any) -> Any:
        if self._one(value):
            return value
        match self.relation:
            case Relation.AMONG:
                return self._nearest(value)
            case Relation.OTHER_THAN:
                return None
            case Relation.BETWEEN:
                return min(max(value, self.arguments[0]), self.arguments[1])
            case Relation.AT_LEAST | Relation.AT_MOST:
                return self.arguments[0]
            case Relation.MULTIPLE_OF:
                return -(-value // self.arguments[0]) * self.arguments[0] or self.arguments[0]

    def _nearest(self, value: Any) -> Any:
        if isinstance(value, int | float) and all(isinstance(argument, int | float) for argument in self.arguments):
            return min(self.arguments, key=lambda argument: (abs(argument - value), argument))
        return self.arguments[0]

    def samples(self) -> tuple[Any, ...]:
        """Values (elements, of an `each`) that hold, edges first: for whoever makes cases of a pattern."""
        match self.relation:
            case Relation.AMONG:
                return self.arguments
            case Relation.OTHER_THAN:
                return tuple(v for v in (0, 1, 2, 3) if not any(same(v, argument) for argument in self.arguments))
            case Relation.BETWEEN:
                low, high = self.arguments
                return tuple(dict.fromkeys((low, high, (low + high) // 2)))
            case Relation.AT_LEAST:
                (low,) = self.arguments
                return (low, low + 1, low + 2)
            case Relation.AT_MOST:
                (high,) = self.arguments
                return tuple(dict.fromkeys((high, min(high, 1), high // 2)))
            case Relation.MULTIPLE_OF:
                (unit,) = self.arguments
                return (unit, 2 * unit, 3 * unit)

    def violations(self) -> tuple[Any, ...]:
        """Values (elements, of an `each`) of the same kind that do not hold, next to the edges."""
        numbers = [argument for argument in self.arguments if isinstance(argument, int) and argument is not True]
        near = dict.fromkeys(number + step for number in numbers for step in (-1, 0, 1) if number + step >= 0)
        return tuple(value for value in near if not self._one(value))

    def __str__(self) -> str:
        texts = [show(argument) for argument in self.arguments]
        listed = texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"
        match self.relation:
            case Relation.AMONG:
                text = listed
            case Relation.OTHER_THAN:
                text = f"anything but {listed}"
            case Relation.BETWEEN:
                text = f"{texts[0]} to {texts[1]}"
            case Relation.AT_LEAST:
                text = f"{listed} or more"
            case Relation.AT_MOST:
                text = f"at most {listed}"
            case Relation.MULTIPLE_OF:
                text = f"a multiple of {listed}"
        return f"{text} in each place" if self.each else text


def equals(value: Any) -> Predicate:
    """Exactly this value."""
    return Predicate(Relation.AMONG, (value,))


def differs(*values: Any) -> Predicate:
    """Anything but these values."""
    return Predicate(Relation.OTHER_THAN, values)


def among(*values: Any) -> Predicate:
    """One of these values."""
    return Predicate(Relation.AMONG, values)


def between(low: Any, high: Any) -> Predicate:
    """From `low` to `high`, both included."""
    return Predicate(Relation.BETWEEN, (low, high))


def at_least(low: Any) -> Predicate:
    """This or more."""
    return Predicate(Relation.AT_LEAST, (low,))


def at_most(high: Any) -> Predicate:
    """This or less."""
    return Predicate(Relation.AT_MOST, (high,))


def multiple_of(unit: Any) -> Predicate:
    """A multiple of `unit`."""
    return Predicate(Relation.MULTIPLE_OF, (unit,))


def each(predicate: Predicate) -> Predicate:
    """The predicate, asked of every element of a tuple: `strides=each(among(1, 2))`."""
    return replace(predicate, each=True)


def same(left: Any, right: Any) -> bool:
    """Equality of attribute values: lists and tuples are one, 1 is not True, NaN equals itself."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, float) and isinstance(right, float) and left != left:
        return right != right
    return bool(left == right)


def show(value: Any) -> str:
    """A value as people write it: `[1,2]`, `float32`, `3`."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return f"[{','.join(show(item) for item in value)}]"
    if isinstance(value, np.dtype):
        return dtype_name(value)
    if isinstance(value, np.generic):
        return show(value.item())
    return str(value)
