"""NVIDIA's libraries, opened for one context: cuDNN for plans, cuBLASLt for products."""

from __future__ import annotations

from functools import cached_property

from heddle.backends.cudnn.context import Context
from heddle.backends.cudnn.graphs import CudnnGraphs
from heddle.backends.cudnn.loaded import Ready
from heddle.backends.cudnn.multiply import CublasLt
from heddle.backends.cudnn.program import Plan, Product


class NvidiaLibraries:
    """Each library is loaded when it is first needed."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @cached_property
    def _cudnn(self) -> CudnnGraphs:
        return CudnnGraphs(self._context)

    @cached_property
    def _cublaslt(self) -> CublasLt:
        return CublasLt(self._context)

    def ready(self, what: Plan | Product) -> Ready:
        """Make a plan or product ready; DeviceError where a library is missing or has no way to run it."""
        return self._cudnn.ready(what) if isinstance(what, Plan) else self._cublaslt.ready(what)

    def close(self) -> None:
        for name in ("_cudnn", "_cublaslt"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()
