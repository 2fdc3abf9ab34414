"""Compiled regions and tilings are recalled by content, and only by content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from heddle.backends.vta import Vta, VtaOptions, backend, recall, search
from heddle.core.plugin import Region

import heddle
from benchmarks.models import build
from tests.backends.vta.regions import accelerated


@pytest.fixture
def region() -> Region:
    return accelerated(heddle.plan(build("mlp_int8"), backends=["vta", "host"]))[0]


def test_a_region_is_compiled_once(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDDLE_CACHE_DIR", str(tmp_path))
    first = Vta().compile(region)
    monkeypatch.setattr(backend, "translate", lambda *_: pytest.fail("compiled twice"))
    again = Vta().compile(region)
    assert (again.code, again.meta, again.workspace) == (first.code, first.meta, first.workspace)
    assert again.signature == first.signature


def test_other_weights_or_configurations_are_other_programs(region: Region) -> None:
    key = recall.region_key(Vta().config, region, {})
    assert recall.region_key(Vta(VtaOptions("small")).config, region, {}) != key
    value, array = next((v, a) for v, a in region.body.constants.items() if a.dtype == np.int8 and a.ndim == 2)
    changed = array.copy()
    changed[-1, -1] ^= 1
    body = replace(region.body, constants={**region.body.constants, value: changed})
    assert recall.region_key(Vta().config, replace(region, body=body), {}) != key


def test_tilings_are_searched_once(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDDLE_CACHE_DIR", str(tmp_path))
    search._best.cache_clear()
    first = backend.translate(Vta().config, region, {})
    search._best.cache_clear()
    monkeypatch.setattr(search, "tilings", lambda *_: pytest.fail("searched twice"))
    assert backend.translate(Vta().config, region, {}) == first
    search._best.cache_clear()
