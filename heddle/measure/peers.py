"""The other runtimes that models are compared with: each turns a model and its inputs into a function to be timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from heddle.core.errors import HeddleError

Array = NDArray[Any]
Feed = Mapping[str, Array]
Run = Callable[[], list[Array]]


def onnxruntime(model: ModelProto, feed: Feed, threads: int = 1) -> Run:
    """ONNX Runtime's CPU provider."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: list(session.run(None, dict(feed)))


def openvino(model: ModelProto, feed: Feed, threads: int = 1) -> Run:
    """OpenVINO's CPU plugin, held to float32: by default it may compute in bfloat16."""
    import openvino as ov  # type: ignore[import-untyped, import-not-found, unused-ignore] # carries no types

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(ov.Core().read_model(model.SerializeToString()), "CPU", settings)
    request = compiled.create_infer_request()
    inputs = {port: feed[value.name] for port, value in zip(compiled.inputs, model.graph.input, strict=True)}
    ports = list(compiled.outputs)

    def run() -> list[Array]:
        results = request.infer(inputs)
        return [results[port] for port in ports]

    return run


PEERS: Mapping[str, Callable[[ModelProto, Feed, int], Run]] = {"onnxruntime": onnxruntime, "openvino": openvino}


def chosen_peers(names: Sequence[str] | None = None) -> tuple[str, ...]:
    """The peers of these names, or every one that is installed; HeddleError for one that is unknown or missing."""
    if names is None:
        return tuple(name for name in PEERS if find_spec(name))
    for name in names:
        if name not in PEERS:
            raise HeddleError(f"bench: there is no peer {name!r}; known are {', '.join(PEERS)}")
        if not find_spec(name):
            raise HeddleError(f"bench: {name} is not installed; `pip install {name}` installs it")
    return tuple(dict.fromkeys(names))
