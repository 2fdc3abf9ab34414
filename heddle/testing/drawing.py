"""One case under construction: shapes, attributes, types and constants of a pattern's occurrence, choice by choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heddle.core.ir import Graph, Node, TensorType, Value, dtype_name, dtype_named
from heddle.core.ops import OPERATORS, REQUIRED, infer_node
from heddle.core.pattern import Condition, Pattern, Quantity
from heddle.testing.instance import Instance, Part, Pick
from heddle.testing.limits import OPEN, SCANNED, SHAPELY, Constancy, Demand, Limit, demand_of, of_shape, quantities
from heddle.testing.operands import role, schema_types
from heddle.testing.rules import RULES, TEXTS, Shape, elementwise
from heddle.testing.values import Span, constant

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
ALIGNED = (8, 16, 8, 32, 24, 64)
DTYPES = ("float32",) * 6 + ("float64", "int32", "int64", "float16", "uint8", "bool")
_SAME_SHAPE = frozenset({"DequantizeLinear", "QuantizeLinear", "Cast", "CastLike", "Identity", "Dropout", "Clip"})
_FIXED = frozenset({"axes", "shape", "axis", "pads", "repeats", "split"})
"""Roles of operands that a shape depends on."""


class ImpossibleError(Exception):
    """These choices make no case: the operators' own rules refuse the shapes or types."""


