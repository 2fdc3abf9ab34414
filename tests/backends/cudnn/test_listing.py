"""What the command line says of the backend where there is no GPU."""

from __future__ import annotations

import json

import pytest
from heddle.core.errors import UnavailableError
from heddle.core.runtime.devices import open_device
from typer.testing import CliRunner

from heddle.cli import app


def said(*words: str) -> dict[str, object]:
    found = CliRunner().invoke(app, [*words, "--json"])
    assert found.exit_code == 0, found.output
    return dict(json.loads(found.output))


def without_a_gpu() -> None:
    """Skip where there is one."""
    try:
        open_device("cudnn").close()
    except UnavailableError:
        return
    pytest.skip("this machine has a GPU")


@pytest.mark.parametrize("command", ["list", "doctor"])
def test_a_missing_gpu_is_no_failure(command: str) -> None:
    """The backend compiles all the same, and is marked for what has not been shown of it."""
    without_a_gpu()
    found = said("plugins", command)
    (backend,) = (one for one in found["backends"] if one["name"] == "cudnn")  # type: ignore[attr-defined]  # JSON
    assert backend["ok"]
    assert backend["experimental"] == "its programs have not yet run on a GPU"
    assert "install NVIDIA's driver on a machine with a GPU" in found["unavailable"]["cudnn"]  # type: ignore[index]
    assert "cudnn" in found["devices"] if command == "list" else "cudnn" not in found["devices"]  # type: ignore[operator]
