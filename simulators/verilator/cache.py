"""A folder of built things by digest: each is made once, appears whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from heddle.core.files import home
from heddle.simulators.verilator.errors import RtlBuildError

_MANIFEST = "manifest.json"


def cache_root() -> Path:
    """`$HEDDLE_CACHE_DIR`, else `heddle` in the user's cache folder."""
    chosen = os.environ.get("HEDDLE_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return home()


def digest_of(*parts: str | bytes) -> str:
    """A name for what `parts` determine; their order and their bounds count."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()


def obtain(kind: str, digest: str, make: Callable[[Path], None]) -> Path:
    """The folder `kind/digest` of the cache; where it is missing or damaged, `make(folder)` fills a new one.

    Of several processes or threads that want it at once one makes it and the others wait. What an interrupted maker
    left behind is removed by the next one.
    """
    shelf = cache_root() / kind
    entry = shelf / digest
    if _sound(entry):
        return entry
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        with _locked(shelf / f".{digest}.lock"):
            if _sound(entry):
                return entry
            for stale in (entry, *shelf.glob(f".{digest}.part-*")):
                shutil.rmtree(stale, ignore_errors=True)
            _make(entry, make)
    except OSError as problem:
        raise _explained(problem, shelf) from problem
    return entry


def _make(entry: Path, make: Callable[[Path], None]) -> None:
    part = Path(tempfile.mkdtemp(prefix=f".{entry.name}.part-", dir=entry.parent))
    try:
        make(part)
        files = sorted(path for path in part.rglob("*") if path.is_file())
        manifest = {path.relative_to(part).as_posix(): _file_digest(path) for path in files}
        (part / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        part.rename(entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sound(entry: Path) -> bool:
    """Whether an entry holds exactly the bytes that were put there."""
    try:
        manifest = json.loads((entry / _MANIFEST).read_text())
        return bool(manifest) and all(_file_digest(entry / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError):
        return False


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # the kernel drops the lock when its holder dies, so a killed build blocks nobody
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _explained(problem: OSError, shelf: Path) -> RtlBuildError:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        fact = "no space left"
    elif problem.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        fact = "not writable"
    else:
        fact = str(problem)
    return RtlBuildError(f"cache {shelf}: {fact}; free or repair it, or set HEDDLE_CACHE_DIR to another folder")
