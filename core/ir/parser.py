"""Reads the text form of graphs back: `parse(str(graph), constants) == graph`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from heddle.core.errors import GraphError
from heddle.core.ir.graph import Array, Graph, Node, Value
from heddle.core.ir.types import Dim, OptionalType, SequenceType, TensorType, Type, dtype_named

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<value>%(?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9_./$-]+))
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<number>[-+]?(?:inf\b|nan\b|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))
    |(?P<word>[A-Za-z_][\w.]*)
    |(?P<mark>->|[()\[\]{}<>:,=?*])""",
    re.VERBOSE,
)


def parse(text: str, constants: Mapping[str, Array] | None = None) -> Graph:
    """The graph that `text` describes; `constants` gives the array of each `const` line by name.

    GraphError with the line when the text is not a graph, or an array is missing or of another type.
    """
    parser = _Parser(text, constants or {})
    try:
        graph = parser.graph()
    except RecursionError:
        raise parser.error("it is nested too deep") from None
    parser.expect_end()
    return graph


class _Parser:
    def __init__(self, text: str, constants: Mapping[str, Array]) -> None:
        self.text, self.constants = text, constants
        self.tokens: list[tuple[str, str, int]] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self.error(f"unexpected character {text[at]!r}", at)
            if match.lastgroup != "space":
                self.tokens.append((str(match.lastgroup), match.group(), at))
            at = match.end()
        self.tokens.append(("end", "end of text", len(text)))
        self.at = 0

    def error(self, what: str, offset: int | None = None) -> GraphError:
        offset = self.tokens[self.at][2] if offset is None else offset
        line = self.text.count("\n", 0, offset) + 1
        return GraphError(f"graph text, line {line}: {what}")

    def wrong(self, what: str) -> GraphError:
        """An error about what has just been read."""
        return self.error(what, self.tokens[self.at - 1][2])

    def peek(self, text: str) -> bool:
        kind, token, _ = self.tokens[self.at]
        return token == text and kind in ("mark", "word")

    def take(self, text: str) -> bool:
        if self.peek(text):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.error(f"{text!r} expected, found {self.tokens[self.at][1]!r}")

    def kind(self, kind: str) -> str:
        found, token, _ = self.tokens[self.at]
        if found != kind:
            raise self.error(f"a {kind} was expected, found {token!r}")
        self.at += 1
        return token

    def expect_end(self) -> None:
        self.kind("end")

    def separated(self, close: str) -> bool:
        """True while another item of a comma-separated list follows; consumes the closing mark at the end."""
        if self.take(close):
            return False
        if self.tokens[self.at - 1][1] not in ("(", "[", "{"):
            self.expect(",")
        return True

    # -- the grammar -------------------------------------------------------------------------------------------

    def graph(self) -> Graph:
        self.expect("graph")
        name = json.loads(self.kind("string")) if self.tokens[self.at][0] == "string" else ""
        scope: dict[str, Value] = {}
        inputs, nodes, outputs, constants = [], [], [], {}
        self.expect("(")
        while self.separated(")"):
            inputs.append(self.binding(scope))
        self.expect("->")
        self.expect("(")
        names = []
        while self.separated(")"):
            names.append((self.name(), self.at - 1))
        self.expect("{")
        while not self.take("}"):
            if self.take("const"):
                value = self.binding(scope)
                constants[value] = self.constant(value)
            else:
                nodes.append(self.node(scope))
        for output, at in names:
            if output not in scope:
                raise self.error(f"output %{output} is not defined", self.tokens[at][2])
            outputs.append(scope[output])
        return Graph(tuple(inputs), tuple(nodes), tuple(outputs), constants, name)

    def constant(self, value: Value) -> Array:
        array = self.constants.get(value.name)
        if array is None:
            raise self.wrong(f"no array is given for constant {value}")
        if TensorType(array.dtype, array.shape) != value.type and array.dtype.kind not in "USOT":
            raise self.wrong(f"constant {value}: {value.type} expected, its array is {array.dtype}{array.shape}")
        return array

    def node(self, scope: dict[str, Value]) -> Node:
        outputs: list[Value | None] = []
        nothing = self.take("(")
        while not nothing:
            outputs.append(None if self.take("_") else self.binding(scope))
            if not self.take(","):
                break
        if nothing:
            self.expect(")")
        self.expect("=")
        op = self.word()
        self.expect("(")
        inputs: list[Value | None] = []
        while self.separated(")"):
            inputs.append(None if self.take("_") else self.use(scope))
        attrs = {}
        if self.take("{"):
            while self.separated("}"):
                key = self.word()
                self.expect("=")
                attrs[key] = self.attribute()
        name = json.loads(self.kind("string")) if self.tokens[self.at][0] == "string" else ""
        return Node(op, tuple(inputs), tuple(outputs), attrs, name)

    def word(self) -> str:
        return str(json.loads(self.kind("string"))) if self.tokens[self.at][0] == "string" else self.kind("word")

    def name(self) -> str:
        token = self.kind("value")[1:]
        return str(json.loads(token)) if token.startswith('"') else token

    def binding(self, scope: dict[str, Value]) -> Value:
        name = self.name()
        if name in scope:
            raise self.wrong(f"%{name} is bound twice")
        self.expect(":")
        scope[name] = Value(name, self.type())
        return scope[name]

    def use(self, scope: Mapping[str, Value]) -> Value:
        name = self.name()
        if name not in scope:
            raise self.wrong(f"%{name} is used before it is bound")
        return scope[name]

    def type(self) -> Type:
        word = self.kind("word")
        if word in ("seq", "optional"):
            self.expect("<")
            element = self.type()
            self.expect(">")
            return SequenceType(element) if word == "seq" else OptionalType(element)
        try:
            dtype = dtype_named(word)
        except KeyError:
            raise self.wrong(f"there is no type {word!r}") from None
        self.expect("[")
        if self.take("*"):
            self.expect("]")
            return TensorType(dtype, None)
        dims: list[Dim] = []
        while self.separated("]"):
            kind, token, _ = self.tokens[self.at]
            self.at += 1
            if kind == "number" and token.isdigit():
                dims.append(int(token))
            elif kind == "word" or token == "?":
                dims.append(token)
            elif kind == "string":
                dims.append(json.loads(token))
            else:
                raise self.wrong(f"a dimension was expected, found {token!r}")
        return TensorType(dtype, tuple(dims))

    def attribute(self) -> Any:
        kind, token, _ = self.tokens[self.at]
        if kind == "string":
            self.at += 1
            return json.loads(token)
        if kind == "number":
            self.at += 1
            return _number(token)
        if token in ("nan", "inf"):
            self.at += 1
            return _number(token)
        if token in ("True", "False"):
            self.at += 1
            return token == "True"
        if self.take("["):
            items = []
            while self.separated("]"):
                items.append(self.attribute())
            return tuple(items)
        return self.graph() if token == "graph" else self.type()


def _number(token: str) -> int | float:
    if token.lstrip("+-").isdigit():
        return int(token)
    number = float(token)
    return math.nan if math.isnan(number) else number
