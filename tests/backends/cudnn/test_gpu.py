"""On a GPU: the same models through NVIDIA's driver and libraries. Everything here is skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from heddle.backends.cudnn.backend import Cudnn
from heddle.backends.cudnn.device import CudnnDevice
from heddle.core.errors import DeviceError, UnavailableError
from heddle.core.runtime.devices import open_device
from onnx import helper

import heddle
from benchmarks.models import build, example
from tests.backends.cudnn.test_operators import MOVES, attention_model, model, normal, random_graph
from tests.oracle import session

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device() -> Iterator[CudnnDevice]:
    try:
        opened = open_device("cudnn")
    except UnavailableError as error:
        pytest.skip(str(error))
    assert isinstance(opened, CudnnDevice)
    yield opened
    opened.close()


def compare(device: CudnnDevice, made: Any, inputs: dict[str, Any], tolerance: float, tf32: bool = False) -> None:
    """Demand onnxruntime's results, issued, recorded and replayed, with nothing left to the host."""
    backend = Cudnn(Cudnn.Options(device=f"sm_{device.context.facts.capability}", tf32=tf32))
    theirs = session(made)
    wanted = theirs.run(None, inputs)
    with heddle.compile(made, backends=[backend], devices={"cudnn": device}) as compiled:
        for _ in range(3):
            for mine, array in zip(compiled(*inputs.values()), wanted, strict=True):
                found, real = np.asarray(mine).astype(np.float64), array.astype(np.float64)
                assert np.abs(found - real).max() <= tolerance * max(1.0, np.abs(real).max())


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs(device: CudnnDevice, seed: int) -> None:
    compare(device, *random_graph(seed), tolerance=1e-4)


@pytest.mark.parametrize(("op", "shape", "constants", "attributes"), MOVES)
def test_movements(device: CudnnDevice, op: str, shape: Any, constants: Any, attributes: Any) -> None:
    inputs = {"x": normal(*shape)}
    node = helper.make_node(op, ["x", *constants], ["y"], **attributes)
    compare(device, model([node], inputs, {name: a for name, a in constants.items() if name}), inputs, 1e-5)


@pytest.mark.parametrize("mask", [False, True])
def test_attention(device: CudnnDevice, mask: bool) -> None:
    made, inputs = attention_model(4, 64, mask, np.float16, True)
    compare(device, made, inputs, 3e-3)


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("name", ["mlp", "squeezenet", "mobilenetv2", "resnet50", "vit_tiny", "bert_base"])
def test_models(device: CudnnDevice, name: str, tf32: bool) -> None:
    compare(device, build(name), {"x": example(name)}, 2e-2 if tf32 else 1e-4, tf32)


def test_a_fault_comes_back(device: CudnnDevice) -> None:
    inputs = {"x": normal(5, 4), "i": np.array([1, 7])}
    made = model([helper.make_node("Gather", ["x", "i"], ["y"])], inputs, {})
    with (
        heddle.compile(made, backends=["cudnn"], devices={"cudnn": device}) as compiled,
        pytest.raises(DeviceError, match="an index is outside of a dimension of 5"),
    ):
        compiled(*inputs.values())
