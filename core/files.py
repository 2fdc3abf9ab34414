"""Files that appear under their name when they are complete, or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from heddle.core.errors import HeddleError


@contextmanager
def replacing(path: str | os.PathLike[str], error: type[HeddleError] = HeddleError) -> Iterator[IO[bytes]]:
    """A file to write and read, put in the place of `path` when the block ends well; `error` when that cannot be."""
    target = Path(path)
    growing = target.parent / f".{target.name}.{secrets.token_hex(8)}"
    try:
        # The mode of a new file is the umask's business: nothing else than creating it reads the umask safely.
        with open(os.open(growing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "w+b") as file:
            try:
                yield file
                file.flush()
                os.replace(growing, target)
            except BaseException:
                growing.unlink(missing_ok=True)
                raise
    except OSError as failure:
        raise error(f"{target}: cannot be written: {failure.strerror or failure}") from failure


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file, text as UTF-8; HeddleError when that cannot be."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def home() -> Path:
    """The folder of what is kept for a user from run to run: `heddle` in `$XDG_CACHE_HOME`, else in `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "heddle"
