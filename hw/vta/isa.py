"""The instruction set as values, read from isa.toml, and instructions to and from their 128 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config
from heddle.hw.vta.description import HEADER_BITS, INSTRUCTION_BITS, description

TOKEN_BITS = ("pop_prev", "pop_next", "push_prev", "push_next")
"""Bits 4 to 7 of every instruction, in this order."""


@dataclass(frozen=True)
class Field:
    """One field of an instruction; `width` is a number of bits or the name of a width that the configuration gives."""

    name: str
    width: int | str
    doc: str
    default: int = 0
    signed: bool = False
    enum: str | None = None


@dataclass(frozen=True)
class Opcode:
    """One kind of instruction: its number, its unit, its fields from bit 8 upward and its meaning in prose."""

    name: str
    opcode: int
    unit: str
    tokens: bool
    doc: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Instruction:
    """An instruction: its name and the values of its fields and token bits that are not the default."""

    name: str
    values: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        found = self.values.get(name)
        return default_of(self.name, name) if found is None else found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instruction) and (self.name, dict(self.values)) == (other.name, dict(other.values))

    def __hash__(self) -> int:
        return hash((self.name, frozenset(self.values.items())))


@cache
def opcodes() -> Mapping[str, Opcode]:
    """All kinds of instructions by name, in the order of isa.toml."""
    table = {}
    for entry in description()["instruction"]:
        fields = tuple(Field(**values) for values in entry["fields"])
        table[entry["name"]] = Opcode(**(entry | {"doc": entry["doc"].strip(), "fields": fields}))
    return table


@cache
def enum(name: str) -> Mapping[str, int]:
    """The named values of an enumeration."""
    return dict(description()["enums"][name])


@cache
def counter_names() -> tuple[str, ...]:
    """The hardware's counters in the order of their registers."""
    return tuple(entry["name"] for entry in description()["counter"])


@cache
def _defaults(instruction: str) -> Mapping[str, int]:
    return {f.name: f.default for f in opcodes()[instruction].fields} | dict.fromkeys(TOKEN_BITS, 0)


def default_of(instruction: str, name: str) -> int:
    """The value of a field that an instruction does not mention; DeviceError when there is no such field."""
    found = _defaults(instruction).get(name)
    if found is None:
        known = ", ".join(_defaults(instruction))
        raise DeviceError(f"{instruction}: field {name} is unknown, expected one of {known}")
    return found


@cache
def layout(config: Config, name: str) -> tuple[tuple[Field, int, int], ...]:
    """Each field of an instruction with its lowest bit and its width under a configuration."""
    widths, at, placed = config.widths(), HEADER_BITS, []
    for entry in opcodes()[name].fields:
        width = entry.width if isinstance(entry.width, int) else widths[entry.width]
        placed.append((entry, at, width))
        at += width
    if at > INSTRUCTION_BITS:
        raise DeviceError(
            f"{name}: needs {at} bits in configuration {config.name}, an instruction has {INSTRUCTION_BITS}"
        )
    return tuple(placed)


def make(name: str, **values: int | str) -> Instruction:
    """An instruction from the values of its fields and token bits; enumerations may be given by name.

    >>> make("LOAD", mem="inp", base=2, x=56, pop_next=1)
    Instruction(name='LOAD', values={'base': 2, 'x': 56, 'pop_next': 1})
    """
    kind = opcodes().get(name)
    if kind is None:
        raise DeviceError(f"{name}: unknown instruction, expected one of {', '.join(opcodes())}")
    enums = {f.name: f.enum for f in kind.fields if f.enum}
    numbers: dict[str, int] = {}
    for key, value in values.items():
        default = default_of(name, key)
        number = _enum_value(name, key, enums.get(key), value) if isinstance(value, str) else int(value)
        if number != default:
            numbers[key] = number
    return Instruction(name, {key: numbers[key] for key in _defaults(name) if key in numbers})


def _enum_value(instruction: str, name: str, enumeration: str | None, value: str) -> int:
    known = enum(enumeration) if enumeration else {}
    if value not in known:
        raise DeviceError(f"{instruction}: {name} is {value!r}, expected {' or '.join(known) or 'a number'}")
    return known[value]


def unit_of(instruction: Instruction) -> str:
    """The unit whose queue an instruction joins: load, compute, store, or fetch for FINISH."""
    unit = opcodes()[instruction.name].unit
    if unit != "any":
        return unit
    named = [name for name, value in enum("unit").items() if value == instruction["unit"]]
    if not named:
        known = ", ".join(enum("unit"))
        raise DeviceError(f"{instruction.name}: unit is {instruction['unit']}, expected one of {known}")
    return named[0]


def token_refusal(instruction: Instruction) -> str | None:
    """Why the token bits of an instruction are illegal, or None."""
    given = [bit for bit in TOKEN_BITS if instruction[bit]]
    if given and not opcodes()[instruction.name].tokens:
        return f"{given[0]} is set, and {instruction.name} carries no tokens"
    side = {"load": "prev", "store": "next"}.get(unit_of(instruction), "none")
    for bit in given:
        if bit.endswith(side):
            return f"{bit} is set, and {unit_of(instruction).upper()} has no such neighbour"
    return None


def encode(config: Config, instruction: Instruction) -> int:
    """The 128 bits of an instruction as a number; DeviceError when a value does not fit its field."""
    word = opcodes()[instruction.name].opcode
    for at, bit in enumerate(TOKEN_BITS):
        word |= (instruction[bit] & 1) << (4 + at)
    for entry, low, width in layout(config, instruction.name):
        value = instruction[entry.name]
        least, most = (-(1 << width - 1), (1 << width - 1) - 1) if entry.signed else (0, (1 << width) - 1)
        if not least <= value <= most:
            raise DeviceError(f"{instruction.name}: {entry.name} is {value}, expected {least} to {most}")
        word |= (value & ((1 << width) - 1)) << low
    return word


def decode(config: Config, word: int) -> Instruction:
    """The instruction that 128 bits mean; DeviceError for an unknown opcode or a reserved bit."""
    kind = {k.opcode: k for k in opcodes().values()}.get(word & 0xF)
    if kind is None:
        raise DeviceError(f"instruction {word:#034x}: opcode {word & 0xF} is unknown")
    values, end = {bit: word >> (4 + at) & 1 for at, bit in enumerate(TOKEN_BITS)}, HEADER_BITS
    for entry, low, width in layout(config, kind.name):
        value = word >> low & ((1 << width) - 1)
        values[entry.name] = value - (1 << width) if entry.signed and value >> (width - 1) else value
        end = low + width
    if word >> end:
        raise DeviceError(f"{kind.name}: bits from {end} upward are reserved, and {word >> end:#x} is there")
    return make(kind.name, **values)


def encode_uop(config: Config, dst: int, src: int, wgt: int) -> int:
    """A micro-op as a number of `config.uop_bits` bits."""
    widths, word, at = config.widths(), 0, 0
    for (name, width), value in zip(description()["uop"]["fields"], (dst, src, wgt), strict=True):
        if not 0 <= value < 1 << widths[width]:
            raise DeviceError(f"micro-op: {name} is {value}, expected 0 to {(1 << widths[width]) - 1}")
        word |= value << at
        at += widths[width]
    return word
