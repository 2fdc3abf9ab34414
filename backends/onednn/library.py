"""oneDNN's C interface by ctypes: where the library is found, its numbers, and calls that raise on a bad status."""

from __future__ import annotations

import ctypes
import ctypes.util
from ctypes import byref, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from heddle.core.errors import DeviceError, UnavailableError

PACKAGE = "onednn-cpu-gomp"
REMEDY = 'pip install "heddle[onednn]"; its libgomp.so.1 is in the system package libgomp1'

DTYPES = {"bfloat16": 2, "float32": 3, "int32": 4, "int8": 5, "uint8": 6}
FORWARD_INFERENCE = 96
BLOCKED_TAGS = {3: 69, 4: 102, 5: 142}
"""dnnl_nCw8c, dnnl_nChw8c and dnnl_nCdhw8c: channels in blocks of eight."""
SRC, SRC_1, DST, WEIGHTS, BIAS, MEAN, VARIANCE, SCALE, SHIFT, SCRATCHPAD = 1, 2, 17, 33, 41, 49, 50, 51, 52, 80
MULTIPLE_SRC = 1024
GLOBAL_STATS, USE_SCALE, USE_SHIFT = 1, 2, 4
SCALES, ZERO_POINTS, POST_OP = 4096, 8192, 32768
QUERY_WEIGHTS, QUERY_SCRATCHPAD, QUERY_NAME = 131, 136, 8
ALGORITHMS = {
    "convolution": 1, "deconvolution": 0xA,
    "relu": 0x20, "tanh": 0x21, "elu": 0x22, "square": 0x23, "abs": 0x24, "sqrt": 0x25, "linear": 0x26,
    "soft_relu": 0x27, "hardsigmoid": 0x28, "logistic": 0x29, "exp": 0x2A, "clip": 0x2F, "gelu_tanh": 0x2B,
    "gelu_erf": 0x31, "mish": 0x33, "hardswish": 0x34,
    "max_pool": 0x1FF, "average_pool_padded": 0x2FF, "average_pool": 0x3FF,
    "add": 0x1FFF0, "mul": 0x1FFF1, "max": 0x1FFF2, "min": 0x1FFF3, "div": 0x1FFF4, "sub": 0x1FFF5,
    "nearest": 0x2FFF0, "interpolate": 0x2FFF1,
    "reduce_max": 0x2FFF2, "reduce_min": 0x2FFF3, "reduce_sum": 0x2FFF4, "reduce_mul": 0x2FFF5, "reduce_mean": 0x2FFF6,
    "reduce_norm": 0x2FFF8, "reduce_powers": 0x2FFFA,
    "softmax": 0x30000, "log_softmax": 0x30001,
}  # fmt: skip
"""dnnl_alg_kind_t of the release that the extra pins."""

_STATUSES = ("success", "out of memory", "invalid arguments", "unimplemented", "last impl reached", "runtime error")


class Arg(ctypes.Structure):
    """dnnl_exec_arg_t."""

    _fields_ = (("arg", c_int), ("memory", c_void_p))


class Library:
    """The loaded library; `call` raises DeviceError with the status, `make` returns the object that a call creates."""

    def __init__(self) -> None:
        self.handle = _load()
        self.handle.dnnl_memory_desc_get_size.restype = c_size_t
        self.handle.dnnl_primitive_desc_query_md.restype = c_void_p
        gomp = _open("libgomp.so.1")
        self.set_threads, self.get_threads = gomp.omp_set_num_threads, gomp.omp_get_max_threads
        self.engine = self.make("dnnl_engine_create", c_int(1), c_size_t(0))

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.handle, name)(*arguments)
        if status:
            raise DeviceError(f"onednn: {name} answers {status} ({_STATUSES[min(status, 5)]})")

    def make(self, name: str, *arguments: Any) -> c_void_p:
        made = c_void_p()
        self.call(name, byref(made), *arguments)
        return made

    def address(self, name: str) -> int:
        return ctypes.cast(getattr(self.handle, name), c_void_p).value or 0

    def descriptor(self, dims: tuple[int, ...], dtype: str, strides: tuple[int, ...] | None) -> c_void_p:
        """A description of memory; without strides in whatever layout a primitive wants."""
        shape = dims_of(dims)
        if strides is not None and len(strides) > len(dims):
            tag = BLOCKED_TAGS[len(dims)]
            return self.make("dnnl_memory_desc_create_with_tag", len(dims), shape, DTYPES[dtype], tag)
        if strides is None:
            return self.make("dnnl_memory_desc_create_with_tag", len(dims), shape, DTYPES[dtype], 1)
        return self.make("dnnl_memory_desc_create_with_strides", len(dims), shape, DTYPES[dtype], dims_of(strides))

    def destroy(self, owned: list[tuple[str, c_void_p]]) -> None:
        """Give back what `make` returned, with the kinds that the library calls them by; the last first."""
        while owned:
            kind, handle = owned.pop()
            getattr(self.handle, f"dnnl_{kind}_destroy")(handle)

    def size(self, descriptor: c_void_p) -> int:
        return int(self.handle.dnnl_memory_desc_get_size(descriptor))

    def query(self, primitive: c_void_p, what: int) -> c_void_p:
        """A description inside a primitive's; it lives as long as that."""
        return c_void_p(self.handle.dnnl_primitive_desc_query_md(primitive, what, 0))

    def implementation(self, primitive: c_void_p) -> str:
        name = ctypes.c_char_p()
        self.call("dnnl_primitive_desc_query", primitive, QUERY_NAME, 0, byref(name))
        return (name.value or b"").decode()


def dims_of(values: Any) -> Any:
    """Numbers as the library's array of dimensions."""
    numbers = tuple(values)
    return (c_int64 * max(1, len(numbers)))(*numbers)


def real(value: float) -> c_float:
    return c_float(value)


def flags(value: int) -> c_uint:
    return c_uint(value)


@cache
def library() -> Library:
    """The library, loaded once; UnavailableError that says how to install it when it is not here."""
    return Library()


def _load() -> ctypes.CDLL:
    found = _open(_path())
    if not hasattr(found, "dnnl_matmul_primitive_desc_create"):
        raise UnavailableError(f"onednn: the library lacks the interface of version 3; {REMEDY}")
    return found


def _open(path: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise UnavailableError(f"onednn: the library cannot be loaded: {error}; {REMEDY}") from None


def _path() -> str:
    try:
        listed = [Path(str(file.locate())).resolve() for file in files(PACKAGE) or () if file.name == "libdnnl.so.3"]
    except PackageNotFoundError:
        listed = []
    return str(listed[0]) if listed else ctypes.util.find_library("dnnl") or "libdnnl.so.3"
