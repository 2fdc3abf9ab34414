"""The page on processors: its commands run, its table names the targets, its refusals are what a user reads."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from heddle.backends.llvm.host import HostOptions
from heddle.core.runtime import cpu
from typer.testing import CliRunner

import heddle
from heddle.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/cpu/targets.md").read_text()
RUNNER = CliRunner()


def test_the_commands_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        result = RUNNER.invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
    if cpu.machine() == "x86_64":
        with pytest.raises(heddle.HeddleError) as error:
            heddle.load("arm.heddle")
        assert "host: the code is for aarch64, this machine is x86_64; compile the model here" in PAGE
        assert str(error.value).endswith("the code is for aarch64, this machine is x86_64; compile the model here")


def test_the_table_names_the_targets() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE)
    assert tuple(rows) == get_args(get_type_hints(HostOptions)["target"])
