"""The C interface of a built simulator, for ctypes."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char, c_char_p, c_int, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path

from heddle.simulators.verilator.errors import RtlBuildError

RUNNING, REACHED, CYCLES, HUNG, PROTOCOL, RANGE, INTERRUPT, FINISHED, STOPPED = range(9)
EQUAL, DIFFERENT, AT_LEAST = range(3)


class Condition(Structure):
    _fields_ = [("address", c_void_p), ("value", c_uint64), ("bytes", c_uint32), ("test", c_uint32)]


class Request(Structure):
    _fields_ = [
        ("cycles", c_uint64), ("watchdog", c_uint64), ("until", POINTER(Condition)), ("interrupts", POINTER(Condition)),
        ("progress", POINTER(Condition)), ("interrupt_count", c_uint32), ("progress_count", c_uint32),
        ("interrupted", c_int32), ("clock", c_uint32),
    ]  # fmt: skip


class Access(Structure):
    _fields_ = [
        ("address", c_uint64), ("write", ctypes.c_bool), ("data", c_uint8 * 128), ("strobes", c_uint8 * 16),
        ("response", c_uint8),
    ]  # fmt: skip


class Internal(Structure):
    _fields_ = [
        ("scope", c_char * 240), ("name", c_char * 240), ("address", c_void_p), ("width", c_uint32),
        ("dimensions", c_uint32), ("shape", c_uint32 * 4),
    ]  # fmt: skip


_HANDLE = c_void_p
_PROTOTYPES = {
    "hd_new": (c_void_p, []),
    "hd_free": (None, [_HANDLE]),
    "hd_port": (c_void_p, [_HANDLE, c_int]),
    "hd_report": (c_char_p, [_HANDLE]),
    "hd_cycles": (c_uint64, [_HANDLE, c_int]),
    "hd_time": (c_uint64, [_HANDLE]),
    "hd_memory": (
        c_int, [_HANDLE, c_void_p, c_uint64, c_uint64, c_uint32, c_uint32, c_uint32, c_uint64, c_uint64, c_uint64],
    ),
    "hd_fault": (None, [_HANDLE, c_int, c_uint64, c_uint64]),
    "hd_bind": (None, [_HANDLE, c_int, c_int, c_int, c_uint32, c_uint64, c_uint64, c_int, c_int, c_uint64]),
    "hd_reset": (c_int, [_HANDLE]),
    "hd_eval": (c_int, [_HANDLE]),
    "hd_tick": (c_int, [_HANDLE, c_int, c_uint64]),
    "hd_run": (c_int, [_HANDLE, POINTER(Request)]),
    "hd_bare": (c_uint64, [_HANDLE, c_void_p]),
    "hd_forgive": (None, [_HANDLE]),
    "hd_awake": (None, [_HANDLE, c_int]),
    "hd_describe": (None, [_HANDLE, c_int, c_char_p, c_size_t]),
    "hd_counters": (c_int, [_HANDLE, c_int, POINTER(c_uint64)]),
    "hd_transfers": (c_void_p, [_HANDLE, c_int]),
    "hd_send": (None, [_HANDLE, c_int, c_void_p, c_size_t]),
    "hd_held": (c_size_t, [_HANDLE, c_int]),
    "hd_take": (None, [_HANDLE, c_int, c_void_p, c_size_t]),
    "hd_access": (None, [_HANDLE, c_int, POINTER(Access)]),
    "hd_accessed": (c_int, [_HANDLE, c_int, POINTER(Access)]),
    "hd_save": (c_void_p, [_HANDLE, POINTER(c_size_t)]),
    "hd_release": (None, [c_void_p]),
    "hd_load": (c_int, [_HANDLE, c_char_p, c_size_t]),
    "hd_trace": (c_int, [_HANDLE, c_char_p]),
    "hd_coverage": (c_int, [_HANDLE, c_char_p]),
    "hd_internal": (c_int, [_HANDLE, c_int, POINTER(Internal)]),
}  # fmt: skip


def load_library(path: Path) -> ctypes.CDLL:
    """The library with the types of its functions set."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as problem:
        raise RtlBuildError(f"{path}: does not load here ({problem}); remove it to have it built again") from problem
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
