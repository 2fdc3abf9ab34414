"""What each kind of ELF relocation writes, for x86-64 and AArch64."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from heddle.core.errors import BackendError

ABSOLUTE = {62: 1, 183: 257}
"""By machine: the relocation that stores a full address, which the loader adjusts (R_X86_64_64, R_AARCH64_ABS64)."""

_PAGE_SCALE = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}
"""AArch64's low-12-bit relocations (ADD, LDST8 ... LDST128): by how much the offset is scaled."""


@dataclass(frozen=True)
class Place:
    """A relocation with everything known: where (`at`), its kind, the symbol's address, the addend, its table slot."""

    at: int
    kind: int
    symbol: int
    addend: int
    slot: int


def relocate(image: bytearray, machine: int, place: Place) -> None:
    """Patch one place; BackendError for a kind that is not known."""
    (_x86_64 if machine == 62 else _aarch64)(image, place)


def _x86_64(image: bytearray, p: Place) -> None:
    target = p.symbol + p.addend
    if p.kind == 1:  # R_X86_64_64
        struct.pack_into("<Q", image, p.at, target)
    elif p.kind in (2, 4):  # PC32, PLT32
        struct.pack_into("<i", image, p.at, target - p.at)
    elif p.kind == 24:  # PC64
        struct.pack_into("<q", image, p.at, target - p.at)
    elif p.kind in (9, 41, 42):  # GOTPCREL and its relaxable forms
        struct.pack_into("<i", image, p.at, p.slot + p.addend - p.at)
    else:
        raise BackendError(f"link: x86-64 relocation {p.kind} is not supported")


def _aarch64(image: bytearray, p: Place) -> None:
    target = p.symbol + p.addend
    (word,) = struct.unpack_from("<I", image, p.at)
    if p.kind == 257:  # ABS64
        struct.pack_into("<Q", image, p.at, target)
    elif p.kind == 260:  # PREL64
        struct.pack_into("<q", image, p.at, target - p.at)
    elif p.kind == 261:  # PREL32
        struct.pack_into("<i", image, p.at, target - p.at)
    elif p.kind in (282, 283):  # JUMP26, CALL26
        struct.pack_into("<I", image, p.at, word & 0xFC000000 | (target - p.at >> 2) & 0x3FFFFFF)
    elif p.kind in (275, 311):  # ADR_PREL_PG_HI21, ADR_GOT_PAGE
        aim = target if p.kind == 275 else p.slot
        pages = (aim >> 12) - (p.at >> 12)
        struct.pack_into("<I", image, p.at, word & 0x9F00001F | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5)
    elif p.kind in _PAGE_SCALE:
        low = (target & 0xFFF) >> _PAGE_SCALE[p.kind]
        struct.pack_into("<I", image, p.at, word & ~(0xFFF << 10) | low << 10)
    elif p.kind == 312:  # LD64_GOT_LO12_NC
        struct.pack_into("<I", image, p.at, word & ~(0xFFF << 10) | (p.slot & 0xFFF) >> 3 << 10)
    else:
        raise BackendError(f"link: AArch64 relocation {p.kind} is not supported")
