"""Merges units of one backend into regions, as large as the order of computation allows."""

from __future__ import annotations

from collections.abc import Collection

from heddle.partition.units import Quotient, order


def merge(quotient: Quotient, alone: Collection[str], anywhere: Collection[str]) -> list[list[int]]:
    """The units of each region, the regions in an order in which they can run.

    Units of a backend in `alone` stay by themselves. Units of a backend in `anywhere` share a region even when nothing
    flows between them; units of other backends only when they are connected. The quotient must have no cycle.
    """
    keys = list(range(len(quotient.units)))
    groups = _by_phase(quotient, order(quotient.before, quotient.after, keys), alone, anywhere)
    return _Clusters(quotient, groups, alone).contracted()


def _by_phase(
    quotient: Quotient, sequence: list[int], alone: Collection[str], anywhere: Collection[str]
) -> list[list[int]]:
    """Groups of equal backend and phase, where a phase ends at each change of backend on the way from the inputs.

    An edge never goes to a lower phase, and between two backends it goes to a higher one, so no cycle can arise.
    """
    phase = [0] * len(quotient.units)
    for number in sequence:
        mine = quotient.units[number].backend
        for source in quotient.before[number]:
            phase[number] = max(phase[number], phase[source] + (quotient.units[source].backend != mine))
    members: dict[tuple[str, int], list[int]] = {}
    for number in sequence:
        members.setdefault((quotient.units[number].backend, phase[number]), []).append(number)
    groups: list[list[int]] = []
    for (backend, _), group in members.items():
        if backend in alone:
            groups.extend([number] for number in group)
        elif backend in anywhere:
            groups.append(group)
        else:
            groups.extend(_components(quotient, group))
    return groups


def _components(quotient: Quotient, group: list[int]) -> list[list[int]]:
    """The parts of a group between which nothing flows."""
    inside, seen, parts = set(group), set[int](), []
    for start in group:
        if start in seen:
            continue
        seen.add(start)
        part = [start]
        for number in part:
            for other in sorted((quotient.before[number] | quotient.after[number]) & inside - seen):
                seen.add(other)
                part.append(other)
        parts.append(sorted(part))
    return parts


class _Clusters:
    """Groups of units that are joined along edges while they are kept in a topological order."""

    def __init__(self, quotient: Quotient, groups: list[list[int]], alone: Collection[str]) -> None:
        self.alone = alone
        self.members = [sorted(group) for group in groups]
        self.backend = [quotient.units[group[0]].backend for group in groups]
        cluster = {number: place for place, group in enumerate(groups) for number in group}
        self.before: list[set[int]] = [set() for _ in groups]
        self.after: list[set[int]] = [set() for _ in groups]
        for number, sources in enumerate(quotient.before):
            for source in sources:
                if cluster[source] != cluster[number]:
                    self.before[cluster[number]].add(cluster[source])
                    self.after[cluster[source]].add(cluster[number])
        self.sequence = order(self.before, self.after, [group[0] for group in self.members])
        self.rank = {cluster: place for place, cluster in enumerate(self.sequence)}

    def contracted(self) -> list[list[int]]:
        """Join neighbours of one backend wherever no third cluster must run between them."""
        # A join can take a third cluster out of the way of another one, so look until nothing changes.
        changed = True
        while changed:
            changed = False
            for reader in list(self.sequence):
                changed |= self._absorb(reader)
        final = [place for place in range(len(self.members)) if self.members[place]]
        number = {place: i for i, place in enumerate(final)}
        before = [{number[other] for other in self.before[place]} for place in final]
        after = [{number[other] for other in self.after[place]} for place in final]
        sequence = order(before, after, [self.members[place][0] for place in final])
        return [self.members[final[i]] for i in sequence]

    def _absorb(self, reader: int) -> bool:
        """Join everything into a cluster that it reads and that may be joined; True when anything was."""
        changed, joined = False, self.backend[reader] not in self.alone
        while joined:
            joined = False
            for source in sorted(self.before[reader], key=lambda other: -self.rank[other]):
                if self.backend[source] == self.backend[reader] and self._join(source, reader):
                    changed = joined = True
                    break
        return changed

    def _join(self, source: int, reader: int) -> bool:
        """Put `source` into `reader` unless another way leads from the one to the other."""
        low, high = self.rank[source], self.rank[reader]
        reached, todo = {source}, [n for n in self.after[source] if n != reader and self.rank[n] < high]
        while todo:
            place = todo.pop()
            if place in reached:
                continue
            reached.add(place)
            if reader in self.after[place]:
                return False
            todo.extend(n for n in self.after[place] if self.rank[n] < high)
        self._reorder(low, high, source, reader, reached)
        for neighbour in self.before[source]:
            self.after[neighbour].discard(source)
            self.after[neighbour].add(reader)
        for neighbour in self.after[source]:
            self.before[neighbour].discard(source)
            if neighbour != reader:
                self.before[neighbour].add(reader)
        self.before[reader] |= self.before[source]
        self.before[reader].discard(source)
        self.after[reader] |= self.after[source] - {reader}
        self.before[source], self.after[source] = set(), set()
        self.members[reader] = sorted(self.members[reader] + self.members[source])
        self.members[source] = []
        return True

    def _reorder(self, low: int, high: int, source: int, reader: int, reached: set[int]) -> None:
        """Between the two: first what does not come after `source`, then the joined cluster, then what does."""
        between = self.sequence[low + 1 : high]
        first = [place for place in between if place not in reached]
        last = [place for place in between if place in reached]
        self.sequence[low : high + 1] = [source, *first, reader, *last]
        for rank in range(low, high + 1):
            self.rank[self.sequence[rank]] = rank
