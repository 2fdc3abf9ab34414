"""What is generated from isa.toml: the SystemVerilog package of a configuration and the instruction set's chapter.

`python -m heddle.hw.vta.generate` writes both into the source tree; a test compares them with what is there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from heddle.hw.vta.config import Config, load_config, log2
from heddle.hw.vta.description import HEADER_BITS, INSTRUCTION_BITS, description
from heddle.hw.vta.isa import TOKEN_BITS, counter_names, layout, opcodes

OUT_DEPTH = 16
"""Vectors that wait between the drain and memory."""


def system_verilog(config: Config) -> str:
    """The package `vta_pkg` for a configuration: parameters, instruction structures, registers, errors, counters."""
    parts = [
        f"// Generated from isa.toml for configuration {config.name}: do not edit.",
        "/* verilator lint_off UNUSEDPARAM */  // no module needs all of them",
        "package vta_pkg;",
        *(f"  localparam int {name} = {value};" for name, value in _parameters(config).items()),
        f"  localparam logic [31:0] VERSION_WORD = 32'h{version_word(config):08x};",
        "",
        *_enums(),
        *(line for name in opcodes() for line in _struct(config, name)),
        *_uop(config),
        *_registers(),
        "endpackage",
    ]
    return "\n".join(parts) + "\n"


def version_word(config: Config) -> int:
    """The VERSION register: the instruction set's version and the start of the configuration's digest."""
    return int(config.digest()[:4], 16) << 16 | int(description()["version"])


def _parameters(config: Config) -> dict[str, int]:
    depths = {f"{m.upper()}_DEPTH": getattr(config, f"{m}_depth") for m in ("inp", "wgt", "acc", "uop", "prm")}
    chunks = {name: config.element_bytes(name) // config.beat_bytes for name in ("inp", "wgt", "prm")}
    chunk_bits = {name: max(1, (count - 1).bit_length()) for name, count in chunks.items()}
    return {
        "BI": config.bi,
        "BO": config.bo,
        "BUS": config.bus_bits,
        "BEAT_BYTES": config.beat_bytes,
        "BEAT_SHIFT": log2(config.beat_bytes),
        **depths,
        **{name.upper(): width for name, width in config.widths().items()},
        "UOP_BITS": config.uop_bits,
        "UOPS_PER_BEAT": config.uops_per_beat,
        "UOP_LINE": log2(config.element_count("uop")),
        **{f"{name.upper()}_CHUNKS": count for name, count in chunks.items()},
        **{f"{name.upper()}_CHUNK": bits for name, bits in chunk_bits.items()},
        "CHUNK_INDEX": max(chunk_bits.values()),
        "OUT_BEATS": config.out_bytes // config.beat_bytes,
        "QUEUE_DEPTH": config.queue_depth,
        "READ_WINDOW": config.read_window,
        "RESIDUAL_DEPTH": config.residual_depth,
        "OUT_DEPTH": OUT_DEPTH,
        "DEPTHWISE": int(config.depthwise),
        "COUNTERS": len(counter_names()),
    }


def _enums() -> list[str]:
    lines = []
    for name, values in description()["enums"].items():
        for key, value in values.items():
            lines.append(f"  localparam int {name.upper()}_{key.upper()} = {value};")
    lines += [f"  localparam logic [3:0] OP_{name} = 4'd{kind.opcode};" for name, kind in opcodes().items()]
    return [*lines, ""]


def _struct(config: Config, name: str) -> list[str]:
    placed = layout(config, name)
    used = placed[-1][1] + placed[-1][2] if placed else HEADER_BITS
    lines = [f"    logic [{INSTRUCTION_BITS - used - 1}:0] reserved;"] if used < INSTRUCTION_BITS else []
    for entry, _, width in reversed(placed):
        signed = "signed " if entry.signed else ""
        lines.append(f"    logic {signed}[{width - 1}:0] {_keyword_safe(entry.name)};")
    lines += [f"    logic {bit};" for bit in reversed(TOKEN_BITS)]
    return ["  typedef struct packed {", *lines, "    logic [3:0] opcode;", f"  }} {name.lower()}_t;"]


def _keyword_safe(name: str) -> str:
    return f"{name}_" if name in ("unsigned", "begin") else name


def _uop(config: Config) -> list[str]:
    widths = config.widths()
    fields = [(name, widths[width]) for name, width in description()["uop"]["fields"]]
    rest = config.uop_bits - sum(width for _, width in fields)
    lines = [f"    logic [{rest - 1}:0] reserved;"] if rest else []
    lines += [f"    logic [{width - 1}:0] {name};" for name, width in reversed(fields)]
    return ["  typedef struct packed {", *lines, "  } uop_t;", ""]


def _registers() -> list[str]:
    lines = [f"  localparam logic [11:0] REG_{r['name']} = 12'h{r['address']:03x};" for r in description()["register"]]
    lines += [f"  localparam int ERROR_{e['name']} = {e['bit']};" for e in description()["error"]]
    return lines + [f"  localparam int COUNT_{name.upper()} = {at};" for at, name in enumerate(counter_names())]


def reference_chapter(config: Config) -> str:
    """The instruction set's chapter in Markdown, with the bit positions of one configuration."""
    isa = description()
    parts = [
        "# The accelerator's instruction set",
        f"Generated from `hw/vta/isa.toml` (version {isa['version']}); bit positions are those of `{config.name}`.",
        isa["overview"].strip(),
        "Every instruction has its opcode in bits 3:0 and its token bits "
        "pop_prev, pop_next, push_prev, push_next in bits 4 to 7.",
        "## Micro-ops",
        isa["uop"]["doc"].strip(),
    ]
    parts += [_chapter_of(config, name) for name in opcodes()]
    parts += ["## Enumerations"]
    parts += [f"- `{n}`: " + ", ".join(f"{k} = {v}" for k, v in values.items()) for n, values in isa["enums"].items()]
    parts += ["## Control registers", _table("address|name|access|meaning", _register_rows())]
    parts += ["## Errors", _table("bit|name|meaning", [(str(e["bit"]), e["name"], e["doc"]) for e in isa["error"]])]
    rows = [(str(at), c["name"], c["unit"], c["doc"]) for at, c in enumerate(isa["counter"])]
    parts += ["## Counters", "Those of one unit sum to `cycles`.", _table("number|name|unit|meaning", rows)]
    return "\n\n".join(parts) + "\n"


