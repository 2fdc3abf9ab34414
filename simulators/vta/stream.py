"""A program made ready to run: sorted into queues, checked for form, each instruction with the registers it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import TOKEN_BITS, Instruction, encode, make, opcodes, token_refusal, unit_of
from heddle.simulators.vta.faults import FaultError

UNITS = ("load", "compute", "store")
REGISTERS = {name for name, kind in opcodes().items() if not kind.tokens and name != "FINISH"}
MEMORIES = ("inp", "wgt", "uop", "prm")
BASED = {name for name, kind in opcodes().items() if any(field.name == "base" for field in kind.fields)}


@dataclass(frozen=True, eq=False)
class Step:
    """One instruction that acts: its number, its fields, and the registers in force, by their instruction's name."""

    index: int
    unit: str
    name: str
    fields: Mapping[str, int]
    registers: Mapping[str, Instruction]

    def __getitem__(self, name: str) -> int:
        return self.fields[name]


@dataclass(frozen=True, eq=False)
class Stream:
    """A program sorted by unit: the steps of each queue, and where each instruction of the program goes."""

    program: Sequence[Instruction]
    steps: Mapping[str, Sequence[Step]]
    units: Sequence[str]


def read_stream(config: Config, program: Sequence[Instruction]) -> Stream:
    """The steps of each unit in order; FaultError for an instruction that the hardware would refuse."""
    units: list[str] = []
    sorted_: dict[str, list[Step]] = {unit: [] for unit in UNITS}
    registers: dict[str, dict[str, Instruction]] = {unit: {} for unit in UNITS}
    for index, instruction in enumerate(program):
        if instruction.name == "FINISH":
            if index + 1 < len(program):
                raise FaultError("illegal", index, "FINISH: instructions follow it, expected it last")
            return Stream(program, sorted_, units)
        if reason := refusal(config, instruction):
            raise FaultError("illegal", index, f"{instruction.name}: {reason}")
        unit = unit_of(instruction)
        units.append(unit)
        if instruction.name in REGISTERS:
            key = f"STRIDE{instruction['mem']}" if instruction.name == "STRIDE" else instruction.name
            registers[unit] = registers[unit] | {key: instruction}
            continue
        names = (f.name for f in opcodes()[instruction.name].fields)
        fields = {name: instruction[name] for name in (*names, *TOKEN_BITS)}
        sorted_[unit].append(Step(index, unit, instruction.name, fields, registers[unit]))
    raise FaultError("illegal", len(program), "the program ends without FINISH")


def check_bases(config: Config, program: Sequence[Instruction], bases: Sequence[int]) -> None:
    """FaultError at the first instruction whose base register holds no whole beat; one below zero is not known."""
    beat = config.beat_bytes
    if not any(base >= 0 and base % beat for base in bases):
        return
    for index, instruction in enumerate(program):
        number = instruction["base"] if instruction.name in BASED else len(bases)
        if number < len(bases) and bases[number] >= 0 and bases[number] % beat:
            text = f"base {number} holds {bases[number]}, expected whole beats of {beat} bytes"
            raise FaultError("alignment", index, f"{instruction.name}: {text}")


def refusal(config: Config, instruction: Instruction) -> str | None:
    """Why the hardware calls an instruction illegal whatever its surroundings, or None."""
    try:
        encode(config, instruction)
        if reason := token_refusal(instruction):
            return reason
    except DeviceError as error:
        return str(error).partition(": ")[2]
    counts = {"LOAD": "xyz", "STORE": "xyz", "GEMM": ("count", "n0", "n1", "n2"), "ALU": ("count", "n0", "n1", "n2")}
    for name in counts.get(instruction.name, ()):
        if instruction[name] == 0:
            return f"{name} is 0, expected at least 1"
    if instruction.name == "GEMM":
        if instruction["depthwise"] and not config.depthwise:
            return f"depthwise is set, and configuration {config.name} lacks that unit"
        if instruction["warm"] and not instruction["depthwise"]:
            return "warm is set without depthwise"
    if instruction.name == "ALU" and instruction["op"] == 7:
        return "op is 7, which is not an operation"
    if instruction.name == "STORE" and instruction["raw"] and instruction["residual"]:
        return "raw and residual are both set, and they exclude each other"
    return None


def register(step: Step, name: str) -> Instruction:
    """The register instruction in force for a step; all fields are zero before the first one."""
    return step.registers.get(name) or _zero(name)


def stride(step: Step) -> Instruction:
    """The STRIDE in force for a LOAD's memory."""
    return register(step, f"STRIDE{step['mem']}")


def _zero(name: str) -> Instruction:
    return make(name.rstrip("0123456789") or "PAD")
