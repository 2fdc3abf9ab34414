"""Faults made mechanically: every small change of a backend's source text, in an order given by a seed.

    python tests/heddle/testing/mutants.py

runs the kit over all mutants of a scaffold and of a sample backend and says of each how it was caught, or why it need not be;
`--start 100 --count 50` runs a part of them, in the same order.
"""

from __future__ import annotations

import argparse
import ast
import copy
import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from heddle.core.plugin import patterns_of
from heddle.core.runtime.device import Device

import heddle
from heddle.scaffolds import write_scaffold
from heddle.testing import Kit

SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Gt: ast.LtE,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
FUNCTIONS = {"library": ("library_convolve", "compile", "prepare", "call"), "codegen": ("compile", "prepare", "call")}

_SUM = (
    "np.concatenate(parts, axis=-1).transpose(0, 3, 1, 2) + b.res"
    " -> b.reshape(1, -1, 1, 1) + np.concatenate(parts, axis=-1).tran"
)
_COMMUTES = "sums and products of two numbers commute"
_WIDER = "the machine computes every dtype of the operator as the reference does"

EQUIVALENT: tuple[tuple[str, str, str], ...] = (
    ("codegen", "add -1.27: [dtype('x').equals('float32')] -> []", _WIDER),
    ("codegen", "sub -1.27: [dtype('x').equals('float32')] -> []", _WIDER),
    ("codegen", "mul -1.27: [dtype('x').equals('float32')] -> []", _WIDER),
    ("codegen", "compile 7.43: 0 -> 1", "the number beside an arithmetic opcode is read by nobody"),
    ("library", "library_convolve 3.13: (size - 1) * step + 1 -> 1 + (size - 1) * step", _COMMUTES),
    ("library", "library_convolve 3.13: (size - 1) * step -> step * (size - 1)", _COMMUTES),
    ("library", f"library_convolve 10.11: {_SUM}", _COMMUTES),
    ("library", "library_convolve 10.80: 1 -> 2", "numpy takes any negative size for the open one"),
    (
        "library",
        "compile 2.63: ('strides', 'pads', 'dilations', 'group') -> ('group', 'dilations', 'pads', 'strides')",
        "settings are found by their names",
    ),
    ("library", "call 2.16: 0 -> -1", "there is one output, the first and the last"),
    ("library", "call 2.50: 0 -> -1", "there is one input, the first and the last"),
)
"""Changes that change nothing: the backend, the change as it is told, and why; `equivalence.py` proves each."""

WITHIN_TOLERANCE: tuple[tuple[str, str, str], ...] = (
    (
        "codegen",
        "call 15.29: np.maximum(stack.pop(), np.float32(0)) -> np.maximum(np.float32(0), stack.pop())",
        "of two zeros the one or the other sign",
    ),
    (
        "library",
        "conv -6.15: [dtype('x').equals('float32'), rank('x').equals(4), attr('co"
        " -> [rank('x').equals(4), attr('conv', 'auto_pad').equals('NOTSE",
        "numpy convolves every floating dtype; half precision is rounded in another order",
    ),
)
"""Changes of bits that no tolerance tells apart; `equivalence.py` shows it with the kit's own comparison."""


def sources() -> dict[str, str]:
    """The backends that are mutated, by name."""
    machine = Path(__file__).parent / "stack_machine.py"
    with TemporaryDirectory() as folder:
        library = write_scaffold("sample", "library", Path(folder) / "library")[0]
        return {"codegen": machine.read_text(), "library": library.read_text()}


def mutants(source: str, functions: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every mutant of some functions of a source: what was changed, and the text after it."""
    tree = ast.parse(source)
    original = ast.unparse(tree)
    places: list[tuple[ast.FunctionDef, ast.AST]] = []
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name in functions:
            names = [argument.arg for argument in function.args.args if argument.arg != "self"]
            for statement in function.body:
                for node in ast.walk(statement):
                    if isinstance(node, ast.Name) and node.id in names and len(names) > 1:
                        node.other = names[(names.index(node.id) + 1) % len(names)]
                    places.append((function, node))
        if isinstance(function, ast.FunctionDef):  # a pattern without one of its conditions takes what it must not
            conditions = [k.value for d in function.decorator_list for k in getattr(d, "keywords", ())]
            places += [(function, found) for found in conditions if isinstance(found, ast.List)]
    for function, node in places:
        for change in range(_changes(node)):
            memo: dict[int, ast.AST] = {}
            fresh = copy.deepcopy(tree, memo)
            target = memo[id(node)]
            told = f"{_place(function, node)}: {ast.unparse(node)[:60]}"
            _mutate(target, change)
            text = ast.unparse(ast.fix_missing_locations(fresh))
            if text != original:  # two equal operands in another order are no mutant
                yield f"{told} -> {ast.unparse(target)[:60]}", text


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


def load(text: str) -> tuple[ModuleType, heddle.Backend, Device]:
    """A backend given as text: its module, the backend, its device."""
    module = ModuleType("mutant")
    sys.modules["mutant"] = module
    exec(compile(text, "mutant", "exec"), vars(module))
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    (device,) = [c for c in classes if issubclass(c, Device) and c.__module__ == "mutant"]
    (backend,) = [c for c in classes if issubclass(c, heddle.Backend) and c.__module__ == "mutant"]
    return module, backend(), device()


def caught(text: str, cases: int = 60) -> str:
    """How the kit catches a backend given as text, by the first pattern that fails; nothing when it does not."""
    kit = Kit(cases, shrinking=0)
    try:
        _, backend, device = load(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for pattern in patterns_of(backend):
                report = kit.test(backend, devices={backend.name: device}, only=[pattern.name], timeout=5)
                if not report.ok:
                    return report.scores[0].verdict
    except Exception as error:
        return f"raises {type(error).__name__}"
    return ""


def campaign(start: int = 0, count: int | None = None, seed: int = 0) -> Iterator[tuple[str, str, str]]:
    """The mutants in the order of a seed, all or a part of them: the backend, the change, and how it was caught."""
    every = [
        (name, change, text) for name, text in sources().items() for change, text in mutants(text, FUNCTIONS[name])
    ]
    random.Random(seed).shuffle(every)
    for name, change, text in every[start : None if count is None else start + count]:
        yield name, change, caught(text)


def verdict(name: str, change: str, how: str) -> str:
    """What is said of one mutant: how it was caught, else why it need not be, else that it survives."""
    equivalent = {(name, change): why for name, change, why in (*EQUIVALENT, *WITHIN_TOLERANCE)}
    if how:
        return f"caught: {how}"
    known = equivalent.get((name, change))
    return f"equivalent: {known}" if known else "SURVIVES"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Run the conformance kit over backends that were changed mechanically."
    )
    parser.add_argument("--start", type=int, default=0, help="the first mutant, in the order of the seed")
    parser.add_argument("--count", type=int, help="how many mutants; all that follow when left out")
    parser.add_argument("--seed", type=int, default=0, help="the order that the mutants are run in")
    given = parser.parse_args()
    tally: Counter[str] = Counter()
    for number, (name, change, how) in enumerate(campaign(given.start, given.count, given.seed), given.start):
        told = verdict(name, change, how)
        tally[told.partition(":")[0]] += 1
        print(f"{number} {name}: {change}: {told.splitlines()[0][:200]}", flush=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(tally.items())), f"of {tally.total()} mutants")


if __name__ == "__main__":
    main()
