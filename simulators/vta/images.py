"""Programs and memory images from files, run on one of the three models: what `heddle sim` does with its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from heddle.core.errors import DeviceError
from heddle.hw.vta.assembly import assemble
from heddle.hw.vta.config import Config
from heddle.hw.vta.description import BASES, INSTRUCTION_BITS
from heddle.hw.vta.isa import Instruction, decode, encode
from heddle.simulators.vta.cycle import cycles
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.program import MAGIC, Binding, Program, Section, from_bytes
from heddle.simulators.vta.rtl import Memory, Rtl, Waves, build_rtl
from numpy.typing import NDArray

WORD = INSTRUCTION_BITS // 8
Sim = Literal["functional", "cycle", "rtl"]


@dataclass(frozen=True)
class Image:
    """Bytes for the memory, at an address."""

    address: int
    data: bytes


@dataclass(frozen=True)
class Scene:
    """What a run needs: the configuration, the sections, the memory, the base registers and the place of the code."""

    config: Config
    sections: Sequence[Section]
    memory: NDArray[np.uint8]
    bases: Sequence[int]
    code: int


def parse_address(text: str) -> int:
    """An address as `4096`, `0x1000` or `64k`; DeviceError for anything else."""
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(text[-1:].lower(), 1)
    try:
        return int(text[:-1] if factor > 1 else text, 0) * factor
    except ValueError:
        raise DeviceError(f"address {text!r}: expected a number such as 4096, 0x1000 or 64k") from None


def read_program(path: Path, config: Config) -> Program:
    """A program from a file: an accelerator artifact, raw 128-bit instructions, or assembly text.

    An artifact brings its own configuration; the others are for `config`.
    """
    data = path.read_bytes()
    if data.startswith(MAGIC):
        return from_bytes(data)
    instructions: Sequence[Instruction]
    if b"\0" in data:
        if len(data) % WORD:
            raise DeviceError(f"{path}: {len(data)} bytes, expected whole instructions of {WORD} bytes")
        words = [int.from_bytes(data[at : at + WORD], "little") for at in range(0, len(data), WORD)]
        instructions = [decode(config, word) for word in words]
    else:
        try:
            instructions = assemble(data.decode())
        except (UnicodeDecodeError, DeviceError) as error:
            raise DeviceError(f"{path}: {error}") from None
    return Program(config, [Section(path.stem, instructions)], [])


def encode_program(program: Program) -> bytes:
    """The instructions as raw words, section after section."""
    words = (encode(program.config, i) for section in program.sections for i in section.instructions)
    return b"".join(word.to_bytes(WORD, "little") for word in words)


def set_up(
    program: Program, images: Sequence[Image], bases: Mapping[int, int], size: int = 0, section: str | None = None
) -> Scene:
    """Lay out memory: the images where they shall lie, then the program's own image, then the code.

    `bases` gives base registers by number; those that the program binds to its image are set here. The memory has at
    least `size` bytes. `section` chooses one section by name.
    """
    chosen = [part for part in program.sections if section in (None, part.name)]
    if not chosen:
        names = ", ".join(part.name for part in program.sections)
        raise DeviceError(f"section {section}: unknown, expected one of {names}")
    end = max((image.address + len(image.data) for image in images), default=0)
    own = _page(end)
    code = _page(own + len(program.image))
    longest = max(len(part.instructions) for part in chosen)
    memory = np.zeros(max(size, code + longest * WORD + 4096), np.uint8)
    for image in (*images, Image(own, program.image)):
        memory[image.address : image.address + len(image.data)] = np.frombuffer(image.data, np.uint8)
    registers = [0] * BASES
    for number, binding in enumerate(program.bindings):
        registers[number] = own + binding.offset if binding.kind == "image" else _given(binding, number, bases)
    for number, address in bases.items():
        if not 0 <= number < BASES:
            raise DeviceError(f"base register {number}: expected 0 to {BASES - 1}")
        registers[number] = address
    return Scene(program.config, chosen, memory, registers, code)


def _given(binding: Binding, number: int, bases: Mapping[int, int]) -> int:
    if number not in bases:
        what = binding.name or f"{binding.kind} {binding.number}"
        raise DeviceError(f"base register {number}: holds {what} of the program; give its address")
    return bases[number]


def _page(address: int) -> int:
    return -(-address // 4096) * 4096


def run_scene(scene: Scene, sim: Sim, timing: Memory, waves: Path | None = None) -> Mapping[str, int]:
    """Run all sections; memory holds the result. The counters' sums, none of the functional model.

    The cycle model runs the functional one for the result. `waves` is a file for the waveforms (.vcd or .fst) of RTL.
    """
    total: dict[str, int] = {}
    if sim == "rtl":
        kind: Literal["fast", "trace"] = "trace" if waves else "fast"
        machine = Rtl(scene.config, build_rtl(scene.config, kind), scene.memory, timing)
        try:
            for section in scene.sections:
                shown = Waves(waves) if waves else None
                _add(total, machine.run(section.instructions, scene.code, scene.bases, waves=shown))
        finally:
            machine.close()
        return total
    for section in scene.sections:
        if sim == "cycle":
            report = cycles(section.instructions, scene.config, timing, data=scene.memory, bases=scene.bases)
            _add(total, report.counters)
        Functional(scene.config, scene.memory).run(section.instructions, scene.bases)
    return total


def _add(total: dict[str, int], counters: Mapping[str, int]) -> None:
    for name, value in counters.items():
        total[name] = total.get(name, 0) + value
