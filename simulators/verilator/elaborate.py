"""Asks Verilator what the top module of a design looks like: its ports with their widths, and the files it reads."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heddle.simulators.verilator.errors import RtlBuildError
from heddle.simulators.verilator.messages import Message, parse_messages, show_messages
from heddle.simulators.verilator.spec import RtlSpec
from heddle.simulators.verilator.toolchain import Verilator

CPP_SUFFIXES = (".cpp", ".cc", ".cxx", ".c")


@dataclass(frozen=True)
class Port:
    """A port of the top module; `shape` is that of an unpacked array, () for a scalar or packed vector.

    `member` is what Verilator calls it in C++.
    """

    name: str
    member: str
    direction: Literal["input", "output", "inout"]
    width: int
    shape: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """The size in which Verilator holds one element: 1, 2, 4, 8, or a multiple of 4."""
        for size in (1, 2, 4, 8):
            if self.width <= 8 * size:
                return size
        return 4 * math.ceil(self.width / 32)


@dataclass(frozen=True)
class Elaboration:
    """What a design is once its parameters are set; `modules` maps instance paths below the top to module names."""

    ports: tuple[Port, ...]
    files: tuple[Path, ...]
    messages: tuple[Message, ...]
    modules: Mapping[str, str]

    def port(self, name: str) -> Port | None:
        return next((port for port in self.ports if port.name == name), None)


def verilog_arguments(spec: RtlSpec) -> list[str]:
    """The part of Verilator's command line that says what to read; the paths in it are absolute."""
    arguments = ["--top-module", spec.top]
    for name, value in spec.params.items():
        arguments.append(f'-G{name}="{value}"' if isinstance(value, str) else f"-G{name}={int(value)}")
    for name, defined in spec.defines.items():
        arguments.append(f"-D{name}" if defined is None else f"-D{name}={defined}")
    arguments += [f"-I{_existing(spec, folder)}" for folder in spec.includes]
    sources = [_existing(spec, source) for source in spec.sources]
    if not sources:
        raise RtlBuildError(f"{spec.top}: no sources given")
    # a module that a file instantiates is looked for beside that file, as every other Verilog tool does
    for folder in dict.fromkeys(source.parent for source in sources):
        arguments += ["-y", str(folder)]
    arguments += list(spec.flags)
    return arguments + [str(source) for source in sources if source.suffix not in CPP_SUFFIXES]


def cpp_sources(spec: RtlSpec) -> tuple[Path, ...]:
    """The C and C++ files of a design, which implement its DPI functions."""
    return tuple(_existing(spec, source) for source in spec.sources if Path(source).suffix in CPP_SUFFIXES)


def elaborate(spec: RtlSpec, verilator: Verilator) -> Elaboration:
    """Elaborate the top module; RtlBuildError shows the findings of Verilator when it refuses the design."""
    with tempfile.TemporaryDirectory(prefix="heddle-") as scratch:
        folder = Path(scratch)
        tree, meta = folder / "tree.json", folder / "meta.json"
        done = verilator.run(
            ["--json-only", "--json-only-output", str(tree), "--json-only-meta-output", str(meta),
             "--no-json-edit-nums", "-Wno-fatal", *verilog_arguments(spec)],
            folder,
        )  # fmt: skip
        messages = parse_messages(done.stderr)
        if done.returncode or not tree.exists():
            raise refused(spec, messages, done.stderr)
        whole = json.loads(tree.read_text())
        files = _files(json.loads(meta.read_text()))
        top = next(module for module in whole["modulesp"] if module["type"] == "MODULE" and module["level"] == 1)
        return Elaboration(_ports(whole, top), files, messages, _modules(whole, top))


def lint(spec: RtlSpec, verilator: Verilator) -> tuple[Message, ...]:
    """Everything that Verilator finds with all warnings on; errors are findings here too."""
    with tempfile.TemporaryDirectory(prefix="heddle-") as scratch:
        done = verilator.run(["--lint-only", "-Wall", "-Wno-fatal", *verilog_arguments(spec)], Path(scratch))
    messages = parse_messages(done.stderr)
    if done.returncode and not messages:
        raise refused(spec, messages, done.stderr)
    return messages


