"""The file of a compiled model: a zip of stored members, whose last bytes are the digest of all the others.

    manifest.json         what the model is and how it runs; refers to the others by digest
    code/<digest>         the code of an artifact
    weights.safetensors   each distinct constant once, at offsets that suit mapping the file into memory

The zip's comment is `heddle <version> sha256 <hex>`, the digest of every byte before the hex. The same executable
always gives the same bytes. Nothing in a file is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heddle.core.errors import ArtifactError, HeddleError
from heddle.core.files import replacing
from heddle.core.runtime import storage, weights
from heddle.core.runtime.course import Course
from heddle.core.runtime.manifest import decode, encode
from heddle.core.runtime.schedule import Schedule
from heddle.core.runtime.specs import Spec

VERSION = 2
"""The version of this format; a file of a newer one is refused."""

_SEAL = "heddle {version} sha256 "
_SEALED = re.compile(rb"heddle (\d{1,9}) sha256 ([0-9a-f]{64})\Z")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MANIFEST, _WEIGHTS = "manifest.json", "weights.safetensors"


@dataclass(frozen=True)
class Saved:
    """What a file holds: everything of an executable but its devices."""

    name: str
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    programs: tuple[Schedule | Course, ...]


def write_file(saved: Saved, path: str | os.PathLike[str]) -> None:
    """Write the file, whole or not at all: it appears under its name when it is complete."""
    codes: dict[str, bytes] = {}
    constants = weights.Pool()

    def keep_code(code: bytes) -> str:
        digest = hashlib.sha256(code).hexdigest()
        codes[digest] = code
        return digest

    manifest = encode(saved.name, saved.inputs, saved.outputs, saved.programs, keep_code, constants.add)
    text = json.dumps({"format": "heddle", "version": VERSION, **manifest}, indent=1, sort_keys=True).encode()
    with replacing(path, ArtifactError) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            _write(archive, _MANIFEST, [text])
            for digest in sorted(codes):
                _write(archive, f"code/{digest}", [codes[digest]])
            _write(archive, _WEIGHTS, constants.chunks(), constants.nbytes)
            archive.comment = _SEAL.format(version=VERSION).encode() + b"0" * 64
        _seal(file)


def read_file(path: str | os.PathLike[str]) -> Saved:
    """What a file holds, its weights mapped; ArtifactError when it is not a sound file of a version that is known."""
    target = Path(path)
    try:
        with open(target, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ArtifactError(f"{target}: the file is empty, not a compiled model")
            mapped = storage.Mapping(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ArtifactError(f"{target}: cannot be read: {error.strerror or error}") from error
    mapped = storage.once(_check_seal(target, mapped), mapped)
    try:
        members = _members(mapped)
        manifest = json.loads(bytes(members.pop(_MANIFEST)))
        arrays = weights.read(members.pop(_WEIGHTS), mapped)
        codes = {name.removeprefix("code/"): data for name, data in members.items()}
        name, inputs, outputs, programs = decode(manifest, codes, arrays)
    except HeddleError as error:
        error.add_note(f"while {target} was read")
        raise
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, zipfile.BadZipFile, RecursionError) as error:
        raise ArtifactError(
            f"{target}: the file's digest is right, its content makes no sense: {error!r}; compile the model again"
        ) from error
    return Saved(name, inputs, outputs, programs)


def is_compiled(path: str | os.PathLike[str]) -> bool:
    """Whether a file looks like a compiled model, by its last bytes."""
    size = len(_SEAL.format(version=VERSION)) + 64 + 16
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size))
            return _SEALED.search(file.read()) is not None
    except OSError:
        return False


def _write(archive: zipfile.ZipFile, name: str, chunks: Any, nbytes: int | None = None) -> None:
    """Store a member so that its data starts at a multiple of the alignment of constants."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3
    info.external_attr = 0o100644 << 16
    info.file_size = sum(map(len, chunks)) if nbytes is None else nbytes
    large = info.file_size * 1.05 > zipfile.ZIP64_LIMIT
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(name.encode()) + 4 + (20 if large else 0)
    padding = -start % storage.ALIGNMENT
    info.extra = (0xD935).to_bytes(2, "little") + padding.to_bytes(2, "little") + bytes(padding)
    with archive.open(info, "w") as member:
        for chunk in chunks:
            member.write(chunk)


def _seal(file: Any) -> None:
    file.flush()
    with mmap.mmap(file.fileno(), 0) as mapped:
        with memoryview(mapped) as view, view[:-64] as covered:
            digest = hashlib.sha256(covered).hexdigest()
        mapped[-64:] = digest.encode()


def _check_seal(path: Path, mapped: mmap.mmap) -> str:
    """The file's digest, when it is the one that its end tells; else ArtifactError."""
    found = _SEALED.search(mapped[-128:])
    if found is None:
        what = "a damaged file" if mapped[:4] == b"PK\3\4" else "not a compiled model"
        raise ArtifactError(f"{path}: this is {what}: the seal at its end is missing; compile the model again")
    version = int(found.group(1))
    if version > VERSION:
        raise ArtifactError(
            f"{path}: the file has format {version}, this Heddle reads up to {VERSION}; upgrade Heddle or compile again"
        )
    with memoryview(mapped) as view, view[:-64] as covered:
        digest = hashlib.sha256(covered).hexdigest()
    if digest.encode() != found.group(2):
        raise ArtifactError(f"{path}: the file is damaged: its content does not match its digest; compile it again")
    return digest


def _members(mapped: mmap.mmap) -> dict[str, memoryview]:
    """The data of each member by name, in place."""
    view = memoryview(mapped)
    members = {}
    with zipfile.ZipFile(_Reader(mapped)) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise ArtifactError(f"member {info.filename!r} is compressed, stored members are expected")
            header = info.header_offset
            lengths = (int.from_bytes(mapped[header + at : header + at + 2], "little") for at in (26, 28))
            start = header + 30 + sum(lengths)
            if start + info.file_size > len(mapped):
                raise ArtifactError(f"member {info.filename!r} lies beyond the end of the file")
            members[info.filename] = view[start : start + info.file_size]
    return members


class _Reader:
    """A mapped file as zipfile reads it, which leaves the mapping's own position and lifetime alone."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped, self._at = mapped, 0

    def read(self, count: int = -1) -> bytes:
        end = len(self._mapped) if count < 0 else self._at + count
        data = self._mapped[self._at : end]
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._mapped)}[whence]
        if base + offset < 0:
            raise OSError("a negative position in a file")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True
