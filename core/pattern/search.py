"""The matcher: one pattern against one place of a graph, by backtracking over a trail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import permutations
from typing import Any

from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Node, Value
from heddle.core.ops import OPERATORS
from heddle.core.pattern.conditions import Condition, Failure
from heddle.core.pattern.index import FREE, Index
from heddle.core.pattern.pattern import Match, Pattern, describe
from heddle.core.pattern.trace import ANY_OF, EITHER, OPTIONAL, REPEAT

COMMUTATIVE = frozenset(
    {"Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Max", "Mean", "Min", "Mul", "Or", "Sum", "Xor"}
)


_ANSWERS = "it returns the reason of a refusal, or None where it takes the match"


@dataclass(frozen=True, eq=False)
class Scope:
    """A body of the pattern while it is matched: the ending of its names, and where its outer values are found."""

    body: Graph
    suffix: str = ""
    outer: Mapping[Value, tuple[Scope, Value]] = field(default_factory=dict)


Place = tuple[Node, int] | None
"""Where a value was found: as an operand of a node, or as the result that the search began at."""


@dataclass(frozen=True)
class Miss:
    """The closest that a search came: how far, which nodes it had, and what was in the way, told when it is asked."""

    rank: tuple[int, int] = (-1, 0)
    nodes: tuple[Node, ...] = ()
    tell: Callable[[], tuple[Failure, ...]] = tuple

    @property
    def failures(self) -> tuple[Failure, ...]:
        return self.tell()


class Search:
    """One attempt to find a pattern whose first output is bound by a given node."""

    def __init__(self, index: Index, pattern: Pattern, taken: Collection[int]) -> None:
        self.index, self.pattern, self.taken = index, pattern, taken
        self.bindings: dict[str, Value] = {}
        self.labels: dict[str, Node] = {}
        self.choices: dict[str, int] = {}
        self.nodes: dict[int, Node] = {}
        self.trail: list[tuple[dict[Any, Any], Any]] = []
        self.asked: set[int] = set()
        """The nodes that were asked for in `taken`: the result depends on no others of it."""
        self.miss = Miss()
        self._causes: list[Callable[[], Failure]] = []

    def at(self, anchor: Value) -> Match | None:
        """The first match whose first output is `anchor`, or None; `miss` then says why."""
        scope = Scope(self.pattern.body)
        first, *others = self.pattern.body.outputs
        for _ in self._value(scope, first, anchor, None):
            for _ in self._outputs(scope, others):
                match = self._accepted()
                if match is not None:
                    return match
        return None

    def _outputs(self, scope: Scope, others: list[Value]) -> Iterator[None]:
        if not others:
            yield
            return
        first, *rest = others
        if first.name in self.bindings:
            yield from self._outputs(scope, rest)
            return
        for candidate in self._reachable(first):
            for _ in self._value(scope, first, candidate, None):
                yield from self._outputs(scope, rest)

    def _reachable(self, output: Value) -> list[Value]:
        """Values that could be this output: downstream of what is bound, no further than the pattern is deep."""
        wanted = anchor_ops(self.pattern.body, output)
        seen = dict.fromkeys(value for value in self.bindings.values() if value not in self.index.graph.constants)
        front = list(seen)
        for _ in range(count(self.pattern.body)):
            nodes = {id(n): n for value in front for n in self.index.graph.consumers.get(value, ())}
            front = [value for node in nodes.values() for value in node.results if value not in seen]
            seen.update(dict.fromkeys(front))
        producers = self.index.graph.producers
        return [value for value in seen if value in producers and producers[value].op in wanted]

    # -- the trail -----------------------------------------------------------------------------------------------

    def _put(self, where: dict[Any, Any], key: Any, what: Any) -> None:
        if key not in where:
            where[key] = what
            self.trail.append((where, key))

    def _undo(self, mark: int) -> None:
        while len(self.trail) > mark:
            where, key = self.trail.pop()
            del where[key]

    def _missed(self, cause: Callable[[], Failure]) -> None:
        """Remember why the search went no further; a cause is worked out only if nothing came closer."""
        rank = (0, len(self.nodes))
        if rank > self.miss.rank:
            self._causes = [cause]
            self.miss = Miss(rank, tuple(self.nodes.values()), partial(_told, self._causes))
        elif rank == self.miss.rank:
            self._causes.append(cause)

    # -- matching ------------------------------------------------------------------------------------------------

    def _value(self, scope: Scope, wanted: Value, found: Value, place: Place) -> Iterator[None]:
        """Each way in which the pattern's value `wanted` can be the graph's value `found`."""
        if wanted in scope.outer:
            outer, value = scope.outer[wanted]
            yield from self._value(outer, value, found, place)
            return
        key = wanted.name + scope.suffix
        if key in self.bindings:
            known = self.bindings[key]
            if known == found:
                yield
            else:
                self._missed(lambda: Failure(_text(place), str(found), str(known), verb=" is "))
            return
        node = scope.body.producers.get(wanted)
        mark = len(self.trail)
        if node is None:
            if wanted.name in self.pattern.constants and found not in self.index.graph.constants:
                actual, fix = f"{found}, computed when the model runs", f"make {found} a constant (an initializer)"
                self._missed(lambda: Failure(_text(place), actual, "a constant", fix, " is "))
                return
            self._put(self.bindings, key, found)
            yield
        elif node.op == EITHER:
            for number, alternative in enumerate(node.inputs):
                assert alternative is not None
                self._put(self.bindings, key, found)
                self._put(self.choices, key, number)
                yield from self._value(scope, alternative, found, place)
                self._undo(mark)
        elif node.op == OPTIONAL:
            for there, (inside, value) in enumerate(_optional(scope, node)):
                self._put(self.bindings, key, found)
                self._put(self.choices, key, 1 - there)
                yield from self._value(inside, value, found, place)
                self._undo(mark)
        elif node.op == REPEAT:
            yield from self._repeat(scope, node, key, found, place)
        else:
            yield from self._node(scope, node, wanted, found, place)
        self._undo(mark)

    def _repeat(self, scope: Scope, node: Node, key: str, found: Value, place: Place) -> Iterator[None]:
        """Each number of repetitions, the longest first. Between two of them, a value has no other reader."""
        body: Graph = node.attrs["body"]
        least, most = node.attrs["least"], node.attrs.get("most")
        hole, *captured = body.inputs
        start = len(self.trail)
        self._put(self.bindings, key, found)
        reached, marks = [found], [len(self.trail)]
        while most is None or len(reached) <= most:
            inside = Scope(body, f"{scope.suffix}[-{len(reached)}]", _captures(scope, node, captured))
            if len(reached) > 1 and self._escapes(reached[-1]):
                break
            if next(self._value(inside, body.outputs[0], reached[-1], place), _NOTHING) is _NOTHING:
                break
            reached.append(self.bindings[hole.name + inside.suffix])
            marks.append(len(self.trail))
        source = node.inputs[0]
        assert source is not None
        while len(reached) > least:
            self._undo(marks[-1])
            self._put(self.choices, key, len(reached) - 1)
            yield from self._value(scope, source, reached[-1], place)
            reached.pop()
            marks.pop()
        self._undo(start)

    def _escapes(self, link: Value) -> bool:
        return link in self.index.outputs or any(
            id(reader) not in self.nodes for reader in self.index.graph.consumers.get(link, ())
        )

    def _node(self, scope: Scope, wanted: Node, result: Value, found: Value, place: Place) -> Iterator[None]:
        node = self.index.graph.producers.get(found)
        if node is None:
            kind = "a constant" if found in self.index.graph.constants else "an input"
            self._missed(lambda: Failure(_text(place), f"{found}, {kind}", _listed(wanted), verb=" is "))
            return
        if node.op not in ops_of(wanted):
            self._missed(lambda: Failure(_text(place), describe(node), _listed(wanted), verb=" is "))
            return
        number, output = wanted.outputs.index(result), node.outputs.index(found)
        if output != number:
            self._missed(lambda: Failure(_text(place), f"output {output}", f"output {number}", verb=" is "))
            return
        if any(value is not None for value in node.outputs[len(wanted.outputs) :]):
            few = str(len(wanted.outputs))
            self._missed(lambda: Failure(f"outputs of {describe(node)}", str(len(node.results)), few))
            return
        if id(node) in self.nodes and node.op not in FREE:
            there = f"{describe(node)}, which is another part of the match"
            self._missed(lambda: Failure(_text(place), there, "a node of its own", verb=" is "))
            return
        self.asked.add(id(node))
        if id(node) in self.taken:
            self._missed(lambda: Failure(describe(node), "taken by another match", "", verb=" is "))
            return
        mark = len(self.trail)
        self._put(self.labels, _first(wanted).name + scope.suffix, node)
        for mine, theirs in zip(wanted.outputs, node.outputs, strict=False):
            if mine is not None and theirs is not None:
                self._put(self.bindings, mine.name + scope.suffix, theirs)
        self._put(self.nodes, id(node), node)
        yield from self._operands(scope, wanted, node)
        self._undo(mark)

    def _operands(self, scope: Scope, wanted: Node, node: Node) -> Iterator[None]:
        mine, theirs = list(wanted.inputs), list(node.inputs)
        if mine and mine[-1] is not None and mine[-1].name in self.pattern.several:
            rest = mine.pop()
            assert rest is not None
            mark = len(self.trail)
            for number, value in enumerate(theirs[len(mine) :]):
                if value is not None:
                    self._put(self.bindings, f"{rest.name}{scope.suffix}[{number}]", value)
            yield from self._all(scope, mine, theirs[: len(mine)], node, 0)
            self._undo(mark)
            return
        while len(mine) < len(theirs):
            mine.append(None)
        while len(theirs) < len(mine):
            theirs.append(None)
        orders = permutations(mine) if node.op in COMMUTATIVE else (mine,)
        for order in orders:
            yield from self._all(scope, order, theirs, node, 0)

    def _all(
        self, scope: Scope, mine: Sequence[Value | None], theirs: Sequence[Value | None], node: Node, at: int
    ) -> Iterator[None]:
        if at == len(mine):
            yield
            return
        wanted, found, place = mine[at], theirs[at], (node, at)
        if wanted is None or found is None:
            absent_allowed = wanted is None or wanted.name in self.pattern.absentable
            if found is None and absent_allowed:
                yield from self._all(scope, mine, theirs, node, at + 1)
            else:
                actual, takes = ("absent", "one") if found is None else (str(found), "none")
                self._missed(lambda: Failure(_text(place), actual, takes, verb=" is "))
            return
        for _ in self._value(scope, wanted, found, place):
            yield from self._all(scope, mine, theirs, node, at + 1)

    # -- acceptance ----------------------------------------------------------------------------------------------

    def _accepted(self) -> Match | None:
        """The match that is bound now, when nothing escapes and every condition holds."""
        nodes = self.index.ordered(self.nodes.values())
        lengths = self._lengths()
        bindings, labels, choices = (_forward(names, lengths) for names in (self.bindings, self.labels, self.choices))
        match = Match(self.pattern, self.index.graph, nodes, bindings, labels, choices)
        failures = [*self._escaping(match), *self._surrounding(match), *conditions_failing(match)]
        if not failures and self.pattern.where is not None:
            reason = self._asked(self.pattern.where, match)
            failures = [] if reason is None else [Failure(reason, "", "", verb="")]
        if not failures:
            return match
        rank = (1, -len(failures))
        if rank > self.miss.rank:
            self.miss = Miss(rank, nodes, partial(tuple, failures))
        return None

    def _asked(self, where: Callable[[Match], str | None], match: Match) -> str | None:
        """What a pattern's own predicate says; GraphError that names the pattern and the node when it says nothing."""
        place = f"pattern {self.pattern.name!r}: asked about {describe(match.nodes[-1])}, its `where`"
        try:
            reason = where(match)
        except Exception as error:
            raise GraphError(f"{place} failed with {type(error).__name__}: {error}; {_ANSWERS}") from error
        if reason is not None and not isinstance(reason, str):
            raise GraphError(f"{place} returned {reason!r}; {_ANSWERS}")
        return reason

    def _lengths(self) -> dict[str, int]:
        """How often the repetition around each name was found."""
        return {
            name: self.choices[result]
            for result, names in self.pattern.repeated.items()
            if result in self.choices
            for name in names
        }

    def _escaping(self, match: Match) -> Iterator[Failure]:
        inside = set(self.nodes)
        free = self.index.free_cone(match.nodes)
        outputs = set(match.outputs)
        for node in match.nodes:
            for value in node.results:
                if value in outputs or id(node) in free:
                    continue
                outside = self.index.readers_outside(value, inside)
                if outside or value in self.index.outputs:
                    reader = f"read by {describe(outside[0])} too" if outside else "an output of the model too"
                    fix = f"give the pattern {value} as an output, or compute it twice in the model"
                    yield Failure(f"interior value {value}", reader, "a value that nobody else reads", fix, verb=" is ")

    def _surrounding(self, match: Match) -> Iterator[Failure]:
        """What is computed outside from one part of the match and feeds another, as only several outputs allow."""
        if len(match.outputs) == 1:
            return
        graph, position = self.index.graph, self.index.position
        last = position[id(match.nodes[-1])]
        todo = [r for node in match.nodes for value in node.results for r in self._later(value, last)]
        seen: set[int] = set()
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            for value in node.results:
                back = [reader for reader in graph.consumers.get(value, ()) if id(reader) in self.nodes]
                if back:
                    yield Failure(
                        describe(back[0]),
                        f"computed from {describe(node)}, which reads the match",
                        "parts with nothing between them",
                        "let the pattern cover what lies between",
                        verb=" is ",
                    )
                    return
                todo.extend(self._later(value, last))

    def _later(self, value: Value, last: int) -> list[Node]:
        """The readers of a value outside of the match that come before its last node."""
        readers = self.index.readers_outside(value, set(self.nodes))
        return [reader for reader in readers if self.index.position[id(reader)] < last]


