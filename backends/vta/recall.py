"""Remembers by content what was compiled before, beside the object cache: programs of regions, tilings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from heddle.backends.vta.convolution import Tiling
from heddle.core.codegen import cache as objects
from heddle.core.plugin import Region
from heddle.hw.vta.config import Config


@cache
def version() -> str:
    """The digest of this compiler's own source: another version of it recalls nothing."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


def region_key(config: Config, region: Region, chosen: Mapping[str, Tiling]) -> str:
    """The key of a region's program: everything that it is made from."""
    digest = hashlib.sha256(f"vta region {version()} {config.digest()} {region.name}\n{region.body}".encode())
    digest.update(repr(sorted(chosen.items(), key=lambda item: item[0])).encode())
    for value, array in region.body.constants.items():
        digest.update(f"{value.name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    for match in region.matches:
        digest.update(f"{match.pattern.name} {[value.name for value in match.outputs]}".encode())
    return digest.hexdigest()


def fetch_region(key: str) -> tuple[bytes, dict[str, Any]] | None:
    """The code of a region and what goes with it, or None when it is not known."""
    found = objects.fetch(key)
    if found is None:
        return None
    head, _, code = found.partition(b"\n")
    return code, json.loads(head)


def store_region(key: str, code: bytes, rest: dict[str, Any]) -> None:
    """Remember the code of a region and what goes with it, as JSON."""
    objects.store(key, json.dumps(rest).encode() + b"\n" + code)


def tiling_key(config: Config, shape: tuple[Any, ...]) -> str:
    """The key of the best tiling of a convolution of this shape."""
    return hashlib.sha256(f"vta tiling {version()} {config.digest()} {shape}".encode()).hexdigest()


def fetch_tiling(key: str) -> Tiling | None:
    """The tiling that was found best, or None when none was looked for."""
    found = objects.fetch(key)
    return None if found is None else Tiling(**json.loads(found))


def store_tiling(key: str, tiling: Tiling) -> None:
    """Remember the best tiling of a shape."""
    objects.store(key, json.dumps(asdict(tiling)).encode())
