"""Files that appear under their name when they are complete, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from heddle.core.errors import HeddleError


@contextmanager
def replacing(path: str | os.PathLike[str], error: type[HeddleError] = HeddleError) -> Iterator[IO[bytes]]:
    """A file to write and read, put in the place of `path` when the block ends well; `error` when that cannot be."""
    target = Path(path)
    try:
        with tempfile.NamedTemporaryFile("w+b", dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            try:
                yield file
                file.flush()
                os.chmod(file.name, 0o666 & ~_umask())
                os.replace(file.name, target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as failure:
        raise error(f"{target}: cannot be written: {failure.strerror or failure}") from failure


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file, text as UTF-8; HeddleError when that cannot be."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
