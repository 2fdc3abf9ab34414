"""Static quantization through onnxruntime, to QuantizeLinear and DequantizeLinear around each operator."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from benchmarks.models.net import Array


def quantize(model: ModelProto, inputs: Sequence[Array], symmetric: bool) -> ModelProto:
    """The model in int8, calibrated with these inputs; weights are int8 per channel, activations uint8 or int8."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.rest = iter(inputs)

        def get_next(self) -> dict[str, Any] | None:
            array = next(self.rest, None)
            return None if array is None else {"x": array}

    with tempfile.TemporaryDirectory() as folder:
        source, ready, result = (str(Path(folder) / f"{name}.onnx") for name in ("source", "ready", "result"))
        onnx.save(model, source)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            result,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True} if symmetric else {},
        )
        return onnx.load(result)
