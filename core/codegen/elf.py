"""A linker in pure Python: relocatable ELF objects in, one shared object that `dlopen` accepts out."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heddle.core.codegen.relocate import ABSOLUTE, Place, relocate
from heddle.core.errors import BackendError

X86_64, AARCH64 = 62, 183
_PAGE = {X86_64: 4096, AARCH64: 65536}
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_SYMTAB, _RELA, _NOBITS = 2, 4, 8
_KEPT = (1, 8, 14, 15)  # PROGBITS, NOBITS, INIT_ARRAY, FINI_ARRAY
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<QQ")


@dataclass(frozen=True)
class Section:
    """A piece of memory of the result; `data` is None where it starts as zeros."""

    flags: int
    align: int
    size: int
    data: bytes | None


@dataclass(frozen=True)
class Symbol:
    """A name and where it lies: in a section of its object (None: defined elsewhere)."""

    name: str
    section: int | None
    value: int
    size: int
    local: bool


@dataclass(frozen=True)
class Relocation:
    """A place in a section that wants the address of a symbol."""

    section: int
    offset: int
    kind: int
    symbol: int
    addend: int


@dataclass(frozen=True)
class Object:
    """One relocatable file, read."""

    machine: int
    flags: int
    sections: Mapping[int, Section]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]


def read(data: bytes) -> Object:
    """Read a 64-bit little-endian relocatable object; BackendError when it is something else."""
    if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 16) != (1,):
        raise BackendError("link: the code generator gave no 64-bit little-endian ELF object")
    header = _HEADER.unpack_from(data)
    table = [_SECTION.unpack_from(data, header[6] + _SECTION.size * i) for i in range(header[12])]
    names = table[header[13]]
    sections: dict[int, Section] = {}
    symbols: tuple[Symbol, ...] = ()
    for number, (name, kind, flags, _, offset, size, _link, _info, align, _) in enumerate(table):
        if kind == _SYMTAB:
            symbols = _symbols(data, table[number], table[_link])
        if flags & _ALLOC and size and kind in _KEPT and _string(data, names, name) != ".eh_frame":
            contents = None if kind == _NOBITS else data[offset : offset + size]
            sections[number] = Section(flags & (_WRITE | _EXECUTE), max(align, 1), size, contents)
    relocations = []
    for _, kind, _, _, offset, size, _, target, _, _ in table:
        if kind == _RELA and target in sections:
            for at in range(offset, offset + size, _RELOCATION.size):
                place, info, addend = _RELOCATION.unpack_from(data, at)
                relocations.append(Relocation(target, place, info & 0xFFFFFFFF, info >> 32, addend))
    return Object(header[2], header[7], sections, symbols, tuple(relocations))


def _symbols(data: bytes, table: Sequence[int], strings: Sequence[int]) -> tuple[Symbol, ...]:
    found = []
    for at in range(table[4], table[4] + table[5], _SYMBOL.size):
        name, info, _, section, value, size = _SYMBOL.unpack_from(data, at)
        where = None if section == 0 else section
        found.append(Symbol(_string(data, strings, name), where, value, size, info >> 4 == 0))
    return tuple(found)


def _string(data: bytes, table: Sequence[int], offset: int) -> str:
    start = table[4] + offset
    return data[start : data.index(b"\0", start)].decode()


def undefined(objects: Sequence[Object]) -> list[str]:
    """The names that some object uses and none defines, sorted."""
    defined = {symbol.name for item in objects for symbol in item.symbols if symbol.section is not None}
    wanted = {symbol.name for item in objects for symbol in item.symbols if symbol.section is None and symbol.name}
    return sorted(wanted - defined)


def link(objects: Sequence[Object], exports: Sequence[str], soname: str = "heddle.so") -> bytes:
    """One shared object with all that the objects hold; `exports` are the names that `dlsym` finds.

    Symbols resolve among the objects; one that stays undefined is a BackendError, so that what is loaded needs nothing.
    """
    missing = undefined(objects)
    if missing:
        raise BackendError(f"link: the code calls {', '.join(missing)}, which nothing defines")
    machine = objects[0].machine
    page = _PAGE.get(machine)
    if page is None:
        raise BackendError(f"link: ELF machine {machine} is not supported, x86-64 and AArch64 are")
    absolute = sum(r.kind == ABSOLUTE[machine] for item in objects for r in item.relocations)
    slots = sorted({_target(item, r) for item in objects for r in item.relocations if _needs_slot(machine, r.kind)})
    names = _Strings()
    export_names = [names.add(name) for name in exports]
    soname_at = names.add(soname)
    count = len(exports) + 1

    segments = 5
    hash_at = _align(_HEADER.size + _SEGMENT.size * segments, 8)
    symbols_at = _align(hash_at + 4 * (3 + count), 8)
    strings_at = symbols_at + _SYMBOL.size * count
    rela_at = _align(strings_at + len(names.data), 8)
    relative = absolute + len(slots)
    end = rela_at + _RELOCATION.size * relative

    address: dict[tuple[int, int], int] = {}
    spans: list[tuple[int, int]] = []
    dynamic_at = got_at = 0
    for group, wanted in enumerate((0, _EXECUTE, _WRITE)):
        start = 0 if group == 0 else _align(end, page)
        end = end if group == 0 else start
        if wanted == _WRITE:
            dynamic_at, end = end, end + _DYNAMIC.size * 11
            got_at, end = end, end + 8 * len(slots)
        for number, item in enumerate(objects):
            for index, section in item.sections.items():
                if section.flags & (_WRITE | _EXECUTE) == wanted:
                    end = _align(end, section.align)
                    address[number, index] = end
                    end += section.size
        spans.append((start, end))

    image = bytearray(end)
    for (number, index), at in address.items():
        contents = objects[number].sections[index].data
        if contents is not None:
            image[at : at + len(contents)] = contents
    found = _addresses(objects, address)
    slot_at = {name: got_at + 8 * i for i, name in enumerate(slots)}
    dynamic_relocations = []
    for name, at in slot_at.items():
        struct.pack_into("<Q", image, at, found[name])
        dynamic_relocations.append((at, found[name]))
    for number, item in enumerate(objects):
        for r in item.relocations:
            symbol = item.symbols[r.symbol]
            local = symbol.local and symbol.section is not None
            value = address[number, symbol.section or 0] + symbol.value if local else found[symbol.name]
            at = address[number, r.section] + r.offset
            slot = slot_at.get(_target(item, r), 0)
            relocate(image, machine, Place(at, r.kind, value, r.addend, slot))
            if r.kind == ABSOLUTE[machine]:
                dynamic_relocations.append((at, value + r.addend))

    for i, (at, value) in enumerate(dynamic_relocations):
        kind = 8 if machine == X86_64 else 1027  # R_X86_64_RELATIVE, R_AARCH64_RELATIVE
        _RELOCATION.pack_into(image, rela_at + _RELOCATION.size * i, at, kind, value)
    image[strings_at : strings_at + len(names.data)] = names.data
    for i, (name, at) in enumerate(zip(exports, export_names, strict=True)):
        if name not in found:
            raise BackendError(f"link: {name} is to be exported, and nothing defines it")
        # STB_GLOBAL, STT_FUNC; any section number that is not 0 says "defined".
        _SYMBOL.pack_into(image, symbols_at + _SYMBOL.size * (i + 1), at, 0x12, 0, 1, found[name], 0)
    # One bucket: a chain of all symbols.
    struct.pack_into("<III", image, hash_at, 1, count, 1 if exports else 0)
    for i in range(count):
        struct.pack_into("<I", image, hash_at + 12 + 4 * i, i + 1 if 0 < i < count - 1 else 0)
    entries = [(14, soname_at), (4, hash_at), (5, strings_at), (6, symbols_at), (10, len(names.data)), (11, 24)]
    if relative:
        entries += [(7, rela_at), (8, _RELOCATION.size * relative), (9, _RELOCATION.size)]
    for i, entry in enumerate([*entries, (0, 0)]):
        _DYNAMIC.pack_into(image, dynamic_at + _DYNAMIC.size * i, *entry)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    _HEADER.pack_into(image, 0, identity, 3, machine, 1, 0, 64, 0, objects[0].flags, 64, 56, segments, 64, 0, 0)
    headers = [
        (1, flags, start, start, start, stop - start, stop - start, page)
        for (start, stop), flags in zip(spans, (4, 5, 6), strict=True)
    ]
    length = _DYNAMIC.size * (len(entries) + 1)
    headers.append((2, 6, dynamic_at, dynamic_at, dynamic_at, length, length, 8))
    headers.append((0x6474E551, 6, 0, 0, 0, 0, 0, 16))  # PT_GNU_STACK: the stack is not executable
    for i, header in enumerate(headers):
        _SEGMENT.pack_into(image, _HEADER.size + _SEGMENT.size * i, *header)
    return bytes(image)


def _target(item: Object, relocation: Relocation) -> str:
    return item.symbols[relocation.symbol].name


def _needs_slot(machine: int, kind: int) -> bool:
    """Whether a relocation reads the symbol's address from the global offset table."""
    return kind in ((9, 41, 42) if machine == X86_64 else (311, 312))


def _addresses(objects: Sequence[Object], address: Mapping[tuple[int, int], int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, item in enumerate(objects):
        for symbol in item.symbols:
            if symbol.section is None or symbol.local or symbol.section >= 0xFF00:
                continue
            if symbol.name in found:
                raise BackendError(f"link: {symbol.name} is defined twice")
            found[symbol.name] = address[number, symbol.section] + symbol.value
    return found


class _Strings:
    """A string table that grows."""

    def __init__(self) -> None:
        self.data = b"\0"

    def add(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def _align(value: int, to: int) -> int:
    return (value + to - 1) // to * to
