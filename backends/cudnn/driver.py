"""NVIDIA's driver through its C API by ctypes: the calls that are needed, and what their failures mean."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from functools import cache
from typing import Any

from heddle.core.errors import DeviceError, UnavailableError

LIBRARY = "libcuda.so.1"
ABSENT = "install NVIDIA's driver on a machine with a GPU (`nvidia-smi` shows both); compiling needs neither"

OUT_OF_MEMORY, NOT_READY = 2, 600
NON_BLOCKING = 1
NO_TIMING = 2
THREAD_LOCAL_CAPTURE = 1
MAJOR, MINOR, PROCESSORS = 75, 76, 16
"""Numbers of device attributes."""

_POINTER = POINTER(c_void_p)
_SIGNATURES: Mapping[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDeviceTotalMem_v2": (POINTER(c_size_t), c_int),
    "cuDevicePrimaryCtxRetain": (_POINTER, c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemAllocHost_v2": (_POINTER, c_size_t),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuMemcpyDtoDAsync_v2": (c_uint64, c_uint64, c_size_t, c_void_p),
    "cuMemsetD32Async": (c_uint64, c_uint, c_size_t, c_void_p),
    "cuStreamCreate": (_POINTER, c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamWaitEvent": (c_void_p, c_void_p, c_uint),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, _POINTER),
    "cuGraphInstantiateWithFlags": (_POINTER, c_void_p, c_uint64),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGraphDestroy": (c_void_p,),
    "cuEventCreate": (_POINTER, c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventQuery": (c_void_p,),
    "cuEventSynchronize": (c_void_p,),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cuEventDestroy_v2": (c_void_p,),
    "cuModuleLoadData": (_POINTER, c_char_p),
    "cuModuleGetFunction": (_POINTER, c_void_p, c_char_p),
    "cuModuleUnload": (c_void_p,),
    "cuLaunchKernel": (c_void_p, *(c_uint,) * 7, c_void_p, _POINTER, _POINTER),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
}


class DeviceMemoryError(DeviceError):
    """The GPU has not as much memory free as was asked for."""


class Driver:
    """The driver's functions; each call that fails raises DeviceError with the driver's own words."""

    def __init__(self, path: str = LIBRARY) -> None:
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise UnavailableError(f"cudnn: {path} cannot be loaded ({error}); {ABSENT}") from None
        self._functions = {}
        for name, arguments in _SIGNATURES.items():
            try:
                function = self._library[name]
            except AttributeError:
                raise UnavailableError(f"cudnn: {path} has no {name}; install a driver of CUDA 12 or later") from None
            function.argtypes, function.restype = arguments, c_int
            self._functions[name] = function
        self.call("cuInit", 0)

    def status(self, name: str, *arguments: Any) -> int:
        """The result of a call, whatever it is."""
        return int(self._functions[name](*arguments))

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; DeviceError when it fails, DeviceMemoryError when memory is short."""
        status = self.status(name, *arguments)
        if status:
            raise self.failure(name, status)

    def make(self, name: str, *arguments: Any) -> int:
        """Call a function whose first argument is where it puts a handle; the handle."""
        handle = c_void_p()
        self.call(name, byref(handle), *arguments)
        return int(handle.value or 0)

    def number(self, name: str, *arguments: Any) -> int:
        """Call a function whose first argument is where it puts a number; the number."""
        kind = _SIGNATURES[name][0]._type_
        found = kind()
        self.call(name, byref(found), *arguments)
        return int(found.value)

    def failure(self, name: str, status: int) -> DeviceError:
        """What a status means."""
        words = []
        for function in ("cuGetErrorName", "cuGetErrorString"):
            text = c_char_p()
            if self.status(function, status, byref(text)) == 0 and text.value is not None:
                words.append(text.value.decode(errors="replace"))
        kind = DeviceMemoryError if status == OUT_OF_MEMORY else DeviceError
        return kind(f"cudnn: {name} failed with {status} ({': '.join(words) or 'which the driver does not explain'})")


@cache
def system_driver() -> Driver:
    """The driver of this machine; DeviceError where there is none, with what mends it."""
    return Driver()