def _register_rows() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for r in description()["register"]:
        repeat = len(counter_names()) if r.get("repeat") == "counters" else r.get("repeat")
        name = f"{r['name']} and the {repeat - 1} that follow" if repeat else r["name"]
        rows.append((f"0x{r['address']:03x}", name, r["access"], r["doc"]))
    return rows


def _chapter_of(config: Config, name: str) -> str:
    kind = opcodes()[name]
    title = f"## {name}\n\nOpcode {kind.opcode}, unit {kind.unit}{'' if kind.tokens else ', no tokens'}.\n\n{kind.doc}"
    rows = []
    for entry, low, width in layout(config, name):
        notes = [f"width {entry.width}"] if isinstance(entry.width, str) else []
        notes += [f"default {entry.default}"] if entry.default else []
        notes += ["signed"] if entry.signed else []
        notes += [f"enumeration `{entry.enum}`"] if entry.enum else []
        rows.append((f"{low + width - 1}:{low}", f"`{entry.name}`", "; ".join([entry.doc, *notes])))
    return f"{title}\n\n{_table('bits|field|meaning', rows)}" if rows else title


def _table(header: str, rows: Sequence[Sequence[str]]) -> str:
    names = header.split("|")
    lines = [names, ["---"] * len(names), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def outputs() -> dict[str, str]:
    """Every generated file of the source tree by its path from the root."""
    reference = load_config("reference")
    return {
        "hw/vta/rtl/vta_pkg.sv": system_verilog(reference),
        "docs/hardware/isa.md": reference_chapter(reference),
    }


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    for path, text in outputs().items():
        (root / path).write_text(text)


if __name__ == "__main__":
    main()
