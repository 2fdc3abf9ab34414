"""Finds patterns all over a graph: what matches, and for every node that does not, the nearest reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from heddle.core.ir import Graph, Node
from heddle.core.pattern.conditions import Failure
from heddle.core.pattern.index import Index
from heddle.core.pattern.pattern import Match, Pattern, Refusal, describe
from heddle.core.pattern.search import Miss, Search, anchor_ops, ops_of
from heddle.core.pattern.trace import EITHER, OPTIONAL, REPEAT


@dataclass(eq=False)
class Findings:
    """Matches that share no node, and for the other nodes that some pattern names, the nearest refusal by node id."""

    matches: list[Match] = field(default_factory=list)
    refusals: dict[int, Refusal] = field(default_factory=dict)
    ranks: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)

    def refuse(self, node: Node, refusal: Refusal, rank: tuple[int, int]) -> None:
        if id(node) not in self.ranks or rank > self.ranks[id(node)]:
            self.ranks[id(node)] = rank
            self.refusals[id(node)] = refusal


def match_at(index: Index, pattern: Pattern, node: Node, taken: Collection[int] = ()) -> Match | Refusal:
    """The match whose first output `node` binds, or why there is none. Nodes with ids in `taken` are not matched."""
    search = Search(index, pattern, taken)
    for value in node.results:
        match = search.at(value)
        if match is not None:
            return match
    return Refusal(pattern, node, search.miss.failures)


def find(graph: Graph | Index, patterns: Sequence[Pattern], taken: Collection[int] = ()) -> Findings:
    """Match every pattern wherever it fits: earlier patterns first, from the outputs to the inputs, no node twice.

    Nodes with ids in `taken` belong to others. Free operators (`FREE`) may be in several matches.
    """
    index = graph if isinstance(graph, Index) else Index(graph)
    found = Findings()
    gone = set(taken)
    for pattern in patterns:
        _find_one(index, pattern, gone, found)
    covered = {id(node) for match in found.matches for node in match.nodes}
    for pattern in patterns:
        _refuse_inner(index, pattern, gone | covered, found)
    for node_id in covered:
        found.refusals.pop(node_id, None)
    return found


def _find_one(index: Index, pattern: Pattern, gone: set[int], found: Findings) -> None:
    ops = sorted(anchor_ops(pattern.body, pattern.body.outputs[0]))
    anchors = [node for op in ops for node in index.by_op.get(op, ())]
    anchors.sort(key=lambda node: index.position[id(node)], reverse=True)
    for node in anchors:
        if id(node) in gone:
            continue
        match, miss = _attempt(index, pattern, node, gone)
        if match is not None:
            found.matches.append(match)
            gone.update(id(owned) for owned in owned_nodes(index, match))
            continue
        failures = miss.failures
        for near in {id(n): n for n in (node, *miss.nodes)}.values():
            found.refuse(near, Refusal(pattern, near, failures), miss.rank)


def _attempt(index: Index, pattern: Pattern, node: Node, gone: set[int]) -> tuple[Match | None, Miss]:
    """The match whose first output a node binds, or the closest that came; what is known already is not sought again.

    What is found depends on those of the nodes that are gone that the search came to, and on no others.
    """
    known = index.attempts.get((pattern, id(node)))
    if known is not None:
        asked, match, miss = known
        if gone.isdisjoint(asked):
            return match, miss
    search = Search(index, pattern, gone)
    match = next(filter(None, map(search.at, node.results)), None)
    if gone.isdisjoint(search.asked):
        index.attempts[pattern, id(node)] = search.asked, match, search.miss
    return match, search.miss


def owned_nodes(index: Index, match: Match) -> list[Node]:
    """The nodes of a match that nobody else may compute: all but the free ones that others read too."""
    inside = {id(node) for node in match.nodes}
    free = index.free_cone(match.nodes)
    outputs = set(match.outputs)
    shared: set[int] = set()
    for node in reversed(match.nodes):
        read = [r for value in node.results for r in index.graph.consumers.get(value, ())]
        wanted = any(id(r) not in inside or id(r) in shared for r in read)
        if id(node) in free and (wanted or not index.outputs.isdisjoint(node.results)):
            if not outputs.isdisjoint(node.results):
                continue
            shared.add(id(node))
    return [node for node in match.nodes if id(node) not in shared]


def _refuse_inner(index: Index, pattern: Pattern, gone: set[int], found: Findings) -> None:
    """The reason of nodes that a pattern has inside, but that no attempt reached: nothing it needs comes after them."""
    for op, followers in inner_ops(pattern).items():
        for node in index.by_op.get(op, ()):
            if id(node) in gone or id(node) in found.ranks:
                continue
            readers = [r for value in node.results for r in index.graph.consumers.get(value, ())]
            actual = " and ".join(dict.fromkeys(describe(reader) for reader in readers)) or "an output of the model"
            failure = Failure(f"result of {describe(node)}", actual, " or ".join(followers), verb=" goes to ")
            found.refuse(node, Refusal(pattern, node, (failure,)), (-1, 0))


def inner_ops(pattern: Pattern) -> dict[str, list[str]]:
    """The operators inside a pattern that bind no output of it, and those that follow each of them there."""
    followers: dict[str, dict[str, None]] = {}
    for graph in pattern.body.walk():
        for node in graph.nodes:
            if node.op in (EITHER, OPTIONAL, REPEAT):
                continue
            for operand in node.operands:
                for op in sorted(anchor_ops(graph, operand)):
                    followers.setdefault(op, {}).update(dict.fromkeys(sorted(ops_of(node))))
    return {op: list(after) for op, after in followers.items()}
