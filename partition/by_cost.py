"""Placement by cost: the cheapest legal plan, proved so where that is quick, and always said how it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from heddle.core.ir import Node
from heddle.core.pattern import Index, Refusal
from heddle.core.plugin import Backend
from heddle.partition.assemble import acyclic, merged
from heddle.partition.candidates import Candidates, key_of_unit
from heddle.partition.demands import Demands
from heddle.partition.milp import Model, index_of
from heddle.partition.pricing import PlanPrice, Pricer
from heddle.partition.units import Quotient, Unit

EVERY_PLAN = 2_000
"""Up to so many combinations of candidates, every one is priced."""

WINDOW = 300
"""So many candidates are decided by one program; of more, a window of so many at a time."""

TRIALS = 8_000
"""So many nodes, summed over all trials, are placed anew while changes are tried on the plan of a program."""

Choice = frozenset[int]


@dataclass(eq=False)
class Priced:
    """A choice of candidates, the legal quotient that came of it, its regions and their price."""

    choice: Choice
    whole: Quotient
    units: list[Unit]
    price: PlanPrice
    refusals: list[Refusal]

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Smaller is better: what fits, then what is quicker, then what offloads less."""
        return not self.price.fits, self.price.weighed, len(self.choice)


@dataclass(eq=False)
class Search:
    """The search of one graph: prices choices, remembers them."""

    index: Index
    backends: Sequence[Backend]
    candidates: Candidates
    fallback: Callable[[Node], str]
    pricer: Pricer
    _priced: dict[Choice, Priced] = field(default_factory=dict)

    def price(self, choice: Iterable[int]) -> Priced:
        """What comes of choosing these candidates, which must not overlap."""
        key = frozenset(choice)
        if key not in self._priced:
            chosen = [self.candidates.units[number] for number in sorted(key)]
            whole, refusals = acyclic(self.index, chosen, self.fallback)
            units = merged(self.index, whole, self.backends)
            homeless = any(not unit.backend for unit in units)
            price = PlanPrice((), False) if homeless else self.pricer.price(units)
            kept = {id(match) for unit in whole.units for match in unit.matches}
            effective = frozenset(
                number for number in key if all(id(match) in kept for match in self.candidates.units[number].matches)
            )
            self._priced[key] = Priced(effective, whole, units, price, refusals)
        return self._priced[key]

    def overlaps(self) -> list[set[int]]:
        """For each candidate, those that share a node with it."""
        holders: dict[int, list[int]] = {}
        for number, unit in enumerate(self.candidates.units):
            for node in unit.owned:
                holders.setdefault(id(node), []).append(number)
        result: list[set[int]] = [set() for _ in self.candidates.units]
        for numbers in holders.values():
            for number in numbers:
                result[number].update(other for other in numbers if other != number)
        return result


def cheapest(search: Search, by_order: Sequence[Unit], demands: Demands) -> tuple[Priced, str]:
    """The best plan that was found, and how: by pricing every one, by a program, or by programs over windows."""
    overlaps = search.overlaps()
    host = search.price(())
    choices = _choices(overlaps, EVERY_PLAN)
    if choices is not None:
        best = min((search.price(choice) for choice in choices), key=lambda priced: priced.rank)
        how = f"by cost, the cheapest of all {len(choices)} combinations"
    else:
        starts = [host, search.price(_same(search, by_order)), search.price(_greedy(search, overlaps))]
        solved, how = _programmed(search)
        best = _refined(search, sorted((solved, *starts), key=lambda priced: priced.rank), overlaps)
    if host.price.fits and best.price.seconds > host.price.seconds * (1 - demands.minimum_benefit):
        return host, f"{how}; offloading gains less than {demands.minimum_benefit:.0%}" if best is not host else how
    return best, how


def greedy(search: Search) -> tuple[Priced, str]:
    """The plan of the candidates that compute quicker than what would compute their nodes otherwise."""
    return search.price(_greedy(search, search.overlaps())), "greedily"


def _choices(overlaps: Sequence[set[int]], limit: int) -> list[Choice] | None:
    """Every set of candidates that do not overlap; None when there are more than `limit`."""
    found: list[Choice] = [frozenset()]
    for number, others in enumerate(overlaps):
        found += [choice | {number} for choice in found if others.isdisjoint(choice)]
        if len(found) > limit:
            return None
    return found


def _same(search: Search, units: Sequence[Unit]) -> list[int]:
    """The candidates that are these units."""
    known = {key_of_unit(unit): number for number, unit in enumerate(search.candidates.units)}
    return [known[key_of_unit(unit)] for unit in units]


def _rest(search: Search) -> list[Unit]:
    return [Unit(search.fallback(node), (node,), (node,)) for node in search.index.graph.nodes]


def _greedy(search: Search, overlaps: Sequence[set[int]]) -> list[int]:
    """Candidates by what each alone saves in computing, as long as they do not overlap."""
    alone = {id(unit.nodes[0]): search.pricer.cost(unit).compute for unit in _rest(search) if unit.backend}
    saved = []
    for number, unit in enumerate(search.candidates.units):
        here = sum(alone.get(id(node), float("inf")) for node in unit.owned)
        saved.append((search.pricer.cost(unit).compute - here, number))
    chosen: set[int] = set()
    for gain, number in sorted(saved):
        if gain < 0 and overlaps[number].isdisjoint(chosen):
            chosen.add(number)
    return sorted(chosen)


def _programmed(search: Search) -> tuple[Priced, str]:
    """The choice of the mixed-integer program, whole or window by window from the inputs to the outputs."""
    units = search.candidates.units
    model = Model(search.pricer, units, _rest(search))
    order = sorted(range(len(units)), key=lambda number: index_of(search.index, units[number]))
    chosen: set[int] = set()
    windows = [order[at : at + WINDOW] for at in range(0, len(order), WINDOW)]
    for window in windows:
        chosen = model.solve(set(window), chosen)
    how = "by cost, a mixed-integer program" if len(windows) == 1 else f"by cost, {len(windows)} programs over windows"
    if model.gap:
        how += f" that stopped within {model.gap:.1%} of its bound"
    return search.price(chosen), f"{how}, refined by trials"


def _refined(search: Search, starts: Sequence[Priced], overlaps: Sequence[set[int]]) -> Priced:
    """The best plan that small changes lead to from each start, the best start first, while there are trials left."""
    trials = max(1, TRIALS // max(1, len(search.index.graph.nodes)))
    best = starts[0]
    for start in starts:
        improved = True
        while improved and trials:
            improved = False
            for choice in _neighbours(search, start, overlaps):
                trials -= 1
                other = search.price(choice)
                if other.rank < start.rank:
                    start, improved = other, True
                    break
                if not trials:
                    break
        best = min(best, start, key=lambda priced: priced.rank)
    return best


def _neighbours(search: Search, best: Priced, overlaps: Sequence[set[int]]) -> Iterator[Choice]:
    """Without one region; with one more candidate; with two more; in place of what overlaps with them."""
    number_of = {id(match): n for n, unit in enumerate(search.candidates.units) for match in unit.matches}
    regions = sorted((unit for unit in best.units if unit.matches), key=lambda unit: -len(unit.nodes))
    for unit in regions:
        yield best.choice - {number_of[id(match)] for match in unit.matches}
    for number in sorted(best.choice):
        yield best.choice - {number}
    others = [number for number in range(len(overlaps)) if number not in best.choice]
    for number in others:
        yield (best.choice - overlaps[number]) | {number}
    for first, second in combinations(others, 2):
        if second not in overlaps[first]:
            yield (best.choice - overlaps[first] - overlaps[second]) | {first, second}
