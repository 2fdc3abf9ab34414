"""Compiled regions and tilings are recalled by content, and only by content."""

from __future__ import annotations

from pathlib import Path

import pytest
from heddle.backends.vta import Vta, VtaOptions, backend, search
from heddle.core.plugin import Region, compile_region, recall

import heddle
from benchmarks.models import build
from tests.backends.vta.regions import accelerated


@pytest.fixture
def region() -> Region:
    return accelerated(heddle.plan(build("mlp_int8"), backends=["vta", "host"]))[0]


def test_a_region_is_compiled_once(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDDLE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(recall, "WORTH", 0.0)
    first = compile_region(Vta(), region).artifact
    recall.settle()
    monkeypatch.setattr(backend, "translate", lambda *_: pytest.fail("compiled twice"))
    assert compile_region(Vta(), region).artifact == first


def test_another_configuration_is_another_recipe() -> None:
    assert Vta(VtaOptions("small")).recipe != Vta().recipe
    assert Vta(VtaOptions("reference")).recipe == Vta().recipe


def test_tilings_are_searched_once(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDDLE_CACHE_DIR", str(tmp_path))
    search._best.cache_clear()
    first = backend.translate(Vta().config, region, {})
    search._best.cache_clear()
    monkeypatch.setattr(search, "tilings", lambda *_: pytest.fail("searched twice"))
    assert backend.translate(Vta().config, region, {}) == first
    search._best.cache_clear()
