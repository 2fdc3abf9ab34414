"""The page on cuDNN: its Python runs, and its options are those of the backend."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from heddle.backends.cudnn.backend import Cudnn
from heddle.backends.cudnn.chips import CHIPS
from heddle.core.plugin import list_options

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/backends/cudnn.md").read_text()


def test_the_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(code, "cudnn.md", "exec"), {})
    assert "Plan Conv" in capsys.readouterr().out


def test_the_options_are_those_of_the_backend() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `?(\w+)`? \|", PAGE, re.MULTILINE)
    assert rows == [
        (option.name, str(option.default).replace("False", "false")) for option in list_options(Cudnn.Options)
    ]
    assert all(f"`{name}`" in PAGE for name in CHIPS)
