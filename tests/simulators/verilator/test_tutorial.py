"""The page that brings a reader's own RTL to an ONNX operator does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "hardware" / "bring-your-own-rtl.md"


def test_the_blocks_of_the_page_run_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "tutorial"}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert "in stream into the design\nout stream out of the design\n" in capsys.readouterr().out
