"""Conditions: what a pattern demands of attributes, types, shapes and constants, as data with a reason on failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from heddle.core.ir import Node, TensorType, Value
from heddle.core.ir.graph import Array
from heddle.core.pattern import predicates
from heddle.core.pattern.attributes import attribute
from heddle.core.pattern.predicates import Predicate, show


class Facts(Protocol):
    """What conditions are asked of: the parts of one match, by the pattern's names."""

    def value(self, name: str) -> Value | None: ...

    def node(self, name: str) -> Node | None: ...

    def array(self, name: str) -> Array | None: ...

    def times(self, name: str) -> int | None: ...


@dataclass(frozen=True)
class Unknown:
    """A quantity that is there, but that nobody knows before the model runs."""

    text: str


@dataclass(frozen=True)
class Failure:
    """A condition that does not hold: what it is about, what was found, what is taken, what would mend it."""

    subject: str
    actual: str
    takes: str
    fix: str = ""
    verb: str = "="

    def __str__(self) -> str:
        return f"{self.subject}{self.verb}{self.actual}" + (f", takes {self.takes}" if self.takes else "")


class Term:
    """A quantity, or arithmetic of quantities and numbers; its methods make conditions of it."""

    def __add__(self, other: Term | int) -> Term:
        return Computed("+", self, other)

    def __sub__(self, other: Term | int) -> Term:
        return Computed("-", self, other)

    def __mul__(self, other: Term | int) -> Term:
        return Computed("*", self, other)

    def __floordiv__(self, other: Term | int) -> Term:
        return Computed("//", self, other)

    def __mod__(self, other: Term | int) -> Term:
        return Computed("%", self, other)

    def equals(self, value: Any) -> Condition:
        return Condition(self, predicates.equals(value))

    def differs(self, *values: Any) -> Condition:
        return Condition(self, predicates.differs(*values))

    def among(self, *values: Any) -> Condition:
        return Condition(self, predicates.among(*values))

    def between(self, low: Any, high: Any) -> Condition:
        return Condition(self, predicates.between(low, high))

    def at_least(self, low: Any) -> Condition:
        return Condition(self, predicates.at_least(low))

    def at_most(self, high: Any) -> Condition:
        return Condition(self, predicates.at_most(high))

    def multiple_of(self, unit: Any) -> Condition:
        return Condition(self, predicates.multiple_of(unit))

    def each(self, predicate: Predicate) -> Condition:
        return Condition(self, predicates.each(predicate))


@dataclass(frozen=True)
class Quantity(Term):
    """Something that can be read off a match: `conv.strides`, `x.shape[1]`, `x.dtype`. `kind` is a key of `READERS`."""

    kind: str
    of: str
    key: Any = None

    def __str__(self) -> str:
        match self.kind:
            case "attr":
                return f"{self.of}.{self.key}"
            case "dim":
                return f"{self.of}.shape[{self.key}]"
            case "value":
                return self.of
            case "spread":
                return f"spread of {self.of} over {self.key}"
            case _:
                return f"{self.of}.{self.kind}"


@dataclass(frozen=True)
class Computed(Term):
    """Arithmetic of two terms."""

    operation: str
    left: Term
    right: Term | int

    def __str__(self) -> str:
        return f"({self.left} {self.operation} {self.right})"


@dataclass(frozen=True)
class Condition:
    """A term and the predicate it must satisfy; holds of itself where the term's names are absent from the match."""

    term: Term
    predicate: Predicate

    def check(self, facts: Facts) -> Failure | None:
        """None when the condition holds, else why not."""
        actual = read(self.term, facts)
        if actual is None:
            return None
        predicate, unknown = self.predicate, actual if isinstance(actual, Unknown) else None
        if self._relates:
            arguments = [read(a, facts) if isinstance(a, Term) else a for a in predicate.arguments]
            if any(argument is None for argument in arguments):
                return None
            predicate = predicate.given(arguments)
            unknown = unknown or next((a for a in arguments if isinstance(a, Unknown)), None)
        if unknown is not None:
            return Failure(str(self.term), unknown.text, str(self.predicate), "fix the size when the model is compiled")
        if predicate.holds(actual):
            return None
        return Failure(self._subject(), show(actual), str(predicate), self._fix(predicate, actual))

    def _subject(self) -> str:
        """Attributes are known by their own name; all else by the pattern's."""
        if isinstance(self.term, Quantity) and self.term.kind == "attr":
            return str(self.term.key)
        return str(self.term)

    def _fix(self, predicate: Predicate, actual: Any) -> str:
        repaired = predicate.repaired(actual)
        if repaired is None or not isinstance(self.term, Quantity):
            return f"make {self.term} {self.predicate}"
        if self.term.kind == "dtype":
            return f"cast or quantize {self.term.of} to {show(repaired)}"
        return f"change {self._subject()} from {show(actual)} to {show(repaired)}"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the pattern that this condition reads, sorted."""
        return tuple(sorted({*_names(self.term), *(name for a in self.predicate.arguments for name in _names(a))}))

    @cached_property
    def _relates(self) -> bool:
        """Whether the predicate compares with quantities of the match."""
        return any(isinstance(argument, Term) for argument in self.predicate.arguments)

    def __str__(self) -> str:
        return f"{self.term} is {self.predicate}"


# -- making quantities ---------------------------------------------------------------------------------------------


def attr(of: str, name: str) -> Quantity:
    """The attribute `name` of the node that binds `of`, its default where it is absent."""
    return Quantity("attr", of, name)


def dtype(of: str) -> Quantity:
    """The element type, by name: `dtype("x").among("int8", "uint8")`."""
    return Quantity("dtype", of)


def rank(of: str) -> Quantity:
    """The number of dimensions."""
    return Quantity("rank", of)


def dim(of: str, axis: int) -> Quantity:
    """One dimension; negative axes count from the end. Absent where the rank is too small."""
    return Quantity("dim", of, axis)


def shape(of: str) -> Quantity:
    """All dimensions, as a tuple."""
    return Quantity("shape", of)


def size(of: str) -> Quantity:
    """The number of elements."""
    return Quantity("size", of)


def value(of: str) -> Quantity:
    """The value of a constant: a number, or a nested tuple of numbers."""
    return Quantity("value", of)


def times(of: str) -> Quantity:
    """How often the repetition that binds `of` was found."""
    return Quantity("times", of)


def spread(of: str, over: str) -> Quantity:
    """How an operand lies against a tensor that it is broadcast to.

    `"scalar"`, `"channel"` (along axis 1), `"last"` (along the last axis), `"full"`, or `"other"`.
    """
    return Quantity("spread", of, over)


# -- reading them --------------------------------------------------------------------------------------------------


def read(term: Term, facts: Facts) -> Any:
    """The term's value in a match, an `Unknown`, or None where the match has no such part."""
    if isinstance(term, Quantity):
        return READERS[term.kind](facts, term.of, term.key)
    return calculated(term, lambda quantity: READERS[quantity.kind](facts, quantity.of, quantity.key))


