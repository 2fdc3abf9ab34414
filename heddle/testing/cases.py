"""Cases of a pattern: small graphs made from its conditions, with types, shapes, attributes, constants and inputs.

A case lies within all conditions, or just beyond one of them: then the backend must leave it, or compute it rightly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Node, TensorType, Value, dtype_name, dtype_named
from heddle.core.ops import OPERATORS, REQUIRED, infer_node
from heddle.core.pattern import Pattern, Quantity, find
from heddle.testing.instance import Instance, Part, Pick, instance
from heddle.testing.limits import Constancy, Demand, Limit, demand_of
from heddle.testing.shapes import RULES, TEXTS, Shape, elementwise
from heddle.testing.values import Fill, constant, fill

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
DTYPES = ("float32",) * 6 + ("float64", "int32", "int64", "float16", "uint8", "bool")
FILLS: tuple[Fill, ...] = ("normal", "normal", "zeros", "ones", "limits", "special", "denormal")
_SAME_SHAPE = frozenset({"DequantizeLinear", "QuantizeLinear", "Cast", "CastLike", "Identity", "Dropout", "Clip"})


class ImpossibleError(Exception):
    """These choices make no case: the operators' own rules refuse the shapes or types."""


@dataclass(frozen=True, eq=False)
class Case:
    """One graph to offload, how its inputs are filled, and the seed that they come from; `beyond` is what it breaks."""

    pattern: Pattern
    graph: Graph
    fill: Fill = "normal"
    seed: int = 0
    beyond: Limit | None = None

    def inputs(self, call: int = 0) -> list[NDArray[Any]]:
        """The arrays of one call, other ones for each call."""
        random = np.random.default_rng((self.seed, call))
        rounds = any(node.op in ("QuantizeLinear", "Cast") for node in self.graph.nodes)
        how: Fill = "normal" if rounds and self.fill == "special" else self.fill
        return [fill(value.tensor, how, random) for value in self.graph.inputs]

    def __str__(self) -> str:
        return f"{self.graph}\ninputs: {self.fill}, seed {self.seed}"


def draw_case(pattern: Pattern, pick: Pick[Any], seed: int = 0, beyond: Limit | None = None) -> Case:
    """A case by these choices, within the pattern's limits or beyond one; ImpossibleError when they make none."""
    try:
        graph = _Drawing(pattern, instance(pattern, pick), pick, np.random.default_rng(seed), beyond).graph()
        within = any(len(match.nodes) == len(graph.nodes) for match in find(graph, (pattern,)).matches)
    except (GraphError, ValueError, IndexError, TypeError, ZeroDivisionError, KeyError, AssertionError) as error:
        raise ImpossibleError(str(error)) from error
    if within and beyond is not None:
        raise ImpossibleError(f"the pattern takes it, though it should break {beyond}")
    if not within and beyond is None:
        raise ImpossibleError(_why(pattern, graph))
    return Case(pattern, graph, pick(FILLS), seed, beyond)


def _why(pattern: Pattern, graph: Graph) -> str:
    refusals = find(graph, (pattern,)).refusals
    return "; ".join(refusal.reason for refusal in refusals.values()) or "the pattern takes a part of it"


