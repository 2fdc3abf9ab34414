"""The command line in a process of its own, for commands that pin their process to a core."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture
def cli():
    """Runs `heddle` with these arguments; gives what it printed."""

    def run(*arguments: object, code: int = 0) -> str:
        words = [sys.executable, "-m", "heddle", *map(str, arguments)]
        env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
        ran = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout

    return run