def calculated(term: Any, quantity_of: Callable[[Quantity], Any]) -> Any:
    """A term's value from that of its quantities; what is no term is its own value."""
    if isinstance(term, Quantity):
        return quantity_of(term)
    if not isinstance(term, Computed):
        return term
    left, right = calculated(term.left, quantity_of), calculated(term.right, quantity_of)
    if left is None or right is None or isinstance(left, Unknown):
        return left if right is not None else None
    if isinstance(right, Unknown):
        return right
    if term.operation in ("//", "%") and right == 0:
        return Unknown("a division by zero")
    return _ARITHMETIC[term.operation](left, right)


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
}


def _tensor(facts: Facts, of: str) -> TensorType | None:
    found = facts.value(of)
    return found.type if found is not None and isinstance(found.type, TensorType) else None


def _attr(facts: Facts, of: str, key: Any) -> Any:
    node = facts.node(of)
    if node is None:
        return None
    found = attribute(node, key)
    return Unknown("absent") if found is None else found


def _dtype(facts: Facts, of: str, _: Any) -> Any:
    type = _tensor(facts, of)
    return None if type is None else show(type.dtype)


def _rank(facts: Facts, of: str, _: Any) -> Any:
    type = _tensor(facts, of)
    if type is None:
        return None
    return Unknown("unknown") if type.dims is None else len(type.dims)


def _dim(facts: Facts, of: str, axis: Any) -> Any:
    type = _tensor(facts, of)
    if type is None:
        return None
    if type.dims is None:
        return Unknown("unknown")
    if not -len(type.dims) <= axis < len(type.dims):
        return None
    return _size_of(type.dims[axis])


def _shape(facts: Facts, of: str, _: Any) -> Any:
    type = _tensor(facts, of)
    if type is None:
        return None
    return Unknown(str(type)) if type.shape is None else type.shape


def _size(facts: Facts, of: str, _: Any) -> Any:
    type = _tensor(facts, of)
    if type is None:
        return None
    return Unknown(str(type)) if type.size is None else type.size


def _value(facts: Facts, of: str, _: Any) -> Any:
    array = facts.array(of)
    return None if array is None else _tuples(array.tolist())


def _times(facts: Facts, of: str, _: Any) -> Any:
    return facts.times(of)


def _spread(facts: Facts, of: str, over: Any) -> Any:
    small, large = _tensor(facts, of), _tensor(facts, over)
    if small is None or large is None:
        return None
    if small.shape is None or large.dims is None:
        return Unknown(str(small if small.shape is None else large))
    return spread_of(small.shape, large.dims)


def spread_of(small: Sequence[int], large: Sequence[int | str]) -> str:
    """How a shape lies against one that it is broadcast to; the words of `spread`."""
    if all(size == 1 for size in small):
        return "scalar"
    if tuple(small) == tuple(large):
        return "full"
    padded = (1,) * (len(large) - len(small)) + tuple(small)
    wide = [axis for axis, size in enumerate(padded) if size != 1]
    if len(wide) == 1 and padded[wide[0]] == large[wide[0]]:
        if wide[0] == len(large) - 1:
            return "last"
        if wide[0] == 1:
            return "channel"
    return "other"


READERS: Mapping[str, Callable[[Facts, str, Any], Any]] = {
    "attr": _attr,
    "dtype": _dtype,
    "rank": _rank,
    "dim": _dim,
    "shape": _shape,
    "size": _size,
    "value": _value,
    "times": _times,
    "spread": _spread,
}


def _size_of(dim: int | str) -> int | Unknown:
    return Unknown(dim if dim != "?" else "unknown") if isinstance(dim, str) else dim


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _names(term: Any) -> tuple[str, ...]:
    if isinstance(term, Quantity):
        return (term.of, term.key) if term.kind == "spread" else (term.of,)
    if isinstance(term, Computed):
        return _names(term.left) + _names(term.right)
    return ()