@dataclass(eq=False)
class _Drawing:
    """A case under construction."""

    pattern: Pattern
    instance: Instance
    pick: Pick[Any]
    random: np.random.Generator
    beyond: Limit | None = None
    shapes: dict[str, Shape] = field(default_factory=dict)
    held: dict[str, Sequence[float]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.makers = {name: part for part in self.instance.parts for name in part.outputs}
        self.dtype = self.pick(DTYPES)

    def graph(self) -> Graph:
        """All parts with shapes, then all with types."""
        for part in self.instance.parts:
            if not (_same_shape(part) and self.root(part.inputs[0]) in self.instance.leaves):
                self._shape(part)
        for part in self.instance.parts:
            if id(part) not in self.nodes:
                self._shape(part)
        leaves = [self.values[name] for name in self.instance.leaves if name in self.values]
        nodes = [self.nodes[id(part)] for part in self.instance.parts]
        inputs = [value for value in leaves if value.name not in self.constants]
        if not inputs:
            raise ImpossibleError("nothing is computed from inputs")
        made = Graph(
            tuple(inputs),
            tuple(nodes),
            tuple(self.values[name] for name in dict.fromkeys(self.instance.outputs)),
            {value: self.constants[value.name] for value in leaves if value.name in self.constants},
            "case",
        )
        return self._aliased(made)

    def _aliased(self, graph: Graph) -> Graph:
        """Sometimes two inputs of one type are one and the same."""
        first = graph.inputs[0]
        twins = [value for value in graph.inputs[1:] if value.type == first.type]
        if not twins or not self.pick((False,) * 5 + (True,)):
            return graph
        twin = twins[0]
        nodes = tuple(
            replace(node, inputs=tuple(first if value == twin else value for value in node.inputs))
            for node in graph.nodes
        )
        return replace(graph, inputs=tuple(value for value in graph.inputs if value != twin), nodes=nodes)

    # -- shapes --------------------------------------------------------------------------------------------------

    def root(self, name: str | None) -> str | None:
        """The value that has the shape of this one before operators that keep shapes."""
        while name in self.makers and _same_shape(self.makers[name]):
            name = self.makers[name].inputs[0]
        return name

    def known(self, name: str | None) -> Shape | None:
        root = self.root(name)
        if root is None:
            return None
        if root in self.values:
            return self.values[root].shape
        return self.shapes.get(root)

    def settle(self, name: str, shape: Shape) -> Shape:
        """Give an open value a shape, bent to the pattern's conditions on it."""
        known = self.known(name)
        if known is not None:
            return known
        root = self.root(name)
        assert root is not None
        self.shapes[root] = self._bent(root, shape)
        return self.shapes[root]

    def _bent(self, name: str, shape: Shape) -> Shape:
        bent = list(shape)
        for axis in range(-len(shape), len(shape)):
            demands = self.demands("dim", name, axis)
            if demands:
                bent[axis] = self.choose((bent[axis], *SIZES), demands)
        for demand in self.demands("shape", name):
            if not demand.holds(tuple(bent)):
                samples = [sample for sample in demand.samples() if isinstance(sample, tuple)]
                return samples[0] if samples else tuple(bent)
        return tuple(bent)

    def free(self, name: str, ranks: Sequence[int]) -> Shape:
        known = self.known(name)
        if known is not None:
            return known
        root = self.root(name)
        assert root is not None
        rank = self.choose(tuple(ranks), self.demands("rank", root))
        shape = [self.pick(SIZES) for _ in range(rank)]
        if rank > 2 and all(node.op not in ("MatMul", "Gemm") for node in self.pattern.body.nodes):
            shape[2:] = [self.pick((5, 3, 4, 7, 8, 1, 9, 12)) for _ in shape[2:]]
            shape[0] = self.pick((1, 1, 2, 3))
        if rank and self.pick((False,) * 23 + (True,)):
            shape[self.pick(range(rank))] = 0
        return self.settle(name, tuple(shape))

    def demands(self, kind: str, of: str, key: Any = None) -> list[Demand]:
        """What is demanded of a quantity of one value, as far as the arguments are known by now."""
        wanted = self.instance.leaves.get(of, of)
        found = []
        for condition in self.pattern.conditions:
            term = condition.term
            if isinstance(term, Quantity) and (term.kind, term.of, term.key) == (kind, wanted, key):
                demand = demand_of(condition, self.known, outside=condition is self.beyond)
                if demand is not None:
                    found.append(demand)
        return found

    def choose(self, options: Sequence[Any], demands: Sequence[Demand]) -> Any:
        """One of the options that fulfil the demands, else one of what these name themselves."""
        if not demands:
            return self.pick(options)
        fulfilled = [option for option in options if option is not None and all(d.holds(option) for d in demands)]
        if not fulfilled:
            samples = demands[0].samples()
            model = next((option for option in options if isinstance(option, tuple)), None)
            if demands[0].each and model is not None:
                samples = tuple((sample,) * len(model) for sample in samples)
            fulfilled = [sample for sample in samples if all(d.holds(sample) for d in demands)]
        if not fulfilled:
            raise ImpossibleError(f"nothing is {' and '.join(map(str, demands))}")
        return self.pick(fulfilled)

    # -- one operator --------------------------------------------------------------------------------------------

    def _shape(self, part: Part) -> None:
        rule = RULES.get(part.op, elementwise)
        part.attrs = self._attributes(part, rule(_View(self, part)))
        self._type(part)

    def _attributes(self, part: Part, ruled: Mapping[str, Any]) -> dict[str, Any]:
        definition = OPERATORS[part.op]
        attrs = {name: value for name, value in ruled.items() if name in definition.attributes and value is not None}
        for name, default in definition.attributes.items():
            if name in ruled:
                continue
            demands = self.demands("attr", part.label, name)
            if demands:
                known = () if default is REQUIRED else (default,)
                attrs[name] = self.choose((*known, *TEXTS.get(name, ())), demands)
            elif isinstance(default, float):
                attrs[name] = self.pick((default, 0.5, 1.0, 0.0))
        return attrs

    def _type(self, part: Part) -> None:
        """Make a node of the part, its open operands first, and its results' types by the operator's rule."""
        for number, name in enumerate(part.inputs):
            if name is None or name in self.values:
                continue
            maker = self.makers.get(name)
            if maker is not None:
                self._shape(maker)
            else:
                self._leaf(part, number, name)
        inputs = tuple(None if name is None else self.values[name] for name in part.inputs)
        provisional = tuple(Value(name, TensorType(np.dtype(np.float32), ())) for name in part.outputs)
        node = Node(part.op, inputs, provisional, part.attrs, part.label)
        known = {value: self.constants[value.name] for value in node.operands if value.name in self.constants}
        types = infer_node(node, known)
        outputs = tuple(Value(name, type) for name, type in zip(part.outputs, types, strict=False))
        for value in outputs:
            if not isinstance(value.type, TensorType) or value.type.shape is None:
                raise ImpossibleError(f"{value} has no known shape")
            self.values[value.name] = value
        self.nodes[id(part)] = replace(node, outputs=outputs)

    def _leaf(self, part: Part, number: int, name: str) -> None:
        role = OPERATORS[part.op].operands[min(number, len(OPERATORS[part.op].operands) - 1)]
        shape = self.known(name)
        if shape is None:
            shape = self.settle(name, _small(role))
        named = self.instance.leaves[name]
        demands = self.demands("dtype", name)
        dtypes = self._dtypes(part, role)
        dtype = self.choose(dtypes if all(d.holds(dtypes[0]) for d in demands) else (*dtypes, *DTYPES), demands)
        value = Value(name, TensorType(dtype_named(dtype), shape))
        self.values[name] = value
        wanted = self.demands("value", name)
        fixed = named in self.pattern.constants or role in ("axes", "shape", "axis", "pads", "repeats", "split")
        if isinstance(self.beyond, Constancy) and self.beyond.of == named:
            return
        if wanted:
            samples = wanted[0].samples()
            if not samples:
                raise ImpossibleError(f"nothing is known to be {wanted[0]}")
            given = self.pick(samples)
            self.constants[name] = np.full(shape if shape else np.shape(given), given, value.dtype)
        elif name in self.held:
            self.constants[name] = np.array(self.held[name], value.dtype)
        elif fixed or (self._place(part, number) and self.pick((True, True, False))):
            self.constants[name] = constant(value.tensor, role, self._rank(part), self.random)

    def _rank(self, part: Part) -> int:
        shape = self.known(part.inputs[0])
        return 1 if shape is None else max(1, len(shape))

    def _dtypes(self, part: Part, role: str) -> Sequence[str]:
        if "scale" in role and part.op != "BatchNormalization" and part.op not in ("LayerNormalization",):
            return ("float32",)
        if "zero_point" in role:
            partner = self.values.get(part.inputs[0] or "")
            if part.op == "DequantizeLinear" and partner is not None:
                return (dtype_name(partner.dtype),)
            return ("uint8", "int8")
        if part.op == "DequantizeLinear":
            return ("int32",) if self._is_bias(part) else ("uint8", "int8")
        if part.op.startswith("QLinear"):
            return ("int32",) if role.lower() in ("b", "bias") else ("uint8", "int8")
        if role in ("axes", "shape", "indices", "repeats", "split"):
            return ("int64",)
        partner = next((self.values[name] for name in part.inputs if name in self.values), None)
        return (self.dtype if partner is None else dtype_name(partner.dtype),)

    def _place(self, part: Part, number: int) -> int:
        """Which operand this is for whoever computes with it, behind operators that keep shapes."""
        while number == 0 and _same_shape(part):
            reader = next((p for p in self.instance.parts if part.outputs[0] in p.inputs), None)
            if reader is None:
                return 0
            part, number = reader, reader.inputs.index(part.outputs[0])
        return number

    def _is_bias(self, part: Part) -> bool:
        readers = [(p, p.inputs.index(part.outputs[0])) for p in self.instance.parts if part.outputs[0] in p.inputs]
        return any(number == 2 and p.op in ("Conv", "ConvTranspose", "Gemm") for p, number in readers)


@dataclass(frozen=True)
class _View:
    """One operator of a drawing, as the rules of shapes see it."""

    drawing: _Drawing
    part: Part

    def pick(self, options: Sequence[Any]) -> Any:
        return self.drawing.pick(options)

    def present(self, number: int) -> bool:
        return number < len(self.part.inputs) and self.part.inputs[number] is not None

    def _name(self, number: int) -> str:
        name = self.part.inputs[number]
        assert name is not None
        return name

    def shape(self, number: int) -> Shape | None:
        return self.drawing.known(self._name(number)) if self.present(number) else None

    def want(self, number: int, shape: Shape) -> Shape:
        return self.drawing.settle(self._name(number), shape) if self.present(number) else shape

    def free(self, number: int, ranks: Sequence[int]) -> Shape:
        return self.drawing.free(self._name(number), ranks)

    def hold(self, number: int, values: Sequence[float]) -> None:
        if self.drawing.settle(self._name(number), (len(values),)) == (len(values),):
            self.drawing.held[self._name(number)] = values

    def wish(self, attribute: str, options: Sequence[Any]) -> Any:
        return self.drawing.choose(options, self.drawing.demands("attr", self.part.label, attribute))


def _small(role: str) -> Shape:
    """The shape of an operand that no rule speaks of: parameters are single numbers, axes are lists."""
    return (1,) if role in ("axes", "shape") else ()


def _same_shape(part: Part) -> bool:
    definition = OPERATORS[part.op]
    return part.op in _SAME_SHAPE or (definition.scalar is not None and definition.required == 1)
