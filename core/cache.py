"""The cache of compiled objects on disk: by content, shared by processes, limited in size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heddle.core.errors import HeddleError
from heddle.core.files import home, write_whole

DEFAULT_LIMIT = 4 << 30
_SUFFIX = ".o"


@dataclass(frozen=True)
class Entry:
    """One stored object: its key, its bytes on disk, when it was last used (seconds since the epoch)."""

    key: str
    size: int
    used: float


def directory() -> Path:
    """Where objects are kept: `$HEDDLE_CACHE_DIR`, else `~/.cache/heddle/objects`."""
    chosen = os.environ.get("HEDDLE_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return home() / "objects"


def limit() -> int:
    """How many bytes the cache may hold: `$HEDDLE_CACHE_BYTES`, else 4 GiB."""
    return int(os.environ.get("HEDDLE_CACHE_BYTES") or DEFAULT_LIMIT)


def fetch(key: str) -> bytes | None:
    """The object of a key, or None; what is fetched counts as used now."""
    try:
        data = place(key).read_bytes()
    except OSError:
        return None
    touch(key)
    return data


def touch(key: str) -> None:
    """Count the object of a key as used now."""
    with contextlib.suppress(OSError):
        os.utime(place(key))


def store(key: str, data: bytes) -> None:
    """Keep an object. A cache that cannot be written to is no error: the object is compiled again next time."""
    path = place(key)
    with contextlib.suppress(OSError, HeddleError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


def entries() -> list[Entry]:
    """Everything that is stored, the least recently used first."""
    found = []
    for path in _files():
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append(Entry(path.stem, status.st_size, status.st_mtime))
    return sorted(found, key=lambda entry: (entry.used, entry.key))


def evict(most: int | None = None) -> int:
    """Remove the least recently used objects until at most `most` bytes are left (`limit()`); gives how many went."""
    stored = entries()
    excess = sum(entry.size for entry in stored) - (limit() if most is None else most)
    gone = 0
    for entry in stored:
        if excess <= 0:
            break
        place(entry.key).unlink(missing_ok=True)
        excess -= entry.size
        gone += 1
    return gone


def clean() -> int:
    """Remove everything; gives how many objects went."""
    return evict(-1) if entries() else 0


def place(key: str) -> Path:
    """The file of a key's object."""
    return directory() / key[:2] / f"{key}{_SUFFIX}"


def _files() -> Iterator[Path]:
    try:
        folders = sorted(directory().iterdir())
    except OSError:
        return
    for folder in folders:
        if folder.is_dir():
            yield from sorted(folder.glob(f"*{_SUFFIX}"))