_NOTHING = object()


def conditions_failing(match: Match) -> Iterator[Failure]:
    """Each condition of a match's pattern that does not hold, in every repetition that it speaks of."""
    for condition in match.pattern.conditions:
        for ending in _endings(condition, match):
            failure = condition.check(_Ended(match, ending) if ending else match)
            if failure is not None:
                yield failure


def _endings(condition: Condition, match: Match) -> list[str]:
    """The repetitions that bind a name of the condition: `[0]`, `[1]`, ...; only "" outside of them."""
    found: dict[str, None] = {}
    for name in condition.names:
        if name in match.bindings:
            continue
        number = 0
        while f"{name}[{number}]" in match.bindings:
            found[f"[{number}]"] = None
            number += 1
    return list(found) or [""]


@dataclass(frozen=True)
class _Ended:
    """A match seen from inside one of its repetitions."""

    match: Match
    ending: str

    def _name(self, name: str) -> str:
        return name + self.ending if name + self.ending in self.match.bindings else name

    def value(self, name: str) -> Value | None:
        return self.match.value(self._name(name))

    def node(self, name: str) -> Node | None:
        return self.match.node(self._name(name))

    def array(self, name: str) -> Any:
        return self.match.array(self._name(name))

    def times(self, name: str) -> int | None:
        return self.match.times(self._name(name))


