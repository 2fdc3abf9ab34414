"""The host backend as a user meets it: whole models, its options, what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from heddle.backends.llvm import Host
from heddle.backends.llvm.host import HostOptions
from heddle.core.errors import BackendError
from heddle.core.frontend import import_model
from heddle.core.passes import optimize
from heddle.core.plugin import Region
from heddle.core.runtime.device import host_buffer
from heddle.core.runtime.host import HostDevice

MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("name", ["mnist", "rfb320"])
@pytest.mark.parametrize(
    "options", [HostOptions(), HostOptions("avx2"), HostOptions("x86-64", strict_math=True)], ids=str
)
def test_models_agree_with_onnxruntime(name: str, options: HostOptions) -> None:
    graph = optimize(import_model(MODELS / f"{name}.onnx"))
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(value.shape).astype(value.dtype) for value in graph.inputs]
    artifact = Host(options).compile(Region("host.0", "host", graph))
    outputs = [np.empty(value.shape, value.dtype) for value in graph.outputs]
    device = HostDevice()
    device.submit(device.load(artifact), [host_buffer(array) for array in (*inputs, *outputs)]).wait()
    quiet = ort.SessionOptions()
    quiet.log_severity_level = 4
    session = ort.InferenceSession(str(MODELS / f"{name}.onnx"), quiet, providers=["CPUExecutionProvider"])
    feeds = {value.name: array for value, array in zip(graph.inputs, inputs, strict=True)}
    wanted = session.run([value.name for value in graph.outputs], feeds)
    for got, want in zip(outputs, wanted, strict=True):
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


def test_an_artifact_says_what_it_needs() -> None:
    graph = optimize(import_model(MODELS / "mnist.onnx"))
    artifact = Host(HostOptions("avx2")).compile(Region("host.0", "host", graph))
    assert (artifact.backend, artifact.device) == ("host", "host")
    assert artifact.meta["machine"] == "x86_64"
    assert "avx2" in artifact.meta["features"]
    assert "avx512f" not in artifact.meta["features"]


def test_a_target_that_is_not_known_is_refused() -> None:
    with pytest.raises(BackendError, match="target is 'pdp11', it must be one of native, x86-64, avx2"):
        _ = Host(HostOptions("pdp11")).target  # type: ignore[arg-type]
