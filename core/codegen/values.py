"""Types and constants of LLVM IR as values; a type with one lane is a scalar, so one code serves every width."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

FLOATS = {"half": 16, "bfloat": 16, "float": 32, "double": 64}


@dataclass(frozen=True)
class Type:
    """A scalar of LLVM, or a vector of `lanes` of them."""

    scalar: str
    lanes: int = 1

    def __str__(self) -> str:
        return self.scalar if self.lanes == 1 else f"<{self.lanes} x {self.scalar}>"

    @property
    def floating(self) -> bool:
        return self.scalar in FLOATS

    @property
    def bits(self) -> int:
        """Bits of one lane."""
        return FLOATS.get(self.scalar) or (64 if self.scalar == "ptr" else int(self.scalar[1:]))

    @property
    def suffix(self) -> str:
        """The type as overloaded intrinsics spell it: `v16f32`."""
        kind = {"bfloat": "bf16", "ptr": "p0"}.get(self.scalar) or ("f" if self.floating else "i") + str(self.bits)
        return kind if self.lanes == 1 else f"v{self.lanes}{kind}"

    def of(self, lanes: int) -> Type:
        """The same scalar in so many lanes."""
        return Type(self.scalar, lanes)

    def like(self, scalar: str) -> Type:
        """Another scalar in the same lanes."""
        return Type(scalar, self.lanes)


PTR, I1, I8, I16, I32, I64 = (Type(name) for name in ("ptr", "i1", "i8", "i16", "i32", "i64"))
F16, BF16, F32, F64 = (Type(name) for name in ("half", "bfloat", "float", "double"))


@dataclass(frozen=True)
class Value:
    """A register or a constant, with its type."""

    text: str
    type: Type

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


Index = int | Value


def constant(value: float, type: Type) -> Value:
    """A number, in every lane."""
    if type.floating:
        text = _hexadecimal(value, type.scalar)
    elif type.scalar == "i1":
        text = "true" if value else "false"
    else:
        text = str(int(value))
    return Value(text if type.lanes == 1 else f"splat ({type.scalar} {text})", type)


def vector(values: Sequence[float], scalar: Type) -> Value:
    """A vector constant lane by lane; one value gives a scalar."""
    if len(values) == 1:
        return constant(values[0], scalar)
    lanes = ", ".join(str(constant(value, scalar)) for value in values)
    return Value(f"<{lanes}>", scalar.of(len(values)))


def prefix_mask(count: int, lanes: int) -> Value:
    """A constant mask whose first `count` lanes are set."""
    return vector([lane < count for lane in range(lanes)], I1)


def _hexadecimal(value: float, scalar: str) -> str:
    if scalar == "half":
        return f"0xH{struct.unpack('<H', struct.pack('<e', value))[0]:04X}"
    single = struct.unpack("<I", struct.pack("<f", value))[0] if math.isfinite(value) or scalar != "double" else 0
    if scalar == "bfloat":
        rounded = (single + 0x7FFF + (single >> 16 & 1)) >> 16 if math.isfinite(value) else single >> 16
        return f"0xR{rounded:04X}"
    wide = struct.unpack("<f", struct.pack("<f", value))[0] if scalar == "float" else value
    return f"0x{struct.unpack('<Q', struct.pack('<d', wide))[0]:016X}"