def _forward(names: dict[str, Any], lengths: dict[str, int]) -> dict[str, Any]:
    """Repetitions are found from the output's side as `[-1]`, `[-2]`, ...; count them from the input's side instead."""
    if not lengths:
        return dict(names)
    renamed = {}
    for name, what in names.items():
        stem, back, number = name.partition("[-")
        renamed[f"{stem}[{lengths[stem] - int(number[:-1])}]" if back else name] = what
    return renamed


def _optional(scope: Scope, node: Node) -> tuple[tuple[Scope, Value], tuple[Scope, Value]]:
    body: Graph = node.attrs["body"]
    source = node.inputs[0]
    assert source is not None
    hole, *captured = body.inputs
    inside = Scope(body, scope.suffix, {hole: (scope, source), **_captures(scope, node, captured)})
    return (inside, body.outputs[0]), (scope, source)


def _captures(scope: Scope, node: Node, inputs: list[Value]) -> dict[Value, tuple[Scope, Value]]:
    """Which inputs of a body are values of the scope around it; the others are free operands of its own."""
    return {value: (scope, value) for value in inputs if value in node.inputs}


def _first(node: Node) -> Value:
    first = node.outputs[0]
    assert first is not None
    return first


def _listed(node: Node) -> str:
    named = node.attrs.get("of", (node.op,))
    return " or ".join(f"any {name} operator" if name in ("unary", "binary") else name for name in named)


