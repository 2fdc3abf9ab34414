"""Functional model and RTL agree bit for bit on random programs, under random latency and back-pressure."""

from __future__ import annotations

from pathlib import Path

import pytest
from heddle.hw.vta.config import config_names, load_config
from heddle.hw.vta.sources import rtl_sources
from heddle.simulators.verilator import build
from heddle.simulators.vta.lockstep import campaign, compare
from heddle.simulators.vta.rtl import build_rtl, rtl_spec

CONFIGS = ("reference", "small", "tall", "tiny", "wide")


@pytest.mark.parametrize("name", CONFIGS)
def test_random_programs_agree(name: str) -> None:
    config = load_config(name)
    model = build_rtl(config)
    assert [found for seed in range(60) if (found := compare(config, model, seed))] == []


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_ten_thousand_random_programs_agree() -> None:
    assert list(campaign(config_names(), 10_000, first=1000)) == []


def test_a_difference_is_reported_with_its_instruction_and_cycle(tmp_path: Path) -> None:
    sources = []
    for path in rtl_sources():
        text = path.read_text()
        if path.name == "vta_drain.sv":
            assert "quant.z1}, quant.lo1" in text
            text = text.replace("quant.z1}, quant.lo1", "quant.z1} + 1, quant.lo1")
        sources.append(tmp_path / path.name)
        sources[-1].write_text(text)
    config = load_config("tiny")
    found = compare(config, build(rtl_spec(config, sources)), seed=3)
    assert found is not None
    assert found.instruction.startswith("instruction ")
    assert " STORE " in found.instruction
    assert found.cycle > 0
