"""The accelerator's compiler: quantized parts of graphs to instruction streams."""

from heddle.backends.vta.backend import Vta, VtaOptions

__all__ = ["Vta", "VtaOptions"]
