"""Makes the demonstration's model: the model zoo's MNIST classifier with int8 convolutions and matrix product.

    python examples/quantize_mnist.py tests/models/mnist.onnx heddle/demo/mnist_int8.onnx

Needs the extra `quantize`. The ranges come from the demonstration's own drawing, moved about.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from heddle.core.frontend import import_model
from heddle.core.frontend.export import export_model
from heddle.core.passes import optimize
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from heddle.demo.digit import digit


class Drawings(CalibrationDataReader):  # type: ignore[misc] # onnxruntime carries no types
    """The drawing in nine places."""

    def __init__(self) -> None:
        moves = [(down, right) for down in (-2, 0, 2) for right in (-3, 0, 3)]
        self._images = iter([{"Input3": np.roll(digit(), move, (2, 3))} for move in moves])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._images, None)


def quantize(source: str, target: str) -> None:
    """Write the quantized form of the model in `source`."""
    model = export_model(optimize(import_model(source)))
    model.ir_version = 8
    model.opset_import[0].version = 17  # its operators have not changed since, and onnxruntime knows it
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder, "optimised.onnx")
        onnx.save(model, optimised)
        quantize_static(
            optimised,
            target,
            Drawings(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul"],
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
        )


if __name__ == "__main__":
    quantize(*sys.argv[1:])
