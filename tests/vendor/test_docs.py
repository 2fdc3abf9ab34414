"""Every block of the vendor's pages runs, in the page's order, in one shell and one folder a page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [page for page in sorted((ROOT / "docs" / "vendor").glob("*.md")) if "```" in page.read_text()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs(page, tmp_path):
    shutil.copy(ROOT / "tests" / "models" / "rfb320.onnx", tmp_path)
    script = ["set -e", f'heddle() {{ "{sys.executable}" -m heddle "$@"; }}']
    for number, (language, text) in enumerate(re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.M | re.S)):
        if language == "python":
            (tmp_path / f"block{number}.py").write_text(text)
            text = f'"{sys.executable}" block{number}.py'
        script.append(text)
    ran = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
