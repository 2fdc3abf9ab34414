"""Remembers the best tiling of a convolution beside the object cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from heddle.backends.vta.convolution import Tiling
from heddle.core import cache as objects
from heddle.core.plugin.recall import source_digest
from heddle.hw.vta.config import Config


def version() -> str:
    """The digest of the compiler and of the models that it is guided by: another version recalls nothing."""
    return source_digest("heddle.core", "heddle.backends.vta", "heddle.hw", "heddle.simulators.vta")


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
