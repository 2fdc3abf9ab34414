"""A backend that names its recipe compiles a region once; whatever changes its meaning compiles it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heddle.core import cache
from heddle.core.ir import Graph
from heddle.core.plugin import Backend, Region, compile_region, recall
from heddle.core.runtime.artifact import Artifact

Read = Callable[..., Graph]


@pytest.fixture(autouse=True)
def everything_is_worth_keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDDLE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(recall, "WORTH", 0.0)


class Counting(Backend):
    """Doubles its constants, and counts how often it was asked to."""

    name = "b"

    def __init__(self, recipe: str | None) -> None:
        super().__init__()
        self._recipe, self.compiled = recipe, 0

    @property
    def recipe(self) -> str | None:
        return self._recipe

    def compile(self, region: Region) -> Artifact:
        self.compiled += 1
        doubled = {value.name: array * 2 for value, array in region.body.constants.items()}
        return Artifact("b", "d", region.signature, b"code", doubled, 64, {"n": 1}, ("node",))


@pytest.fixture
def region(read_graph: Read) -> Region:
    return Region("b.0", "b", body_of(read_graph, np.arange(6, dtype=np.float32)))


def body_of(read_graph: Read, weights: Any, op: str = "Add") -> Graph:
    text = f"graph (%x: float32[6]) -> (%r) {{ const %w: float32[6]\n %r: float32[6] = {op}(%x, %w) }}"
    return read_graph(text, w=weights)


def artifacts(*asked: tuple[Backend, Region]) -> list[Artifact]:
    made = []
    for backend, region in asked:
        made.append(compile_region(backend, region).artifact)
        recall.settle()
    return made


def test_the_second_compile_is_recalled_as_it_was(region: Region) -> None:
    backend = Counting("v1")
    first, second = artifacts((backend, region), (Counting("v1"), region))
    assert backend.compiled == 1
    assert second.constants["w"].tobytes() == first.constants["w"].tobytes()
    assert replace(second, constants={}) == replace(first, constants={})


def test_no_recipe_keeps_nothing(region: Region) -> None:
    backend = Counting(None)
    artifacts((backend, region), (backend, region))
    assert backend.compiled == 2
    assert cache.entries() == []


def test_another_recipe_constant_operator_or_name_is_another_artifact(read_graph: Read, region: Region) -> None:
    artifacts((Counting("v1"), region))
    weights = np.arange(6, dtype=np.float32)
    weights[5] = 7
    for recipe, other in (
        ("v2", region),
        ("v1", replace(region, body=body_of(read_graph, weights))),
        ("v1", replace(region, body=body_of(read_graph, np.arange(6, dtype=np.float32), "Mul"))),
        ("v1", replace(region, name="b.1")),
    ):
        backend = Counting(recipe)
        artifacts((backend, other))
        assert backend.compiled == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:200] + b"?" + data[201:]])
def test_a_damaged_entry_is_compiled_again(region: Region, damage: Callable[[bytes], bytes]) -> None:
    artifacts((Counting("v1"), region))
    (path,) = cache.directory().glob("*/*.o")
    path.write_bytes(damage(path.read_bytes()))
    backend = Counting("v1")
    (again,) = artifacts((backend, region))
    assert backend.compiled == 1
    assert again.constants["w"].tolist() == [0, 2, 4, 6, 8, 10]


def test_what_is_quick_or_large_is_not_kept(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "WORTH", 1e9)
    artifacts((Counting("v1"), region))
    assert cache.entries() == []
    monkeypatch.setattr(recall, "WORTH", 0.0)
    monkeypatch.setenv("HEDDLE_CACHE_BYTES", "40")
    artifacts((Counting("v1"), region))
    assert cache.entries() == []


def test_a_cache_that_cannot_be_written_is_no_error(region: Region, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEDDLE_CACHE_DIR", str(tmp_path / "file"))
        (artifact,) = artifacts((Counting("v1"), region))
    assert artifact.code == b"code"


def test_the_digest_of_sources_covers_every_file_below() -> None:
    assert recall.source_digest("heddle.core") != recall.source_digest("heddle.core.plugin")
    assert recall.source_digest("heddle.core.plugin") == recall.source_digest.__wrapped__("heddle.core.plugin")
