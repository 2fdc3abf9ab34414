"""The cache of builds: made once, whole or not at all, whoever else builds, whatever is interrupted."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from heddle.simulators.verilator.cache import obtain
from heddle.simulators.verilator.errors import RtlBuildError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEDDLE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make(folder: Path) -> None:
    (folder / "made").write_text(str(time.monotonic_ns()))


SLOW = """
import time
from heddle.simulators.verilator.cache import obtain
def make(folder):
    (folder / "made").write_text("half")
    print("started", flush=True)
    time.sleep(60)
obtain("kind", "digest", make)
"""


def test_it_is_made_once() -> None:
    assert obtain("kind", "a", make) == obtain("kind", "a", pytest.fail)
    assert obtain("kind", "b", make) != obtain("kind", "a", pytest.fail)


def test_of_many_that_want_it_one_makes_it(root: Path) -> None:
    calls: list[Path] = []

    def slow(folder: Path) -> None:
        calls.append(folder)
        time.sleep(0.2)
        make(folder)

    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(lambda _: obtain("kind", "a", slow), range(8)))
    assert len(calls) == 1
    assert set(entries) == {root / "kind" / "a"}


def test_a_killed_maker_blocks_nobody_and_leaves_nothing(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE) as victim:
        assert victim.stdout
        assert victim.stdout.readline() == b"started\n"
        assert list(root.glob("kind/.digest.part-*/made"))
        victim.kill()
    obtain("kind", "digest", make)
    assert [path.name for path in sorted((root / "kind").iterdir())] == [".digest.lock", "digest"]


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest"])
def test_a_damaged_entry_is_made_again(damage: str) -> None:
    entry = obtain("kind", "a", make)
    before = (entry / "made").read_text()
    match damage:
        case "truncate":
            (entry / "made").write_text("")
        case "remove":
            (entry / "made").unlink()
        case "manifest":
            (entry / "manifest.json").write_text("{")
    assert (obtain("kind", "a", make) / "made").read_text() not in ("", before)


def test_a_maker_that_fails_leaves_nothing(root: Path) -> None:
    def fail(folder: Path) -> None:
        make(folder)
        raise RtlBuildError("no")

    with pytest.raises(RtlBuildError, match=r"^no$"):
        obtain("kind", "a", fail)
    assert [path.name for path in (root / "kind").iterdir()] == [".a.lock"]


def test_a_full_disk_is_explained(root: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RtlBuildError) as caught:
        obtain("kind", "a", full)
    assert str(caught.value) == (
        f"cache {root / 'kind'}: no space left; free or repair it, or set HEDDLE_CACHE_DIR to another folder"
    )


def test_a_cache_that_cannot_be_written_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEDDLE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(RtlBuildError, match=r"set HEDDLE_CACHE_DIR to another folder$"):
        obtain("kind", "a", make)
