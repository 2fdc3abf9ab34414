"""Corrections from measurements: for each part of an estimate the factor that fits the seconds of many regions best."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from heddle.core.plugin.calibration import BORDER, Correction

_PULL = 0.02
"""How strongly factors that few regions speak of are pulled to what holds of all."""

_ROUNDS = 10
"""So often the weights follow the predictions; they have settled by then."""

_FURTHEST = 10.0
"""By more than so many times off, a region has no more weight."""


@dataclass(frozen=True)
class Sample:
    """One region that was measured: the parts of its backend's estimate, and the seconds that it took."""

    backend: str
    region: str
    nodes: int
    parts: dict[str, float]
    measured: float

    @property
    def predicted(self) -> float:
        """What the backend estimated for computing."""
        return sum(seconds for part, seconds in self.parts.items() if part != BORDER)


@dataclass(frozen=True)
class Mixed:
    """A plan of several regions that was measured as a whole: its seconds, and those of its regions by themselves."""

    seconds: float
    alone: float
    regions: int


def dispatch_of(plans: Sequence[Mixed]) -> float:
    """What a region takes beside its computing where others are run as well, with the least relative error; or 0."""
    weights = [plan.regions / plan.seconds for plan in plans]
    excess = [(plan.seconds - plan.alone) / plan.seconds for plan in plans]
    total = sum(weight * weight for weight in weights)
    return max(0.0, sum(w * e for w, e in zip(weights, excess, strict=True)) / total) if total else 0.0


def refit(samples: Sequence[Sample]) -> dict[str, Correction]:
    """For each backend the correction with the least relative error over its samples; no factor is negative.

    Half of what was measured is as wrong as twice of it.
    """
    return {
        backend: _fitted([sample for sample in samples if sample.backend == backend and sample.measured > 0])
        for backend in sorted({sample.backend for sample in samples if sample.measured > 0})
    }


def _fitted(samples: Sequence[Sample]) -> Correction:
    parts = sorted({part for sample in samples for part in sample.parts})
    usual = statistics.median(sample.measured / max(sample.predicted, 1e-12) for sample in samples)
    least = min(sample.measured for sample in samples)
    measured = np.array([sample.measured for sample in samples])
    rows = np.array([[*(sample.parts.get(part, 0.0) * usual for part in parts), least] for sample in samples])
    pulls = _PULL * np.eye(len(parts) + 1)
    pulled = _PULL * np.array([*(float(part != BORDER) for part in parts), 0.0])
    predicted = measured
    for _ in range(_ROUNDS):
        # With these weights the squares of p - m are least where those of log(p / m) are.
        away = predicted - measured
        near = np.abs(away) < 1e-6 * measured
        slope = np.where(near, 1 / measured, np.log(predicted / measured) / np.where(near, 1.0, away))
        weights = np.sqrt(slope / predicted)
        factors = nnls(np.vstack([rows * weights[:, None], pulls]), np.concatenate([measured * weights, pulled]))[0]
        predicted = np.clip(rows @ factors, measured / _FURTHEST, measured * _FURTHEST)
    *factors, launch = factors
    scales = {part: float(factor) * usual for part, factor in zip(parts, factors, strict=True)}
    fitted = Correction(scales, float(launch) * least)
    errors = [abs((fitted.seconds(s.parts) + fitted.launch) / s.measured - 1) for s in samples]
    return Correction(fitted.scales, fitted.launch, statistics.median(errors))
