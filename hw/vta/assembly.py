"""Assembly text to instructions and back; printing and parsing are exact inverses.

One instruction per line: its name, then `field=value` for every field that is not the default, then the names of
the one-bit fields and token bits that are set. `#` starts a comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from heddle.core.errors import DeviceError
from heddle.hw.vta.isa import TOKEN_BITS, Instruction, enum, make, opcodes


def print_instruction(instruction: Instruction) -> str:
    """One line of assembly.

    >>> print_instruction(make("LOAD", mem="wgt", base=1, x=9, push_next=1))
    'LOAD mem=wgt base=1 x=9 push_next'
    """
    words = [instruction.name]
    for entry in opcodes()[instruction.name].fields:
        if (value := instruction[entry.name]) == entry.default and entry.enum is None:
            continue
        names = {v: k for k, v in enum(entry.enum).items()} if entry.enum else {}
        words.append(entry.name if entry.width == 1 else f"{entry.name}={names.get(value, value)}")
    return " ".join([*words, *(bit for bit in TOKEN_BITS if instruction[bit])])


def parse_instruction(line: str) -> Instruction:
    """The instruction of one line of assembly; DeviceError says what is wrong with it."""
    name, *words = line.split()
    kind = opcodes().get(name)
    if kind is None:
        raise DeviceError(f"{name}: unknown instruction, expected one of {', '.join(opcodes())}")
    flags = {f.name for f in kind.fields if f.width == 1} | set(TOKEN_BITS)
    values: dict[str, int | str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key in values:
            raise DeviceError(f"{name}: {key} is given twice")
        if not equals and key not in flags:
            raise DeviceError(f"{name}: {key} has no value, expected {key}=number")
        values[key] = _number(value) if equals else 1
    return make(name, **values)


def _number(text: str) -> int | str:
    try:
        return int(text, 0)
    except ValueError:
        return text


def disassemble(instructions: Iterable[Instruction]) -> str:
    """A program as text, one instruction per line."""
    return "".join(f"{print_instruction(instruction)}\n" for instruction in instructions)


def assemble(text: str) -> Sequence[Instruction]:
    """The program that a text means; DeviceError names the line."""
    program = []
    for number, line in enumerate(text.splitlines(), 1):
        if code := line.partition("#")[0].strip():
            try:
                program.append(parse_instruction(code))
            except DeviceError as error:
                raise DeviceError(f"line {number}: {error}") from None
    return program
