"""A linker in pure Python: relocatable ELF objects in, one shared object that `dlopen` accepts out."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heddle.core.codegen.relocate import ABSOLUTE, Place, relocate
from heddle.core.errors import BackendError

X86_64, AARCH64 = 62, 183
_PAGE = {X86_64: 4096, AARCH64: 65536}
_RELATIVE = {X86_64: 8, AARCH64: 1027}  # R_X86_64_RELATIVE, R_AARCH64_RELATIVE
_SEGMENTS, _MOST_ENTRIES = 5, 10
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


@dataclass(frozen=True)
class _Tables:
    """Where the tables lie that the loader reads, from the start of the file; `end` is behind them."""

    hash: int
    symbols: int
    strings: int
    relocations: int
    end: int


@dataclass(frozen=True)
class _Arrangement:
    """Where sections lie, the three segments (read, run, write), and what else the last one holds."""

    address: Mapping[tuple[int, int], int]
    spans: tuple[tuple[int, int], ...]
    dynamic: int
    slots: Mapping[str, int]
    end: int


def link(objects: Sequence[Object], exports: Sequence[str], soname: str = "heddle.so") -> bytes:
    """One shared object with all that the objects hold; `exports` are the names that `dlsym` finds.

    Symbols resolve among the objects; one that stays undefined is a BackendError, so that what is loaded needs nothing.
    """
    missing = undefined(objects)
    if missing:
        raise BackendError(f"link: the code calls {', '.join(missing)}, which nothing defines")
    machine = objects[0].machine
    if machine not in _PAGE:
        raise BackendError(f"link: ELF machine {machine} is not supported, x86-64 and AArch64 are")
    every = [(number, r) for number, item in enumerate(objects) for r in item.relocations]
    slots = sorted({_target(objects[number], r) for number, r in every if _needs_slot(machine, r.kind)})
    relative = sum(r.kind == ABSOLUTE[machine] for _, r in every) + len(slots)
    names = _Strings()
    export_names = [names.add(name) for name in exports]
    soname_at = names.add(soname)
    tables = _tables(len(exports) + 1, len(names.data), relative)
    arranged = _arrange(objects, tables.end, _PAGE[machine], slots)
    found = _addresses(objects, arranged.address)
    for name in exports:
        if name not in found:
            raise BackendError(f"link: {name} is to be exported, and nothing defines it")

    image = bytearray(arranged.end)
    for (number, index), at in arranged.address.items():
        contents = objects[number].sections[index].data
        if contents is not None:
            image[at : at + len(contents)] = contents
    adjusted = _relocated(image, objects, arranged, found)
    for i, (at, value) in enumerate(adjusted):
        _RELOCATION.pack_into(image, tables.relocations + _RELOCATION.size * i, at, _RELATIVE[machine], value)
    image[tables.strings : tables.strings + len(names.data)] = names.data
    _write_symbols(image, tables, [(at, found[name]) for at, name in zip(export_names, exports, strict=True)])
    entries = [(14, soname_at), (4, tables.hash), (5, tables.strings), (6, tables.symbols)]
    entries += [(10, len(names.data)), (11, _SYMBOL.size)]
    if relative:
        entries += [(7, tables.relocations), (8, _RELOCATION.size * relative), (9, _RELOCATION.size)]
    for i, entry in enumerate([*entries, (0, 0)]):
        _DYNAMIC.pack_into(image, arranged.dynamic + _DYNAMIC.size * i, *entry)
    _write_header(image, objects[0], arranged, _DYNAMIC.size * (len(entries) + 1))
    return bytes(image)


def _tables(symbols: int, strings: int, relocations: int) -> _Tables:
    hash_at = _align(_HEADER.size + _SEGMENT.size * _SEGMENTS, 8)
    symbols_at = _align(hash_at + 4 * (3 + symbols), 8)
    strings_at = symbols_at + _SYMBOL.size * symbols
    relocations_at = _align(strings_at + strings, 8)
    return _Tables(hash_at, symbols_at, strings_at, relocations_at, relocations_at + _RELOCATION.size * relocations)


def _arrange(objects: Sequence[Object], start: int, page: int, slots: Sequence[str]) -> _Arrangement:
    address: dict[tuple[int, int], int] = {}
    spans: list[tuple[int, int]] = []
    end = start
    dynamic = table = 0
    for wanted in (0, _EXECUTE, _WRITE):
        begin = 0 if wanted == 0 else _align(end, page)
        end = end if wanted == 0 else begin
        if wanted == _WRITE:
            dynamic, end = end, end + _DYNAMIC.size * _MOST_ENTRIES
            table, end = end, end + 8 * len(slots)
        for number, item in enumerate(objects):
            for index, section in item.sections.items():
                if section.flags == wanted:
                    end = _align(end, section.align)
                    address[number, index] = end
                    end += section.size
        spans.append((begin, end))
    return _Arrangement(address, tuple(spans), dynamic, {name: table + 8 * i for i, name in enumerate(slots)}, end)


def _relocated(
    image: bytearray, objects: Sequence[Object], arranged: _Arrangement, found: Mapping[str, int]
) -> list[tuple[int, int]]:
    """Resolve every reference; gives the places of full addresses, which the loader is to adjust, and their values."""
    adjusted = []
    for name, at in arranged.slots.items():
        struct.pack_into("<Q", image, at, found[name])
        adjusted.append((at, found[name]))
    for number, item in enumerate(objects):
        for r in item.relocations:
            symbol = item.symbols[r.symbol]
            if symbol.local and symbol.section is not None:
                value = arranged.address[number, symbol.section] + symbol.value
            else:
                value = found[symbol.name]
            at = arranged.address[number, r.section] + r.offset
            relocate(image, item.machine, Place(at, r.kind, value, r.addend, arranged.slots.get(symbol.name, 0)))
            if r.kind == ABSOLUTE[item.machine]:
                adjusted.append((at, value + r.addend))
    return adjusted


def _write_symbols(image: bytearray, tables: _Tables, exports: Sequence[tuple[int, int]]) -> None:
    """The exported functions, by the place of their name and their address, and a hash table of one chain."""
    for i, (name, address) in enumerate(exports):
        # STB_GLOBAL, STT_FUNC; any section number that is not 0 says "defined".
        _SYMBOL.pack_into(image, tables.symbols + _SYMBOL.size * (i + 1), name, 0x12, 0, 1, address, 0)
    count = len(exports) + 1
    struct.pack_into("<III", image, tables.hash, 1, count, 1 if exports else 0)
    for i in range(count):
        struct.pack_into("<I", image, tables.hash + 12 + 4 * i, i + 1 if 0 < i < count - 1 else 0)


def _write_header(image: bytearray, first: Object, arranged: _Arrangement, dynamic_size: int) -> None:
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    sizes = (64, _SEGMENT.size, _SEGMENTS, 64, 0, 0)
    _HEADER.pack_into(image, 0, identity, 3, first.machine, 1, 0, 64, 0, first.flags, *sizes)
    page = _PAGE[first.machine]
    headers = [
        (1, flags, start, start, start, stop - start, stop - start, page)
        for (start, stop), flags in zip(arranged.spans, (4, 5, 6), strict=True)
    ]
    at = arranged.dynamic
    headers.append((2, 6, at, at, at, dynamic_size, dynamic_size, 8))
    headers.append((0x6474E551, 6, 0, 0, 0, 0, 0, 16))  # PT_GNU_STACK: the stack is not executable
    for i, header in enumerate(headers):
        _SEGMENT.pack_into(image, _HEADER.size + _SEGMENT.size * i, *header)


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
