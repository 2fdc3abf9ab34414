"""Arithmetic with dimensions that are only known by name: sums of products, each in its one spelling, as `4*N+2*M*N+1`.

What has no such spelling is unknown: a difference that might be negative, a quotient that might not be whole.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from heddle.core.ir.types import UNKNOWN, Dim

_FACTOR = re.compile(r"[A-Za-z_][\w.]*|\d+")
_MOST = 6
"""A sum of more terms than this is unknown: nobody would read it, and each operator might add another."""

Term = tuple[str, ...]
"""The names of a product, sorted; the number has none."""
Terms = Mapping[Term, int]


def total(dims: Sequence[Dim]) -> Dim:
    """The sum of dimensions."""
    terms: Counter[Term] = Counter()
    for dim in dims:
        if dim == UNKNOWN:
            return UNKNOWN
        terms.update(_terms(dim))
    return _spelled(terms)


def difference(left: Dim, right: Dim) -> Dim:
    """One dimension less another; a number when both are, even below 0."""
    if isinstance(left, int) and isinstance(right, int):
        return left - right
    if UNKNOWN in (left, right):
        return UNKNOWN
    terms = Counter(_terms(left))
    terms.subtract(_terms(right))
    return UNKNOWN if any(count < 0 for count in terms.values()) else _spelled(terms)


def product(factors: Sequence[Dim]) -> Dim:
    """The product of dimensions."""
    if 0 in factors:
        return 0
    terms: Terms = {(): 1}
    for factor in factors:
        if factor == UNKNOWN:
            return UNKNOWN
        grown: Counter[Term] = Counter()
        for names, count in terms.items():
            for others, times in _terms(factor).items():
                grown[tuple(sorted((*names, *others)))] += count * times
        terms = grown
    return _spelled(terms)


def quotient(total: Sequence[Dim], divisors: Sequence[Dim]) -> Dim:
    """The product of `total` divided by the product of `divisors`; unknown unless it divides for certain."""
    above, below = product(total), product(divisors)
    if UNKNOWN in (above, below) or below == 0:
        return UNKNOWN
    if above == below and isinstance(above, str):
        return 1
    ((gone, number), *more) = _terms(below).items() or [((), 1)]
    left: Counter[Term] = Counter()
    for names, count in _terms(above).items():
        rest = Counter(names)
        rest.subtract(Counter(gone))
        if more or count % number or any(times < 0 for times in rest.values()):
            return UNKNOWN
        left[tuple(sorted(rest.elements()))] += count // number
    return _spelled(left)


def bound(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """A dimension with sizes for some of its names; unknown when only some are known."""
    if isinstance(dim, int) or dim in sizes:
        return dim if isinstance(dim, int) else sizes[dim]
    names = {name for term in _terms(dim) for name in term}
    if not names & sizes.keys():
        return dim
    values = {name: size for name in names if isinstance(size := sizes.get(name), int)}
    if values.keys() != names:
        return UNKNOWN
    return sum(count * math.prod(values[name] for name in term) for term, count in _terms(dim).items())


@lru_cache(maxsize=4096)
def _terms(dim: Dim) -> Terms:
    """The terms of a dimension. A name that only looks like a sum or product, spelled in another way, is one name."""
    if isinstance(dim, int):
        return {(): dim} if dim else {}
    terms: Counter[Term] = Counter()
    for text in dim.split("+"):
        factors = text.split("*")
        if not all(map(_FACTOR.fullmatch, factors)):
            return {(dim,): 1}
        numbers = [int(factor) for factor in factors if factor.isdigit()]
        terms[tuple(sorted(factor for factor in factors if not factor.isdigit()))] += math.prod(numbers)
    return terms if _spelled(terms) == dim else {(dim,): 1}


def _spelled(terms: Terms) -> Dim:
    """The one spelling of a sum: products by their names, the number last."""
    counts = {term: count for term, count in terms.items() if count}
    if not any(counts):
        return counts.get((), 0)
    if len(counts) > _MOST or any(count < 0 for count in counts.values()):
        return UNKNOWN
    parts = ["*".join([*([str(count)] if count != 1 else []), *term]) for term, count in sorted(counts.items()) if term]
    return "+".join([*parts, *([str(counts[()])] if () in counts else [])])
