"""Regions that were compiled before, by content: whoever names its recipe gets their artifacts from the cache."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from heddle.core import cache as objects
from heddle.core.errors import ArtifactError
from heddle.core.plugin.backend import Backend, Region
from heddle.core.runtime.artifact import Artifact, Port
from heddle.core.runtime.file import Saved, read_file, write_file
from heddle.core.runtime.schedule import Schedule, Step, TensorSpec

WORTH = 0.2
"""Seconds of the processor: what is compiled in less is not kept."""

SHARE = 0.5
"""An artifact whose constants take more than this part of the cache is not kept."""


@cache
def source_digest(*packages: str) -> str:
    """The digest of the source of these packages and all below them: another version of a compiler recalls nothing."""
    digest = hashlib.sha256()
    for package in packages:
        for path, source in sorted(_sources(files(package), package)):
            digest.update(f"{path} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def recalled(backend: Backend, region: Region, make: Callable[[], Artifact]) -> Artifact:
    """The artifact of a region: from the cache when the same was compiled before, else made, and kept if worth it."""
    key = _key(backend, region)
    if key is None:
        return make()
    path = objects.place(key)
    with contextlib.suppress(ArtifactError):
        (program,) = read_file(path).programs
        if isinstance(program, Schedule):
            objects.touch(key)
            return program.steps[0].artifact
    start = time.process_time()
    artifact = make()
    size = sum(array.nbytes for array in artifact.constants.values())
    if time.process_time() - start >= WORTH and size <= SHARE * objects.limit():
        _writer().submit(_keep, _saved(region, artifact), path)
    return artifact


def settle() -> None:
    """Wait until everything that is to be kept has been written; a process that ends does so anyway."""
    _writer().submit(int).result()


@cache
def _writer() -> ThreadPoolExecutor:
    """What writes beside the compiler's work: some models have hundreds of megabytes."""
    return ThreadPoolExecutor(1, "heddle recall")


def _keep(saved: Saved, path: Path) -> None:
    """Write an artifact. A cache that cannot be written to is no error: the region is compiled again next time."""
    with contextlib.suppress(ArtifactError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(saved, path)
        objects.evict()


def _key(backend: Backend, region: Region) -> str | None:
    """A digest of everything that an artifact is made from, or None when the backend or the region has none."""
    recipe = backend.recipe
    if recipe is None or any(array.dtype.kind == "O" for array in region.body.constants.values()):
        return None
    head = (backend.name, recipe, region.name, str(region.body))
    digest = hashlib.sha256("\0".join(head).encode())
    for match in region.matches:
        digest.update(f"\0{match.pattern.name} {[value.name for value in match.outputs]}".encode())
    for value, array in region.body.constants.items():
        digest.update(f"\0{value.name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _saved(region: Region, artifact: Artifact) -> Saved:
    """The artifact as a model of one step, so that one format and one check of damage serve both."""
    inputs, outputs = _specs(artifact.signature.inputs), _specs(artifact.signature.outputs)
    names, results = tuple(spec.name for spec in inputs), tuple(spec.name for spec in outputs)
    schedule = Schedule(inputs, outputs, results, (Step(region.name, artifact, names, results),))
    return Saved(region.name, inputs, outputs, (schedule,))


def _specs(ports: Iterable[Port]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(port.name, port.dtype, port.shape) for port in ports)


def _sources(folder: Traversable, name: str) -> Iterable[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{name}/{entry.name}")
        elif entry.name.endswith((".py", ".toml")):
            yield f"{name}/{entry.name}", entry.read_bytes()
