"""The command line, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import heddle
from heddle.cli import app

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "tests" / "models" / "mnist.onnx"
NULL = ROOT / "examples" / "null_backend.py"


def run(*arguments: object, code: int = 0, plugins: object = NULL, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `heddle` with the null backend at hand; its exit code must be `code`."""
    ran = subprocess.run(
        [sys.executable, "-m", "heddle", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HEDDLE_PLUGINS": str(plugins), "COLUMNS": "200", "NO_COLOR": "1", **env},
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A compiled file, and what the command said about it."""
    path = tmp_path_factory.mktemp("cli") / "mnist.heddle"
    said = run("compile", MNIST, "-o", path, "--backends", "null", "--json").stdout
    return path, json.loads(said)


def test_version_and_help():
    assert run("--version").stdout == f"heddle {version('heddle')}\n"
    text = run("--help").stdout
    for command in ("compile", "run", "explain", "plugins", "cache", "demo"):
        assert command in text
    for command in (["compile"], ["run"], ["explain"], ["plugins", "list"], ["plugins", "doctor"], ["cache", "list"]):
        shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).stdout
        assert f"heddle {' '.join(command)}" in shown.split("Example")[1]
    assert "complete" in run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout


def test_compile_tells_what_it_wrote(compiled):
    path, said = compiled
    assert said["file"] == str(path)
    assert said["bytes"] == path.stat().st_size
    assert [region["backend"] for region in said["plan"]["regions"]] == ["null"]
    assert heddle.load.__module__.startswith("heddle.core.runtime")


def test_run_reads_and_writes_arrays(compiled, tmp_path):
    path, _ = compiled
    np.savez(tmp_path / "x.npz", Input3=np.ones((1, 1, 28, 28), np.float32))
    run("run", path, "--inputs", tmp_path / "x.npz", "--outputs", tmp_path / "y.npz")
    with np.load(tmp_path / "y.npz") as outputs:
        assert outputs["Plus214_Output_0"].tolist() == [[0.0] * 10]


def test_run_repeats_and_profiles(compiled, tmp_path):
    path, _ = compiled
    said = json.loads(run("run", path, "--random", "--repeat", 3, "--profile", tmp_path / "t.json", "--json").stdout)
    assert said["runs"] == 3
    assert said["least_seconds"] <= said["median_seconds"]
    assert said["outputs"]["Plus214_Output_0"] == {
        "dtype": "float32", "shape": [1, 10], "min": 0.0, "max": 0.0, "mean": 0.0,
    }  # fmt: skip
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == 3


def test_run_compiles_a_model():
    assert "Plus214_Output_0  float32[1,10]" in run("run", MNIST, "--random", "--backends", "null").stdout


def test_explain(tmp_path):
    assert "9 nodes on null" in run("explain", MNIST, "--backends", "null").stdout
    said = json.loads(run("explain", MNIST, "--backends", "null", "--json").stdout)
    assert [len(region["nodes"]) for region in said["plan"]["regions"]] == [9]
    run("explain", MNIST, "--backends", "null", "--report", tmp_path / "plan.html")
    assert "Convolution28" in (tmp_path / "plan.html").read_text()


def test_plugins():
    assert "HEDDLE_PLUGINS" in run("plugins", "list").stdout
    said = json.loads(run("plugins", "list", "--json").stdout)
    assert {"host", "null"} <= {backend["name"] for backend in said["backends"]}
    assert "host" in said["devices"]


def test_doctor_finds_what_is_broken(tmp_path):
    (tmp_path / "broken.py").write_text("import a_module_that_is_not_there\n")
    ran = run("plugins", "doctor", plugins=tmp_path / "broken.py", code=1)
    assert "broken: ModuleNotFoundError: No module named 'a_module_that_is_not_there'" in ran.stdout
    assert "Traceback" in ran.stdout
    said = json.loads(run("plugins", "doctor", "--json", plugins=tmp_path / "broken.py", code=1).stdout)
    assert [backend["ok"] for backend in said["backends"] if backend["name"] == "broken"] == [False]


def test_cache(tmp_path):
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "abcdef.o").write_bytes(b"12345")
    said = json.loads(run("cache", "list", "--json", HEDDLE_CACHE_DIR=str(tmp_path)).stdout)
    assert (said["directory"], said["bytes"]) == (str(tmp_path), 5)
    assert "1 objects, 5 B of at most" in run("cache", "list", HEDDLE_CACHE_DIR=str(tmp_path)).stdout
    assert "removed 1 objects" in run("cache", "clean", HEDDLE_CACHE_DIR=str(tmp_path)).stdout
    assert not list(tmp_path.glob("*/*.o"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "nope.onnx"], "error: nope.onnx: there is no such file"),
        (["run", MNIST, "--random", "--backends", "nul"], "error: there is no backend 'nul'; did you mean 'null'?"),
        (
            ["run", MNIST, "--random", "--backends", "null", "--set", "null.speed=3"],
            "error: backend 'null' has no option",
        ),
        (["run", MNIST, "--inputs", "none.npz", "--backends", "null"], "error: none.npz: cannot be read as .npz"),
    ],
)
def test_errors_are_one_line_and_code_1(arguments, message):
    ran = run(*arguments, code=1)
    assert ran.stderr.strip().splitlines()[0].startswith(message)
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", MNIST], "give either --inputs x.npz or --random"),
        (["compile", MNIST, "--set", "vta=large"], "NAME.FIELD=VALUE is expected"),
        (["compile", MNIST, "--shape", "1,2"], "INPUT=D,D,... is expected"),
        (["compile", MNIST, "--pin", "conv"], "NODE=BACKEND is expected"),
        (["compile"], "Missing argument"),
        (["weave"], "No such command 'weave'"),
    ],
)
def test_misuse_is_code_2(arguments, message):
    assert message in run(*arguments, code=2).stderr


def test_options_of_the_compiler_do_not_fit_a_compiled_file(compiled):
    assert (
        "options of the compiler do not apply" in run("run", compiled[0], "--random", "--shape", "a=1", code=2).stderr
    )


def test_a_damaged_file_is_an_error(compiled, tmp_path):
    (tmp_path / "m.heddle").write_bytes(compiled[0].read_bytes()[:-100])
    assert "this is a damaged file" in run("run", tmp_path / "m.heddle", "--random", code=1).stderr


def test_notes_follow_the_error():
    ran = run(
        "compile",
        MNIST,
        "--strict",
        "--backends",
        "picky,null",
        plugins=f"{NULL},{Path(__file__).parent / 'conftest.py'}",
        code=1,
    )
    first, *notes = ran.stderr.strip().splitlines()
    assert first.startswith("error: plan: ")
    assert notes
    assert all(note.startswith("  ") for note in notes)
