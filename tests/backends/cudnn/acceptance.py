"""Asks cuDNN itself what it thinks of a model's plans: `python -m tests.backends.cudnn.acceptance DRIVER MODEL`.

Its front end validates each plan, its back end finalises it, and its heuristics must know engines for it. All of that
goes without a GPU when the properties of one are given, and a driver, of which the fake one is enough. Of attention not
even the first is to be had so. Prints how many plans were accepted; exits with 77 where cuDNN is not installed.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
from typing import Any

import numpy as np
from heddle.backends.cudnn.calls import Call
from heddle.backends.cudnn.describe import described
from heddle.backends.cudnn.lower import translate
from heddle.backends.cudnn.program import Plan
from onnx import helper

import heddle
from benchmarks.models import build
from tests.backends.cudnn.test_operators import model, normal

ABSENT = 77
MOST = 9
"""So many plans of a model are shown to the library, evenly chosen."""
A100 = {
    "deviceVer": 800, "multiProcessorCount": 108, "smCountOrigin": 0, "deviceName": "A100", "driverVer": 12090,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
    "smClockRateKHz": 1410000, "memClockRateKHz": 1593000, "memoryBusWidth": 5120, "l2CacheSize": 41943040,
    "warpSize": 32, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 166912,
    "oversizedSharedMemoryPerBlock": 0, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536,
    "pciDeviceId": 8370, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "isTccDriver": 0,
    "supportCoopLaunch": 1, "totalGlobalMem": 85899345920, "cudaDeviceId": 0, "deviceId": 0, "smVersion": 800,
}  # fmt: skip
"""What cuDNN 9 wants to know of a GPU in order to choose engines for it."""


def plans_of(model: Any) -> list[Plan]:
    """The distinct plans of a model's region."""
    (region,) = heddle.plan(model, backends=["cudnn"]).regions
    calls = [work.what.what for work in translate(region.body).works if isinstance(work.what, Call)]
    return list({str(what): what for what in calls if isinstance(what, Plan)}.values())


def turned(dtype: Any) -> Any:
    """A transposed convolution of two groups with a leaky rectifier."""
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["c"], strides=[2, 2], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["c"], ["y"], alpha=0.1),
    ]
    return model(nodes, {"x": normal(2, 32, 9, 9, dtype=dtype)}, {"w": normal(32, 16, 4, 4, dtype=dtype)})


def main(driver: str, name: str) -> int:
    ctypes.CDLL(driver, mode=ctypes.RTLD_GLOBAL)
    try:
        module: Any = importlib.import_module("cudnn")
        module.backend_version()
    except Exception as error:
        print(f'cuDNN is not installed ({error}); pip install "heddle[cudnn]"')
        return ABSENT
    device = module.create_device_properties(json.dumps(A100))
    plans = plans_of(turned(np.float16 if "half" in name else np.float32) if "turned" in name else build(name))
    chosen = plans[:: 1 + len(plans) // MOST]
    for plan in chosen:
        graph, arguments = described(module, plan, device_property=device)
        graph.build_operation_graph()
        graph.create_execution_plans([module.heur_mode.A, module.heur_mode.FALLBACK])
        assert graph.get_execution_plan_count() > 0, plan
        assert len(arguments) == sum(tensor.argument is not None for tensor in plan.tensors)
    print(len(chosen))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