@dataclass(eq=False)
class Drawing:
    """A case under construction. Whole cases have moods, so that rare choices meet: see `__post_init__`."""

    pattern: Pattern
    instance: Instance
    pick: Pick[Any]
    random: np.random.Generator
    beyond: Limit | None = None
    shapes: dict[str, Shape] = field(default_factory=dict)
    held: dict[str, NDArray[Any]] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.makers = {name: part for part in self.instance.parts for name in part.outputs}
        self.labels = {part.label: part for part in self.instance.parts}
        self.dtype = self.pick(DTYPES)
        self.deep: bool = self.pick((False, False, True))
        """Whether scales may have several values."""
        self.fixing = self.pick(("some", "parameters", "none"))
        """Which operands are constant that need not be."""
        self.guessing = self.pick((True, False))
        """Whether shapes are chosen as if attributes that are still open had their defaults."""
        self.sizes: tuple[int, ...] = self.pick((SIZES, SIZES, ALIGNED))
        """What dimensions are, where nothing else decides; vectors and tensor cores want whole ones."""
        self.together: bool = self.pick((False, True))
        """Whether conditions that ask the same of several operands are broken together, as operators may want."""

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
        alike = self.spans.get(first.name)
        twins = [v for v in graph.inputs[1:] if v.type == first.type and self.spans.get(v.name) == alike]
        if not twins or not self.pick((False,) * 5 + (True,)):
            return graph
        twin = twins[0]
        nodes = tuple(
            replace(node, inputs=tuple(first if value == twin else value for value in node.inputs))
            for node in graph.nodes
        )
        return replace(graph, inputs=tuple(value for value in graph.inputs if value != twin), nodes=nodes)

    # -- what is known so far ------------------------------------------------------------------------------------

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
            return self.values[root].tensor.shape
        return self.shapes.get(root)

    def demands(self, kind: str, of: str, key: Any = None) -> list[Demand]:
        """What is demanded of a quantity of one value, as far as all else that the conditions speak of is known."""
        quantity = Quantity(kind, self.instance.leaves.get(of, of), key)

        def read(other: Quantity) -> Any:
            return self._read(replace(other, of=of) if other.of == quantity.of else other)

        found = (
            demand_of(condition, quantity, read, outside=self._broken(condition))
            for condition in self.pattern.conditions
        )
        return [demand for demand in found if demand is not None]

    def _broken(self, condition: Condition) -> bool:
        """Whether a case beyond the limits breaks this condition."""
        if condition is self.beyond or not isinstance(self.beyond, Condition):
            return condition is self.beyond
        one, other = condition.term, self.beyond.term
        alike = isinstance(one, Quantity) and isinstance(other, Quantity) and one.kind == other.kind
        return self.together and alike and condition.predicate == self.beyond.predicate

    def _read(self, quantity: Quantity) -> Any:
        """What is known of a quantity: OPEN while it may still be chosen, None where this occurrence has none."""
        if quantity.kind == "attr":
            return self._read_attribute(quantity)
        name = quantity.of
        if name not in self.makers and name not in self.instance.leaves:
            return None
        if quantity.kind in SHAPELY:
            shape = self.known(name)
            return OPEN if shape is None else of_shape(quantity, shape, self._read)
        if quantity.kind == "dtype" and name in self.values:
            return dtype_name(self.values[name].dtype)
        return OPEN

    def _read_attribute(self, quantity: Quantity) -> Any:
        part = self.labels.get(quantity.of)
        if part is None:
            return None
        if quantity.key in part.attrs:
            return part.attrs[quantity.key]
        default = OPERATORS[part.op].attributes.get(quantity.key)
        settled = id(part) in self.nodes
        guessed = self.guessing and default is not None and default is not REQUIRED
        return default if settled or guessed else OPEN

    def choose(self, options: Sequence[Any], demands: Sequence[Demand]) -> Any:
        """One of the options that fulfil the demands, else one of what these name themselves."""
        if not demands:
            return self.pick(options)
        fulfilled = [option for option in options if option is not None and all(d.holds(option) for d in demands)]
        if not fulfilled:
            samples = demands[0].samples()
            model = next((option for option in options if isinstance(option, tuple)), None)
            if demands[0].condition.predicate.each and model is not None:
                samples = tuple((sample,) * len(model) for sample in samples)
            fulfilled = [sample for sample in samples if all(d.holds(sample) for d in demands)]
        if not fulfilled:
            raise ImpossibleError(f"nothing is {' and '.join(map(str, demands))}")
        return self.pick(fulfilled)

    # -- shapes --------------------------------------------------------------------------------------------------

    def settle(self, name: str, *shapes: Shape) -> Shape:
        """Give an open value the first of these shapes that the pattern's conditions allow, else what they make of it.

        Of several that are allowed after the first one is not, any is taken.
        """
        known = self.known(name)
        if known is not None:
            return known
        root = self.root(name)
        assert root is not None
        demands = [demand for each in dict.fromkeys((root, name)) for demand in self.demands("shape", each)]
        if self._fits(shapes[0], demands):
            self.shapes[root] = shapes[0]
        else:
            fitting = [shape for shape in shapes[1:] if self._fits(shape, demands)]
            self.shapes[root] = self.pick(fitting) if fitting else self._bent(shapes[0], demands)
        return self.shapes[root]

    @staticmethod
    def _fits(shape: Shape, demands: Sequence[Demand]) -> bool:
        return all(demand.holds(shape) for demand in demands)

    def _bent(self, shape: Shape, demands: Sequence[Demand]) -> Shape:
        """A shape that fulfils the demands: another rank, other sizes, or what a demand names; as it was where none."""
        for demand in demands:
            if demand.condition.term == demand.quantity:
                for sample in demand.samples():
                    if isinstance(sample, tuple) and self._fits(sample, demands):
                        return sample
        ranks = sorted(range(9), key=lambda rank: abs(rank - len(shape)))
        for rank in ranks:
            bent = self._resized(_of_rank(shape, rank), demands)
            if bent is not None:
                return bent
        return shape

    def _resized(self, shape: Shape, demands: Sequence[Demand]) -> Shape | None:
        """The shape with other sizes where failing demands speak of them; None where that does not help."""
        if self._fits(shape, demands):
            return shape
        failing = [demand for demand in demands if not demand.holds(shape)]
        axes = self._blamed(failing, len(shape))
        helping: dict[int, None] = {}
        for axis in axes:
            own = [demand for demand in failing if axis in self._blamed([demand], len(shape))]
            scanned = (size for size in (*SIZES, *SCANNED) if any(d.holds(_with(shape, axis, size)) for d in own))
            helping |= dict.fromkeys(islice(dict.fromkeys(scanned), 12))
        changes = (
            {axis: size for axis, size in zip(axes, sizes, strict=True) if size is not None}
            for sizes in product((None, *helping), repeat=len(axes))
        )
        candidates = (tuple(one.get(axis, size) for axis, size in enumerate(shape)) for one in changes)
        found = list(islice((each for each in candidates if self._fits(each, demands)), 8))
        return self.pick(found) if found else None

    @staticmethod
    def _blamed(failing: Sequence[Demand], rank: int) -> list[int]:
        """The axes that failing demands speak of; the last where they speak of the whole."""
        axes = set()
        for demand in failing:
            for quantity in quantities(demand.condition):
                if quantity.of == demand.quantity.of and quantity.kind == "dim" and -rank <= quantity.key < rank:
                    axes.add(quantity.key % rank)
                elif quantity.of == demand.quantity.of and quantity.kind in ("size", "shape") and rank:
                    axes.update(range(rank))
        return sorted(axes)[:3]

    def free(self, name: str, ranks: Sequence[int]) -> Shape:
        known = self.known(name)
        if known is not None:
            return known
        root = self.root(name)
        assert root is not None
        rank = self.choose(tuple(ranks), self.demands("rank", root))
        shape = [self.pick(self.sizes) for _ in range(rank)]
        if rank > 2 and all(node.op not in ("MatMul", "Gemm") for node in self.pattern.body.nodes):
            shape[2:] = [self.pick((5, 3, 4, 7, 8, 1, 9, 12)) for _ in shape[2:]]
            shape[0] = self.pick((1, 1, 2, 3))
        elif self.sizes is ALIGNED:
            shape[:-2] = [self.pick((1, 2, 3)) for _ in shape[:-2]]
        if rank and self.pick((False,) * 23 + (True,)):
            shape[self.pick(range(rank))] = 0
        return self.settle(name, tuple(shape))

    # -- one operator --------------------------------------------------------------------------------------------

    def _shape(self, part: Part) -> None:
        rule = RULES.get(part.op, elementwise)
        self._attributes(part, rule(_View(self, part)))
        self._type(part)

    def _attributes(self, part: Part, ruled: Mapping[str, Any]) -> None:
        definition = OPERATORS[part.op]
        part.attrs = {
            name: value for name, value in ruled.items() if name in definition.attributes and value is not None
        }
        for name, default in definition.attributes.items():
            if name in ruled:
                continue
            demands = self.demands("attr", part.label, name)
            if demands:
                known = () if default is REQUIRED else (default,)
                part.attrs[name] = self.choose((*known, *TEXTS.get(name, ())), demands)
            elif isinstance(default, float):
                part.attrs[name] = self.pick((default, 0.5, 1.0, 0.0))

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
            shape = value.type.shape if isinstance(value.type, TensorType) else None
            if shape is None and not isinstance(self.beyond, Constancy):
                raise ImpossibleError(f"{value} has no known shape")
            if min(shape or (), default=0) < 0:
                raise ImpossibleError(f"{value} is cut to less than nothing")
            self.values[value.name] = value
        self.nodes[id(part)] = replace(node, outputs=outputs)

    def _leaf(self, part: Part, number: int, name: str) -> None:
        played = role(part.op, number)
        shape = self.known(name)
        if shape is None:
            shape = self.settle(name, _small(played))
        named = self.instance.leaves[name]
        demands = self.demands("dtype", name)
        dtypes = self._dtypes(part, number)
        dtype = self.choose(dtypes if all(d.holds(dtypes[0]) for d in demands) else (*dtypes, *DTYPES), demands)
        value = Value(name, TensorType(dtype_named(dtype), shape))
        self.values[name] = value
        if isinstance(self.beyond, Constancy) and self.beyond.of == named:
            return
        wanted, held = self.demands("value", name), self.held.get(name)
        if held is not None and not all(demand.holds(_tuples(held.tolist())) for demand in wanted):
            held = None
        if held is not None:
            self.constants[name] = held.astype(value.dtype)
        elif wanted:
            samples = wanted[0].samples()
            if not samples or 0 in shape:
                raise ImpossibleError(f"nothing is known to be {wanted[0]}")
            given = self.pick(samples)
            self.constants[name] = np.full(shape if shape else np.shape(given), given, value.dtype)
        elif named in self.pattern.constants or played in _FIXED or self._settled(part, number):
            self.constants[name] = constant(value.tensor, played, self._rank(part), self.random, self.spans.get(name))

    def _settled(self, part: Part, number: int) -> bool:
        """Whether an operand that may be computed is a constant here: never the first, else by the case's mood.

        Scales and zero points mostly are.
        """
        if role(part.op, number).endswith(("scale", "zero_point")):
            return bool(self.fixing != "some" or self.pick((True, True, True, False)))
        part, number = self._reader(part, number)
        definition = OPERATORS[part.op]
        if number == 0 or self.fixing == "none":
            return False
        if self.fixing == "parameters":
            return definition.scalar is None and not definition.variadic
        return bool(self.pick((True, True, False)))

    def _rank(self, part: Part) -> int:
        shape = self.known(part.inputs[0])
        return 1 if shape is None else max(1, len(shape))

    def _dtypes(self, part: Part, number: int) -> Sequence[str]:
        """The element types that an operand may have, one that fits what is there first."""
        played, schema = role(part.op, number), schema_types(part.op)
        variable, allowed = schema[min(number, len(schema) - 1)] if schema else ("", ())
        for other, name in enumerate(part.inputs):
            if schema and name in self.values and schema[min(other, len(schema) - 1)][0] == variable:
                return (dtype_name(self.values[name].dtype),)
        quantized = "QLinear" in part.op or "QGemm" in part.op
        if "scale" in played and (quantized or "Linear" in part.op):
            return ("float32",)
        if "zero_point" in played or part.op == "DequantizeLinear" or quantized:
            bias = self._is_bias(part) if part.op == "DequantizeLinear" else played.lower() in ("b", "c", "bias")
            return ("int32",) if bias and not part.op.endswith(("QLinearAdd", "QLinearMul")) else ("uint8", "int8")
        if schema and not allowed:
            raise ImpossibleError(f"{played} of {part.op} is no tensor")
        partner = next((self.values[name] for name in part.inputs if name in self.values), None)
        wished = self.dtype if partner is None else dtype_name(partner.dtype)
        if not allowed or wished in allowed:
            return (wished,)
        return tuple(name for name in DTYPES if name in allowed) or allowed

    def _reader(self, part: Part, number: int) -> tuple[Part, int]:
        """Whoever computes with an operand, and as which one, behind operators that keep shapes."""
        while number == 0 and _same_shape(part):
            reader = next((p for p in self.instance.parts if part.outputs[0] in p.inputs), None)
            if reader is None:
                break
            part, number = reader, reader.inputs.index(part.outputs[0])
        return part, number

    def _is_bias(self, part: Part) -> bool:
        readers = [(p, p.inputs.index(part.outputs[0])) for p in self.instance.parts if part.outputs[0] in p.inputs]
        return any(number == 2 and p.op in ("Conv", "ConvTranspose", "Gemm") for p, number in readers)


