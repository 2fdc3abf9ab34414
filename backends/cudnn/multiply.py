"""Products made ready by cuBLASLt, through its C API by ctypes."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from ctypes import byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p, sizeof
from pathlib import Path
from typing import Any

from heddle.backends.cudnn.context import Context
from heddle.backends.cudnn.program import Product
from heddle.core.errors import DeviceError

LIBRARY = "libcublasLt.so.12"
SCRATCH = 32 << 20
"""The most scratch memory that a product may ask for."""

# Numbers of cublasLt.h and library_types.h.
_TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}
_SUM_FLOAT32, _SUM_TF32 = 68, 77
_TURN_A, _TURN_B, _EPILOGUE, _BIAS_POINTER, _BIAS_TYPE = 3, 4, 7, 8, 26
_DEFAULT, _RELU, _BIAS = 1, 2, 4
_BATCHES, _BATCH_STRIDE = 5, 6
_MOST_SCRATCH = 1


class _Algorithm(ctypes.Structure):
    _fields_ = (("data", c_uint64 * 8),)


class _Choice(ctypes.Structure):
    """One way to compute a product, as the heuristics propose it."""

    _fields_ = (
        ("algorithm", _Algorithm),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


class CublasLt:
    """cuBLASLt, opened for a context's compute stream."""

    def __init__(self, context: Context) -> None:
        self._context = context
        try:
            self._library: Any = ctypes.CDLL(_path())
        except OSError as error:
            raise DeviceError(f'cudnn: {LIBRARY} cannot be loaded ({error}); pip install "heddle[cudnn]"') from None
        context.enter()
        self._handle = self.make("cublasLtCreate")
        self.stream = context.compute

    def call(self, name: str, *arguments: Any) -> None:
        status = self._library[name](*arguments)
        if status:
            raise DeviceError(f"cudnn: {name} failed with status {status}")

    def make(self, name: str, *arguments: Any) -> c_void_p:
        handle = c_void_p()
        self.call(name, byref(handle), *arguments)
        return handle

    def set(self, kind: str, handle: c_void_p, attribute: int, value: Any) -> None:
        """Set an attribute of a descriptor."""
        self.call(f"cublasLt{kind}SetAttribute", handle, attribute, byref(value), c_size_t(sizeof(value)))

    def ready(self, product: Product) -> ReadyProduct:
        """A product that can be run; DeviceError when cuBLASLt has no way to."""
        return ReadyProduct(self, product)

    def choice(self, description: c_void_p, layouts: Sequence[c_void_p]) -> _Choice:
        """What the heuristics think best."""
        preference = self.make("cublasLtMatmulPreferenceCreate")
        self.set("MatmulPreference", preference, _MOST_SCRATCH, c_size_t(SCRATCH))
        found, count = _Choice(), c_int()
        arguments = (self._handle, description, *layouts, preference, 1, byref(found), byref(count))
        try:
            self.call("cublasLtMatmulAlgoGetHeuristic", *arguments)
        finally:
            self.call("cublasLtMatmulPreferenceDestroy", preference)
        if not count.value or found.state:
            raise DeviceError("cudnn: cuBLASLt has no way to compute this product")
        return found

    def matmul(self, *arguments: Any) -> None:
        self.call("cublasLtMatmul", self._handle, *arguments, c_void_p(self.stream))

    def close(self) -> None:
        self.call("cublasLtDestroy", self._handle)


class ReadyProduct:
    """A product with its descriptors.

    The library's matrices have their columns in a row; row-major ones are their transposes, so that it is asked for
    `Bt @ At`, which is the transpose of `A @ B`.
    """

    def __init__(self, library: CublasLt, product: Product) -> None:
        self._library, self._product = library, product
        kind = _TYPES[product.dtype]
        sums = _SUM_TF32 if product.tf32 and product.dtype == "float32" else _SUM_FLOAT32
        self._description = library.make("cublasLtMatmulDescCreate", sums, _TYPES["float32"])
        turned_a, turned_b = product.turned
        library.set("MatmulDesc", self._description, _TURN_A, c_int32(turned_b))
        library.set("MatmulDesc", self._description, _TURN_B, c_int32(turned_a))
        epilogue = (_RELU if product.relu else 0) | (_BIAS if product.bias else 0)
        library.set("MatmulDesc", self._description, _EPILOGUE, c_int32(epilogue or _DEFAULT))
        if product.bias:
            library.set("MatmulDesc", self._description, _BIAS_TYPE, c_int32(kind))
        m, n, k = product.m, product.n, product.k
        stride_a, stride_b = product.strides
        a = self._layout(kind, (k, m) if turned_a else (m, k), stride_a)
        b = self._layout(kind, (n, k) if turned_b else (k, n), stride_b)
        d = self._layout(kind, (m, n), m * n)
        self._layouts = (b, a, d, d)
        self._choice = library.choice(self._description, self._layouts)
        self.workspace = int(self._choice.workspace)

    def _layout(self, kind: int, shape: tuple[int, int], stride: int) -> c_void_p:
        """The descriptor of a row-major matrix, or a batch of them."""
        rows, columns = shape
        made = self._library.make(
            "cublasLtMatrixLayoutCreate", kind, c_uint64(columns), c_uint64(rows), c_int64(columns)
        )
        if self._product.batch > 1:
            self._library.set("MatrixLayout", made, _BATCHES, c_int32(self._product.batch))
            self._library.set("MatrixLayout", made, _BATCH_STRIDE, c_int64(stride))
        return made

    def run(self, addresses: Sequence[int], workspace: int) -> None:
        product, library = self._product, self._library
        a, b, *more, result = addresses
        if product.bias:
            library.set("MatmulDesc", self._description, _BIAS_POINTER, c_uint64(more.pop(0)))
        addend = more.pop(0) if product.addend else result
        alpha, beta = c_float(product.alpha), c_float(1.0 if product.addend else 0.0)
        layout_b, layout_a, layout_c, layout_d = self._layouts
        library.matmul(
            self._description, byref(alpha), c_void_p(b), layout_b, c_void_p(a), layout_a, byref(beta),
            c_void_p(addend), layout_c, c_void_p(result), layout_d, byref(self._choice.algorithm),
            c_void_p(workspace), c_size_t(self.workspace),
        )  # fmt: skip


def _path() -> str:
    """The library in the wheel beside this package, else wherever the linker finds it."""
    try:
        found = importlib.util.find_spec("nvidia.cublas")
    except ModuleNotFoundError:
        found = None
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / "lib" / LIBRARY
        if path.is_file():
            return str(path)
    return LIBRARY