@cache
def _elementwise(operands: int) -> frozenset[str]:
    return frozenset(
        name
        for name, definition in OPERATORS.items()
        if definition.scalar is not None and definition.required == operands and "axis" not in definition.attributes
    )


def ops_of(node: Node) -> frozenset[str]:
    """The operators that a node of a pattern may be."""
    if node.op != ANY_OF:
        return frozenset({node.op})
    kinds = {"unary": 1, "binary": 2}
    return frozenset().union(*(_elementwise(kinds[n]) if n in kinds else {n} for n in node.attrs["of"]))


def anchor_ops(body: Graph, value: Value) -> frozenset[str]:
    """The operators whose node can bind a pattern's value; empty where the value is a free operand."""
    node = body.producers.get(value)
    if node is None:
        return frozenset()
    if node.op == EITHER:
        return frozenset().union(*(anchor_ops(body, operand) for operand in node.operands))
    if node.op in (OPTIONAL, REPEAT):
        inside: Graph = node.attrs["body"]
        ops = anchor_ops(inside, inside.outputs[0])
        passes = node.op == OPTIONAL or node.attrs["least"] == 0
        return ops | anchor_ops(body, node.operands[0]) if passes else ops
    return ops_of(node)


def count(body: Graph) -> int:
    """The nodes of a pattern's body and of the bodies inside."""
    return sum(len(graph.nodes) for graph in body.walk())


@cache
def _names_of(op: str) -> tuple[str, ...]:
    definition = OPERATORS.get(op)
    return () if definition is None else definition.operands


def _text(place: Place) -> str:
    """A place as failures name it."""
    if place is None:
        return ""
    node, at = place
    names = _names_of(node.op)
    return f"operand {names[at] if at < len(names) else at} of {describe(node)}"


def _told(causes: Sequence[Callable[[], Failure]]) -> tuple[Failure, ...]:
    """The first of the causes, with what the others would take in the same place of the same node."""
    known, *others = (cause() for cause in causes)
    for other in others:
        if (known.subject, known.actual) == (other.subject, other.actual) and other.takes not in known.takes:
            known = replace(known, takes=f"{known.takes} or {other.takes}")
    return (known,)
