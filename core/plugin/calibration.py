"""Measured corrections of what backends estimate: a record that a command writes and that prices are read with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from heddle.core.errors import HeddleError
from heddle.core.plugin.backend import Cost


@dataclass(frozen=True)
class Correction:
    """What an estimate is multiplied by, and the seconds that starting a region takes, as measured."""

    scale: float
    launch: float

    def applied(self, cost: Cost) -> Cost:
        return Cost(cost.compute * self.scale, self.launch)


@dataclass(frozen=True)
class Sample:
    """One region: what its backend estimated for computing, and the seconds that it took."""

    backend: str
    region: str
    predicted: float
    measured: float


def location() -> Path:
    """Where the record lies: `$HEDDLE_CALIBRATION`, else `calibration.json` under the cache's folder."""
    chosen = os.environ.get("HEDDLE_CALIBRATION")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "heddle" / "calibration.json"


def refit(samples: Sequence[Sample]) -> dict[str, Correction]:
    """For each backend the correction with the least relative error over its samples; neither part is negative."""
    found = {}
    for backend in sorted({sample.backend for sample in samples}):
        own = [s for s in samples if s.backend == backend and s.measured > 0]
        if not own:
            continue
        weights = np.array([1 / s.measured for s in own])
        rows = np.array([[s.predicted, 1.0] for s in own]) * weights[:, None]
        wanted = np.ones(len(own))
        scale, launch = np.linalg.lstsq(rows, wanted, rcond=None)[0] if len(own) > 1 else (-1.0, 0.0)
        if scale <= 0 or launch < 0:
            scale, launch = float(np.median([s.measured / max(s.predicted, 1e-12) for s in own])), 0.0
        found[backend] = Correction(float(scale), float(launch))
    return found


def write_record(corrections: Mapping[str, Correction], path: Path | None = None) -> Path:
    """Write the record; later prices in this process and others are read with it."""
    where = location() if path is None else path
    where.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({name: asdict(found) for name, found in sorted(corrections.items())}, indent=2)
    where.write_text(text + "\n", encoding="utf-8")
    _read.cache_clear()
    return where


def corrections() -> Mapping[str, Correction]:
    """The corrections by backend; none where there is no record. HeddleError when the record is damaged."""
    return _read(location())


def digest() -> str:
    """What plans depend on beside model and options, in a few letters; empty where there is no record."""
    known = corrections()
    text = json.dumps({name: asdict(found) for name, found in sorted(known.items())})
    return hashlib.sha256(text.encode()).hexdigest()[:12] if known else ""


@cache
def _read(path: Path) -> Mapping[str, Correction]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    try:
        return {name: Correction(**fields) for name, fields in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise HeddleError(f"{path}: the calibration is damaged: {error}; run `heddle calibrate` again") from error
