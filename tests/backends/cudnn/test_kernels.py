"""The kernels: their text for the processor against the operators' meaning, their PTX by NVIDIA's assembler."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from heddle.backends.cudnn.backend import Cudnn, program_of
from heddle.backends.cudnn.chips import chip_named
from heddle.backends.cudnn.kernels.code import BARRIER, device_function, host_function, target_of
from heddle.backends.cudnn.kernels.grid import Grid
from heddle.backends.cudnn.kernels.ptx import Kernels
from heddle.backends.cudnn.lower import translate
from heddle.core.codegen.build import Unit, shared_object
from heddle.core.codegen.llvm import module
from heddle.core.codegen.target import host
from heddle.core.errors import BackendError
from heddle.core.frontend import import_model
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph
from heddle.core.runtime.loader import load_shared

CASES = {
    "map": "(float[3,5,7] x, float[5,1] z) => (y) { a = Mul(x, z) y = Gelu(a) }",
    "wide": "(float[512,1024] x) => (y) { y = Sigmoid(x) }",
    "wide half": "(float16[512,2048] x) => (y) { y = Relu(x) }",
    "turn": "(float[5,70,40] x) => (y) { y = Transpose<perm = [2,0,1]>(x) }",
    "softmax": "(float[40,300] x) => (y) { y = Softmax(x) }",
    "softmax bfloat16": "(bfloat16[3,9,64] x) => (y) { y = Softmax(x) }",
    "columns": "(float[70,90] x) => (y) { y = Softmax<axis = 0>(x) }",
    "rows of columns": "(float[64,64] x) => (y) { a = Softmax(x) b = Transpose(a) y = Softmax(b) }",
    "few rows": "(float[1,5000] x) => (y) { y = LogSoftmax(x) }",
    "pool": "(float[2,3,9,9] x) => (y) { y = MaxPool<kernel_shape = [3,3], pads = [1,1,1,1]>(x) }",
    "spread": "(float[2,6,80] x) => (y) { m = ReduceMean(x) d = Sub(x, m) s = Mul(d, d) y = ReduceMax(s) }",
    "join": "(float[2,3] x, float[2,5] z) => (y) { y = Concat<axis = 1>(x, z) }",
    "bools": "(float[9] x, float[9] z) => (y) { a = Less(x, z) b = Not(a) y = Where(b, x, z) }",
}


def read(text: str) -> Graph:
    """The graph of ONNX's own notation."""
    return import_model(onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> case {text}'))


def run(graph: Graph, inputs: list[Any]) -> list[Any]:
    """The kernels of a graph without calls of libraries, each thread in turn, over memory as it is planned."""
    made = translate(graph)
    program = program_of(made, target_of(80), 80)
    kernels = Kernels(target_of(80))
    grids = {kernels.add(work.what): work.what for work in made.works if isinstance(work.what, Grid)}
    units = [Unit(module([host_function(grid, name, host())], host().triple)) for name, grid in grids.items()]
    library = load_shared(shared_object(units, list(grids), host()), "kernels")
    outputs = [np.zeros(value.shape, value.dtype) for value in graph.outputs]
    workspace = np.full(64 + made.memory.workspace, 0xFF, np.uint8)
    workspace[:64] = 0
    held = {"inputs": inputs, "outputs": outputs, "constants": made.constants}
    for step in program.steps:
        addresses = [workspace.ctypes.data]
        for place in step.arguments:
            inside = place.kind == "workspace"
            addresses.append(workspace.ctypes.data + place.at if inside else held[place.kind][place.at].ctypes.data)
        values = [ctypes.c_uint64(address) for address in addresses]
        library[step.what.kernel]((ctypes.c_void_p * len(values))(*map(ctypes.addressof, values)))
    assert not workspace[:4].any(), "a kernel reports a fault"
    return outputs


@pytest.mark.parametrize("name", CASES)
def test_kernels_mean_what_operators_mean(name: str) -> None:
    graph = read(CASES[name])
    rng = np.random.default_rng(3)
    inputs = [np.asarray(rng.standard_normal(value.shape)).astype(value.dtype) for value in graph.inputs]
    for mine, wanted in zip(run(graph, inputs), evaluate(graph, inputs), strict=True):
        mine, wanted = mine.astype(np.float64), np.asarray(wanted).astype(np.float64)
        atol = 1e-2 if graph.inputs[0].dtype.itemsize == 2 else 2e-6
        np.testing.assert_allclose(mine, wanted, rtol=0, atol=atol * max(1, np.abs(wanted).max()))


def test_functions_lose_nothing_near_zero() -> None:
    """exp(x) - 1 and log(1 + x) over all magnitudes, against numpy in double precision."""
    x = np.concatenate([np.geomspace(1e-30, 80, 500), [0.0, np.inf, 3e-8]]).astype(np.float32)
    x = np.concatenate([x, -x])
    graph = read(f"(float[{len(x)}] x) => (e, s) {{ e = Elu(x) s = Softplus(x) }}")
    elu, softplus = run(graph, [x])
    wide = x.astype(np.float64)
    np.testing.assert_allclose(elu, np.where(wide > 0, wide, np.expm1(np.minimum(wide, 0))), rtol=1e-6)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(softplus, np.where(wide > 30, wide, np.log1p(np.exp(wide))), rtol=1e-6)


@pytest.mark.parametrize("points", [1, 31, 256, 257, 1 << 18])
def test_every_element_has_one_thread(points: int) -> None:
    """Blocks times threads cover the elements, with no block too many."""
    graph = read(f"(float[{points}] x) => (y) {{ y = Neg(x) }}")
    (work,) = translate(graph).works
    grid = work.what
    assert isinstance(grid, Grid)
    width = 4 if points == 1 << 18 else 1
    assert (
        (grid.block.extent - 1) * grid.thread.extent * width < points <= grid.block.extent * grid.thread.extent * width
    )


def test_wide_moves_are_vectors() -> None:
    """LLVM makes one load and one store of a thread's neighbouring elements, through the read-only path."""
    ptx = ptx_of(read(CASES["wide"]), 80)
    assert ptx.count("ld.global.nc.v4") == ptx.count("st.global.v4") == 1
    assert "div" not in re.sub(r"div\.rn\.f32", "", ptx), "indices are divided"


def test_phases_are_parted_by_barriers() -> None:
    """What threads leave for each other is stored before a barrier, and no promise lets LLVM keep it in registers."""
    (work,) = translate(read(CASES["softmax"])).works
    grid = work.what
    assert isinstance(grid, Grid)
    assert len(grid.phases) > 8
    function = device_function(grid, "kernel", target_of(80))
    assert function.text().count(BARRIER) == len(grid.phases) - 1
    promised = [
        buffer for number, buffer in enumerate(grid.parameters) if "noalias" in function.parameters[number + 1][1]
    ]
    assert not grid.written.intersection(promised)
    assert len(promised) == 1


def test_equal_kernels_are_one() -> None:
    text = "(float[64,64] x) => (y) { a = Softmax(x) b = MatMul(a, x) y = Softmax(b) }"
    assert ptx_of(read(text), 80).count(".entry") == 1


def ptx_of(graph: Graph, capability: int) -> str:
    return program_of(translate(graph), target_of(capability), capability).ptx


def assembler() -> Path:
    found = importlib.util.find_spec("nvidia.cuda_nvcc") if importlib.util.find_spec("nvidia") else None
    folders = (found.submodule_search_locations or ()) if found is not None else ()
    for folder in folders:
        path = Path(folder) / "bin" / "ptxas"
        if path.is_file():
            return path
    pytest.skip('ptxas is not installed; pip install "heddle[ptx]"')


@pytest.mark.parametrize("capability", [75, 80, 90])
def test_ptx_is_assembled(capability: int, tmp_path: Path) -> None:
    """NVIDIA's assembler takes every kernel, spills nothing and keeps to the block's share of registers."""
    program = assembler()
    for number, text in enumerate(CASES.values()):
        source = tmp_path / f"{number}.ptx"
        source.write_text(ptx_of(read(text), capability))
        command = [program, "-v", f"-arch=sm_{capability}", source, "-o", tmp_path / "out.cubin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        spills = [int(n) for n in re.findall(r"(\d+) bytes spill", done.stderr)]
        registers = [int(n) for n in re.findall(r"Used (\d+) registers", done.stderr)]
        assert registers
        assert not any(spills)
        assert max(registers) <= 65536 // 1024


def test_chips_have_names() -> None:
    assert chip_named("h100").capability == 90
    assert chip_named("sm_86").capability == 86
    assert not chip_named("t4").bfloat16
    with pytest.raises(BackendError, match="device is 'gt9'; it must be one of t4, a100, "):
        Cudnn(Cudnn.Options(device="gt9"))
    with pytest.raises(BackendError, match="device is 'sm_60'; cuDNN 9 runs on sm_75 and later"):
        chip_named("sm_60")


def test_a_grid_prints() -> None:
    """As text a kernel shows its blocks, its phases and what it does."""
    graph = read("(float[4,3] x) => (y) { y = Neg(x) }")
    (work,) = translate(graph).works
    assert str(work.what) == (
        "1 blocks of 32 threads\nkernel(b0: float32[12], b1: float32[12]) {\n"
        "  if lt(thread, 12) {\n    b1[thread] = neg(b0[thread])\n  }\n}"
    )
