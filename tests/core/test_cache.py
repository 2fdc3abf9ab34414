"""The cache of compiled objects: shared, limited, never an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from heddle.core import cache
from heddle.core.codegen.build import Unit, object_of
from heddle.core.codegen.target import x86_64


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEDDLE_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_what_is_stored_is_fetched() -> None:
    assert cache.fetch("ab12") is None
    cache.store("ab12", b"object")
    assert cache.fetch("ab12") == b"object"
    assert [(entry.key, entry.size) for entry in cache.entries()] == [("ab12", 6)]


def test_the_least_recently_used_goes_first() -> None:
    for age, key in enumerate(("new", "old", "older")):
        cache.store(key, bytes(100))
        path = next(cache.directory().glob(f"*/{key}.o"))
        os.utime(path, (1000 - age, 1000 - age))
    assert cache.evict(250) == 1
    assert [entry.key for entry in cache.entries()] == ["old", "new"]
    assert cache.fetch("old") is not None  # it is now the one used last
    assert cache.evict(100) == 1
    assert [entry.key for entry in cache.entries()] == ["old"]


def test_the_limit_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDDLE_CACHE_BYTES", "150")
    cache.store("one", bytes(100))
    cache.store("two", bytes(100))
    assert cache.evict() == 1
    assert cache.clean() == 1
    assert cache.entries() == []


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEDDLE_CACHE_DIR", str(tmp_path / "file"))
    cache.store("ab12", b"object")
    assert cache.fetch("ab12") is None
    assert cache.entries() == []


def test_equal_text_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    item = Unit("define i32 @answer() {\n  ret i32 42\n}\n")
    first = object_of(item, x86_64())
    monkeypatch.setattr("heddle.core.codegen.build.compile_text", lambda *_: pytest.fail("it was compiled again"))
    assert object_of(item, x86_64()) == first


WRITER = """
from heddle.core import cache
for i in range(200):
    cache.store(f"{i % 50:04}", bytes([NUMBER]) * 1000)
    found = cache.fetch(f"{(i * 7) % 50:04}")
    assert found is None or (len(set(found)) == 1 and len(found) == 1000)
"""


def test_several_processes_may_write_at_once() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER.replace("NUMBER", str(n))]) for n in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(cache.entries()) == 50
