"""A device in a process of its own: right results, and a hang or crash that ends there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from heddle.core.errors import DeviceError

import heddle
from heddle.isolation import IsolatedDevice

FOLDER = Path(__file__).parent / "testing"


@pytest.fixture
def faulty(monkeypatch):
    """The module under a name that a child process can import too."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = __import__("faulty")
    yield module
    sys.modules.pop("faulty", None)


def model():
    return onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[4] x, float[4] y) => (float[4] z) { z = Sub(x, y) }'
    )


X, Y = np.float32([1, 2, 3, 4]), np.float32([4, 3, 2, 1])


def compiled(faulty, fault="", timeout=30.0, **more):
    device = IsolatedDevice(faulty.FaultyDevice, {"fault": fault}, timeout)
    return heddle.compile(model(), [faulty.Faulty(), "host"], devices={"faulty": device}, **more), device


def test_results_are_the_same(faulty):
    exe, device = compiled(faulty)
    assert list(exe(X, Y)[0]) == [-3, -1, 1, 3]
    assert device.alive
    device.close()
    assert not device.alive


def test_a_crash_is_an_error_that_names_the_device(faulty):
    exe, device = compiled(faulty, "crash")
    for _ in range(2):  # each run has a fresh process
        with pytest.raises(DeviceError, match="device 'faulty': its process crashed \\(exit code -6\\)"):
            exe(X, Y)
    device.close()


def test_a_crash_is_made_good_on_the_host(faulty):
    exe, device = compiled(faulty, "crash", on_fault="host")
    assert list(exe(X, Y)[0]) == [-3, -1, 1, 3]
    assert len(exe.faults) == 1
    device.close()


def test_a_hang_is_ended(faulty):
    exe, device = compiled(faulty, "hang everywhere", timeout=1.5)
    device.timeout = 30.0
    exe.prepare()
    device.timeout = 0.3
    with pytest.raises(DeviceError, match=r"no answer within 0\.3 s; its process was ended"):
        exe(X, Y)
    assert not device.alive
    device.close()
