"""The linker against the system's own loader."""

from __future__ import annotations

import ctypes
import struct

import pytest
from heddle.core.codegen.build import compile_text
from heddle.core.codegen.elf import link, read, undefined
from heddle.core.codegen.relocate import Place, relocate
from heddle.core.codegen.target import aarch64, x86_64
from heddle.core.errors import BackendError
from heddle.core.runtime.loader import load_shared

CALLER = """
declare hidden i64 @twice(i64)
define i64 @run(i64 %x) nounwind {
  %y = call i64 @twice(i64 %x)
  %z = add i64 %y, 1
  ret i64 %z
}
"""

DATA = """
@table = internal constant [4 x i64] [i64 10, i64 20, i64 30, i64 40], align 64
@count = internal global i64 5
@zeros = internal global [100 x i64] zeroinitializer
@addresses = internal global [2 x ptr] [ptr @table, ptr @count]
define i64 @twice(i64 %x) nounwind {
  %slot = getelementptr [2 x ptr], ptr @addresses, i64 0, i64 0
  %base = load volatile ptr, ptr %slot
  %place = getelementptr i64, ptr %base, i64 %x
  %value = load i64, ptr %place
  %old = load i64, ptr @count
  %new = add i64 %old, 1
  store i64 %new, ptr @count
  %zero = getelementptr [100 x i64], ptr @zeros, i64 0, i64 %x
  %nothing = load i64, ptr %zero
  %sum = add i64 %value, %new
  %all = add i64 %sum, %nothing
  ret i64 %all
}
"""


def test_objects_are_linked_with_their_data() -> None:
    code = link([read(compile_text(text, x86_64())) for text in (CALLER, DATA)], ["run"])
    run = load_shared(code, "test").run
    run.restype, run.argtypes = ctypes.c_int64, [ctypes.c_int64]
    assert [run(0), run(3), run(3)] == [10 + 6 + 1, 40 + 7 + 1, 40 + 8 + 1]


def test_what_nothing_defines_is_named() -> None:
    item = read(compile_text(CALLER, x86_64()))
    assert undefined([item]) == ["twice"]
    with pytest.raises(BackendError, match=r"^link: the code calls twice, which nothing defines$"):
        link([item], ["run"])


def test_an_export_that_is_not_there_is_named() -> None:
    item = read(compile_text(DATA, x86_64()))
    with pytest.raises(BackendError, match=r"^link: walk is to be exported, and nothing defines it$"):
        link([item], ["walk"])


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(BackendError, match="no 64-bit little-endian ELF object"):
        read(b"MZ" + bytes(100))


@pytest.mark.parametrize(
    ("kind", "word", "symbol", "patched"),
    [
        (275, 0x90000000, 0x3456, 0xD0000000),  # adrp x0: two pages on
        (277, 0x91000000, 0x3456, 0x91115800),  # add x0, x0, #0x456
        (286, 0xFD400000, 0x3458, 0xFD422C00),  # ldr d0, [x0, #0x458]
        (299, 0x3DC00000, 0x3460, 0x3DC11800),  # ldr q0, [x0, #0x460]
        (283, 0x94000000, 0x2000, 0x94000400),  # bl 0x1000 on
        (282, 0x14000000, 0x0FFC, 0x17FFFFFF),  # b to the instruction before
    ],
)
def test_instructions_of_aarch64_are_patched(kind: int, word: int, symbol: int, patched: int) -> None:
    image = bytearray(0x1004)
    struct.pack_into("<I", image, 0x1000, word)
    relocate(image, 183, Place(0x1000, kind, symbol, 0, 0))
    assert struct.unpack_from("<I", image, 0x1000) == (patched,)


def test_code_for_another_machine_is_linked() -> None:
    code = link([read(compile_text(text, aarch64())) for text in (CALLER, DATA)], ["run", "twice"])
    assert struct.unpack_from("<H", code, 18) == (183,)
    assert b"\0run\0twice\0" in code


def test_several_exports_are_found() -> None:
    library = load_shared(link([read(compile_text(t, x86_64())) for t in (CALLER, DATA)], ["run", "twice"]), "test")
    library.twice.restype, library.twice.argtypes = ctypes.c_int64, [ctypes.c_int64]
    assert library.twice(1) == 20 + 6