def refused(spec: RtlSpec, messages: tuple[Message, ...], output: str) -> RtlBuildError:
    """The error that shows why Verilator refused a design."""
    if re.search(r"Invalid option: --json-only", output):
        return RtlBuildError(
            'verilator: too old to describe a design as JSON, expected 5.028 or later; pip install "heddle[rtl]"'
        )
    return RtlBuildError(f"{spec.top}: Verilator refused the sources\n" + (show_messages(messages) or output.strip()))


def _existing(spec: RtlSpec, path: str | Path) -> Path:
    absolute = Path(path).resolve()
    if not absolute.exists():
        raise RtlBuildError(f"{spec.top}: {path} does not exist; sources and includes are paths from {Path.cwd()}")
    return absolute


def _files(meta: Mapping[str, Any]) -> tuple[Path, ...]:
    paths = (Path(entry["realpath"]) for entry in meta["files"].values() if not entry["realpath"].startswith("<"))
    return tuple(sorted({path.resolve() for path in paths}))


def _ports(tree: Mapping[str, Any], top: Mapping[str, Any]) -> tuple[Port, ...]:
    (types,) = (entry for entry in tree["miscsp"] if entry["type"] == "TYPETABLE")
    table = {entry["addr"]: entry for entry in _everything(types)}
    found = []
    for variable in top["stmtsp"]:
        if variable["type"] == "VAR" and variable.get("varType") == "PORT":
            shape, width = _measure(table, variable["dtypep"])
            name = variable["verilogName"].removeprefix("\\").strip()
            found.append(Port(name, variable["origName"], variable["direction"].lower(), width, shape))
    return tuple(found)


def _modules(tree: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, str]:
    """Every instance below the top, by its path, with the name of its module."""
    by_address = {module["addr"]: module for module in tree["modulesp"]}
    found = {"": top["origName"]}

    def visit(module: Mapping[str, Any], path: str) -> None:
        for cell in _everything(module["stmtsp"]):
            if cell["type"] == "CELL" and cell["modp"] in by_address:
                inner = by_address[cell["modp"]]
                found[f"{path}{cell['verilogName']}"] = inner["origName"]
                visit(inner, f"{path}{cell['verilogName']}.")

    visit(top, "")
    return found


def _everything(node: Any) -> list[Mapping[str, Any]]:
    if isinstance(node, list):
        return [inner for item in node for inner in _everything(item)]
    if not isinstance(node, dict):
        return []
    inner = [deep for value in node.values() if isinstance(value, list) for deep in _everything(value)]
    return [node, *inner] if "addr" in node else inner


def _measure(table: Mapping[str, Mapping[str, Any]], address: str) -> tuple[tuple[int, ...], int]:
    """The unpacked shape and the packed width of a type."""
    entry = table[address]
    match entry["type"]:
        case "BASICDTYPE":
            return (), _length(entry["range"]) if "range" in entry else 1
        case "PACKARRAYDTYPE":
            _, width = _measure(table, entry["refDTypep"])
            return (), _length(entry["declRange"]) * width
        case "UNPACKARRAYDTYPE":
            shape, width = _measure(table, entry["refDTypep"])
            return (_length(entry["declRange"]), *shape), width
        case "STRUCTDTYPE" | "UNIONDTYPE":
            widths = [_measure(table, member["refDTypep"])[1] for member in entry["membersp"]]
            return (), sum(widths) if entry["type"] == "STRUCTDTYPE" else max(widths)
        case "REFDTYPE" | "ENUMDTYPE" | "MEMBERDTYPE" | "CONSTDTYPE":
            return _measure(table, entry["refDTypep"])
        case kind:
            raise RtlBuildError(
                f"port type {kind} ({entry['name']}): expected vectors, arrays, enums or packed structs"
            )


def _length(text: str) -> int:
    left, right = (int(part) for part in text.strip("[]").split(":"))
    return abs(left - right) + 1
