"""What the RTL counts for each layer: it sums to the whole, and is near what the cycle model predicts."""

from __future__ import annotations

import pytest
from heddle.backends.vta import Vta
from heddle.backends.vta.counted import counted
from heddle.backends.vta.timeline import timeline

import heddle
from tests.backends.vta.regions import accelerated, random_inputs, run
from tests.backends.vta.test_joins import fire


def test_layers_are_counted_by_the_hardware() -> None:
    (region,) = accelerated(heddle.plan(fire((64, 48), alike=False), backends=["vta", "host"]))
    artifact = Vta().compile(region)
    layers, predicted = counted(artifact), timeline(artifact)
    _, counters = run(artifact, random_inputs(region), sim="rtl")
    assert [layer.name for layer in layers] == [layer.name for layer in predicted]
    assert sum(layer.cycles for layer in layers) == pytest.approx(counters["cycles"], rel=0.01)
    assert sum(layer.gemm for layer in layers) == counters["compute_gemm"]
    assert [layer.gemm for layer in layers] == [layer.gemm for layer in predicted]
    assert sum(layer.written_bytes for layer in layers) == counters["write_beats"] * 16
    assert [layer.written_bytes for layer in layers] == [layer.written_bytes for layer in predicted]
    for layer, other in zip(layers, predicted, strict=True):
        assert layer.cycles == pytest.approx(other.cycles, abs=600), layer.name