@dataclass(frozen=True)
class _View:
    """One operator of a drawing, as the rules see it."""

    drawing: Drawing
    part: Part

    @property
    def operands(self) -> int:
        return len(self.part.inputs)

    @property
    def results(self) -> int:
        return len(self.part.outputs)

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.drawing.sizes

    @property
    def deep(self) -> bool:
        return self.drawing.deep

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

    def want(self, number: int, *shapes: Shape) -> Shape:
        return self.drawing.settle(self._name(number), *shapes) if self.present(number) else shapes[0]

    def free(self, number: int, ranks: Sequence[int]) -> Shape:
        return self.drawing.free(self._name(number), ranks)

    def hold(self, number: int, values: Any) -> None:
        if self.present(number):
            array, name = np.asarray(values), self._name(number)
            if self.drawing.settle(name, array.shape) == array.shape:
                self.drawing.held[name] = array

    def within(self, number: int, low: int, high: int) -> None:
        if self.present(number) and low < high:
            self.drawing.spans[self._name(number)] = (low, high)

    def wish(self, attribute: str, options: Sequence[Any]) -> Any:
        if attribute not in OPERATORS[self.part.op].attributes:
            return self.pick(options[:1])
        chosen = self.drawing.choose(options, self.drawing.demands("attr", self.part.label, attribute))
        if chosen is not None:
            self.part.attrs[attribute] = chosen
        return chosen


def _small(played: str) -> Shape:
    """The shape of an operand that no rule speaks of: parameters are single numbers, axes are lists."""
    return (1,) if played in ("axes", "shape") else ()


def _same_shape(part: Part) -> bool:
    definition = OPERATORS[part.op]
    return part.op in _SAME_SHAPE or (definition.scalar is not None and definition.required == 1)


def _of_rank(shape: Shape, rank: int) -> Shape:
    """The shape with axes of one before it, or without its first ones."""
    lacking = rank - len(shape)
    return (1,) * lacking + shape if lacking >= 0 else shape[-lacking:]


def _with(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
