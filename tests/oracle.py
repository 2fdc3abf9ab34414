"""onnxruntime as the tests ask it: one thread, quiet, and with sums of bytes that do not saturate."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime


def session(model: onnx.ModelProto | bytes | Path) -> onnxruntime.InferenceSession:
    """A session on the CPU.

    Without VNNI onnxruntime adds pairs of products of bytes in 16 bits, which saturates, unless it is told to be
    precise; on processors with VNNI that changes nothing.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    source = str(source) if isinstance(source, Path) else source
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
