"""What the accelerator's compiler makes and its device runs: instructions, images, the meaning of base registers."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from heddle.core.errors import ArtifactError, HeddleError
from heddle.hw.vta.config import Config
from heddle.hw.vta.description import BASES, INSTRUCTION_BITS, description
from heddle.hw.vta.isa import Instruction, decode, encode

MAGIC = b"HVTA"
FORMAT = 1
HEAD = struct.Struct("<4sHHI")
WORD = INSTRUCTION_BITS // 8

Kind = Literal["image", "constant", "input", "output", "workspace"]


@dataclass(frozen=True)
class Binding:
    """What a base register points to: the image, a constant by name, an input or output by number, or workspace.

    `offset` is in bytes from the start of that buffer.
    """

    kind: Kind
    name: str = ""
    number: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Section:
    """A piece of a program that runs from start to FINISH by itself; `name` is for profiles and mixed fidelity."""

    name: str
    instructions: Sequence[Instruction]


@dataclass(frozen=True)
class Program:
    """A compiled region: sections that run one after the other over the same buffers.

    `image` holds what the program brings along: micro-ops, parameters, weights that are not constants of the artifact.
    `bindings` has an entry per base register.
    """

    config: Config
    sections: Sequence[Section]
    bindings: Sequence[Binding]
    image: bytes = b""


def to_bytes(program: Program) -> bytes:
    """The program as an artifact's code; the same program gives the same bytes."""
    header = json.dumps(
        {
            "config": dataclasses.asdict(program.config),
            "isa": description()["version"],
            "sections": [[section.name, len(section.instructions)] for section in program.sections],
            "bindings": [dataclasses.asdict(binding) for binding in program.bindings],
            "image": len(program.image),
        },
        sort_keys=True,
    ).encode()
    words = (encode(program.config, i) for section in program.sections for i in section.instructions)
    code = b"".join(word.to_bytes(WORD, "little") for word in words)
    return HEAD.pack(MAGIC, FORMAT, 0, len(header)) + header + code + program.image


def from_bytes(data: bytes) -> Program:
    """The program that bytes hold; ArtifactError when they are damaged or made for another version."""
    try:
        magic, version, _, length = HEAD.unpack_from(data)
        if magic != MAGIC or version != FORMAT:
            raise ArtifactError(
                f"accelerator program: starts with {magic!r} version {version}, expected {MAGIC!r} version {FORMAT}"
            )
        header = json.loads(data[HEAD.size : HEAD.size + length])
        return _read(header, data[HEAD.size + length :])
    except ArtifactError:
        raise
    except (HeddleError, ValueError, KeyError, TypeError, struct.error) as error:
        raise ArtifactError(f"accelerator program: damaged ({error})") from error


def _read(header: dict[str, Any], rest: bytes) -> Program:
    if header["isa"] != description()["version"]:
        raise ArtifactError(
            f"accelerator program: made for version {header['isa']} of the instruction set, expected "
            f"{description()['version']}; compile it again"
        )
    config = Config(**header["config"])
    count = sum(number for _, number in header["sections"])
    if len(rest) != count * WORD + header["image"]:
        raise ArtifactError(
            f"accelerator program: {len(rest)} bytes of code and image, expected {count * WORD + header['image']}"
        )
    words = [int.from_bytes(rest[at : at + WORD], "little") for at in range(0, count * WORD, WORD)]
    sections, at = [], 0
    for name, number in header["sections"]:
        sections.append(Section(name, tuple(decode(config, word) for word in words[at : at + number])))
        at += number
    bindings = tuple(Binding(**values) for values in header["bindings"])
    if len(bindings) > BASES:
        raise ArtifactError(f"accelerator program: {len(bindings)} base registers, expected at most {BASES}")
    return Program(config, tuple(sections), bindings, rest[count * WORD :])
