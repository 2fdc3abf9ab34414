"""The array is kept busy: the hand-assembled layer of benchmarks/vta_layer.py reaches 95% with everything counted."""

from __future__ import annotations

import runpy
from pathlib import Path

from heddle.hw.vta.config import load_config

LAYER = runpy.run_path(str(Path(__file__).resolve().parents[3] / "benchmarks" / "vta_layer.py"))


def test_a_layer_keeps_the_array_busy() -> None:
    counters, _ = LAYER["measure"](load_config("reference"), latency=100)
    assert counters["compute_gemm"] == 56 * 56 * 64 * 64 * 9 // 256
    assert counters["compute_gemm"] / counters["cycles"] >= 0.95
