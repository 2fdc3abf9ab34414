"""Whole models on the accelerator: the same integers from every model of it, and from the second implementation."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.backends.vta import Vta
from heddle.backends.vta.timeline import timeline
from heddle.core.plugin import Region
from heddle.core.runtime.artifact import Artifact

import heddle
from benchmarks.models import build
from tests.backends.vta.regions import accelerated, differences, macs_on_device, random_inputs, replay, run


@pytest.fixture(scope="module", params=["resnet18_int8", "resnet18_int8s"])
def resnet(request: pytest.FixtureRequest) -> tuple[Region, Artifact]:
    plan = heddle.plan(build(request.param), backends=["vta", "host"])
    assert macs_on_device(plan) == 1.0
    (region,) = accelerated(plan)
    return region, Vta().compile(region)


def test_resnet_has_the_same_integers_everywhere(resnet: tuple[Region, Artifact]) -> None:
    region, artifact = resnet
    inputs = random_inputs(region)
    expected = replay(Vta().config, region, inputs)
    for sim in ("functional", "cycle"):
        found, _ = run(artifact, inputs, sim=sim)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_resnet_layers_are_within_a_quantum_of_the_reference(resnet: tuple[Region, Artifact]) -> None:
    region, _ = resnet
    found = differences(Vta().config, region, random_inputs(region))
    assert max(layer.most for layer in found) <= 1
    assert sum(layer.differing for layer in found) <= 1e-4 * sum(layer.elements for layer in found)


def test_resnet_convolutions_keep_the_array_busy(resnet: tuple[Region, Artifact]) -> None:
    region, artifact = resnet
    layers = timeline(artifact)
    _, counters = run(artifact, random_inputs(region), sim="cycle")
    # Where buffers lie moves a few bursts.
    assert sum(layer.cycles for layer in layers) == pytest.approx(counters["cycles"], rel=1e-4)
    assert sum(layer.gemm for layer in layers) == counters["compute_gemm"]
    assert sum(layer.read_bytes for layer in layers) <= counters["read_beats"] * 16
    assert sum(layer.written_bytes for layer in layers) == counters["write_beats"] * 16
    small = [layer for layer in layers[1:] if layer.kernel in ((3, 3), (1, 1))]
    convolutions = [layer for layer in small if not any("Gemm" in node for node in layer.nodes)]
    assert sum(layer.macs for layer in convolutions) == 1_695_547_392
    assert sum(layer.cycles for layer in convolutions) <= 6_950_000


@pytest.mark.long
def test_resnet_on_the_rtl(resnet: tuple[Region, Artifact]) -> None:
    region, artifact = resnet
    inputs = random_inputs(region)
    found, _ = run(artifact, inputs, sim="rtl")
    for mine, theirs in zip(found, replay(Vta().config, region, inputs), strict=True):
        np.testing.assert_array_equal(mine, theirs)
