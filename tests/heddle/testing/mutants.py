"""Faults made mechanically: every small change of a sample backend's source text, in an order given by a seed."""

from __future__ import annotations

import ast
import copy
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from heddle.core.runtime.device import Device

import heddle
from heddle.scaffolds import write_scaffold

SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Gt: ast.LtE,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
FUNCTIONS = {"library": ("library_convolve", "compile", "prepare", "call"), "codegen": ("compile", "prepare", "call")}


def sources() -> dict[str, str]:
    """The backends that are mutated, by name."""
    machine = Path(__file__).with_name("stack_machine.py").read_text()
    with TemporaryDirectory() as folder:
        library = write_scaffold("sample", "library", Path(folder) / "library")[0].read_text()
    return {"codegen": machine, "library": library}


@dataclass(frozen=True)
class Mutant:
    """One change of a backend: which backend, what was changed, which no other mutant is told to be, and the text."""

    backend: str
    change: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.backend, self.change


@cache
def drawn(seed: int = 0) -> Sequence[Mutant]:
    """All mutants of all backends, in the order of a seed."""
    every = [mutant for backend, source in sources().items() for mutant in mutants(backend, source)]
    random.Random(seed).shuffle(every)
    return tuple(every)


def mutants(backend: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a backend, which is given as its text."""
    tree = ast.parse(source)
    original = ast.unparse(tree)
    seen: Counter[str] = Counter()
    for function, node in _places(tree, FUNCTIONS[backend]):
        for change in range(_changes(node)):
            memo: dict[int, ast.AST] = {}
            fresh = copy.deepcopy(tree, memo)
            target = memo[id(node)]
            before = ast.unparse(node)[:60]
            _mutate(target, change)
            text = ast.unparse(ast.fix_missing_locations(fresh))
            if text == original:  # two equal operands in another order are no mutant
                continue
            told = f"{_place(function, node)}: {before} -> {ast.unparse(target)[:60]}"
            seen[told] += 1
            yield Mutant(backend, told if seen[told] == 1 else f"{told} ({seen[told]})", text)


def _places(tree: ast.Module, functions: tuple[str, ...]) -> Iterator[tuple[ast.FunctionDef, ast.AST]]:
    """What may be changed: everything in some functions, and the conditions of every pattern."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        if function.name in functions:
            names = [argument.arg for argument in function.args.args if argument.arg != "self"]
            for node in (node for statement in function.body for node in ast.walk(statement)):
                if isinstance(node, ast.Name) and node.id in names and len(names) > 1:
                    node.other = names[(names.index(node.id) + 1) % len(names)]
                yield function, node
        # A pattern without one of its conditions takes what it must not.
        conditions = (keyword.value for call in function.decorator_list for keyword in getattr(call, "keywords", ()))
        yield from ((function, found) for found in conditions if isinstance(found, ast.List))


def _place(function: ast.FunctionDef, node: ast.AST) -> str:
    """Where a node is, counted from its function's first line, so that it stays when others change."""
    line, column = getattr(node, "lineno", function.lineno), getattr(node, "col_offset", 0)
    return f"{function.name} {line - function.lineno}.{column}"


def _changes(node: ast.AST) -> int:
    """In how many ways a node can be changed."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return 2
    if isinstance(node, ast.List):
        return len(node.elts)
    if isinstance(node, ast.Assign | ast.AugAssign):
        return 1
    if isinstance(node, ast.Name):
        return int(hasattr(node, "other") and isinstance(node.ctx, ast.Load))
    if isinstance(node, ast.BinOp):
        return 1 + (type(node.op) in SWAPS)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        return 1
    if isinstance(node, ast.Call):
        return (len(node.args) > 1) + bool(node.keywords)
    if isinstance(node, ast.Slice):
        return int(node.step is not None)
    return int(isinstance(node, ast.IfExp) or (isinstance(node, ast.Tuple) and len(node.elts) > 1))


def _mutate(node: ast.AST, change: int) -> None:
    if isinstance(node, ast.Constant):
        node.value += 1 if change == 0 else -1
    elif isinstance(node, ast.List):
        del node.elts[change]
    elif isinstance(node, ast.Assign | ast.AugAssign):
        node.value = ast.Constant(None)
    elif isinstance(node, ast.Name):
        node.id = node.other
    elif isinstance(node, ast.BinOp):
        if change == 0:
            node.left, node.right = node.right, node.left
        else:
            node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.Call):
        if change == 0 and len(node.args) > 1:
            node.args = [*node.args[1:], node.args[0]] if len(node.args) > 2 else node.args[::-1]
        else:
            node.keywords.pop()
    elif isinstance(node, ast.Slice):
        node.step = None
    elif isinstance(node, ast.IfExp):
        node.body, node.orelse = node.orelse, node.body
    elif isinstance(node, ast.Tuple):
        node.elts = node.elts[::-1]


def load(text: str) -> tuple[heddle.Backend, Device]:
    """A backend given as text, and its device."""
    module = ModuleType("mutant")
    sys.modules["mutant"] = module
    exec(compile(text, "mutant", "exec"), vars(module))
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    (device,) = [c for c in classes if issubclass(c, Device) and c.__module__ == "mutant"]
    (backend,) = [c for c in classes if issubclass(c, heddle.Backend) and c.__module__ == "mutant"]
    return backend(), device()
