"""The README's code does what the README says: its Python runs, its plugin computes, its commands run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import heddle

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(python|python plugin|bash)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [body for found, body in BLOCKS if found == kind]


def test_the_python_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    scope: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), scope)
    assert scope["exe"].plan == scope["again"].plan  # type: ignore[attr-defined] # what the code binds


def test_the_plugin_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (code,) = blocks("python plugin")
    (tmp_path / "acme.py").write_text(code)
    monkeypatch.setenv("HEDDLE_PLUGINS", str(tmp_path / "acme.py"))
    model = ROOT / "tests/models/mnist.onnx"
    image = np.random.default_rng(0).standard_normal((1, 1, 28, 28)).astype(np.float32)
    offloaded = heddle.compile(model, backends=["acme", "host"])
    assert "acme" in {region.backend for region in offloaded.plan.regions}
    (there,), (here,) = offloaded(image).values(), heddle.compile(model)(image).values()
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-4)
    assert len(code.splitlines()) <= 30


@pytest.mark.timeout(900)
def test_the_commands_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every `heddle` command of the README, in its order and in one folder, beside the plugin of the README."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "acme.py").write_text(blocks("python plugin")[0])
    monkeypatch.chdir(tmp_path)
    ran = 0
    for line in (line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()):
        if line == "export HEDDLE_PLUGINS=acme.py":
            monkeypatch.setenv("HEDDLE_PLUGINS", "acme.py")
        elif line.startswith("heddle "):
            done = subprocess.run(
                [sys.executable, "-m", *shlex.split(line)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}: {done.stdout}\n{done.stderr}"
            ran += 1
    assert ran >= 9


def test_the_scripts_exist() -> None:
    for script in re.findall(r"^bash (\S+)", "\n".join(blocks("bash")), re.MULTILINE):
        assert (ROOT / script).exists(), script
