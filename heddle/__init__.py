"""Heddle compiles ONNX models across heterogeneous devices.

>>> import heddle
>>> exe = heddle.compile("model.onnx", backends=["vta", "host"])  # doctest: +SKIP
>>> y = exe(x)  # doctest: +SKIP

Names are imported when they are first used, so that `import heddle` is quick and a process that only runs compiled
files never imports a compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heddle.compiler import compile, explain, plan
    from heddle.core.errors import (
        ArtifactError,
        BackendError,
        DeviceError,
        GraphError,
        HeddleError,
        InputError,
        ModelError,
        RefusedError,
    )
    from heddle.core.plugin import Backend, Cost, Region
    from heddle.core.runtime.artifact import Artifact, Port, Signature
    from heddle.core.runtime.executable import Executable, load
    from heddle.partition import Demands, Plan
    from heddle.verification import verify

_HOMES = {
    **dict.fromkeys(("compile", "explain", "plan"), "heddle.compiler"),
    **dict.fromkeys(("Backend", "Cost", "Region"), "heddle.core.plugin"),
    **dict.fromkeys(("Artifact", "Port", "Signature"), "heddle.core.runtime.artifact"),
    **dict.fromkeys(("Executable", "load"), "heddle.core.runtime.executable"),
    **dict.fromkeys(("Demands", "Plan"), "heddle.partition"),
    "verify": "heddle.verification",
    **dict.fromkeys(
        (
            *("ArtifactError", "BackendError", "DeviceError", "GraphError", "HeddleError"),
            *("InputError", "ModelError", "RefusedError"),
        ),
        "heddle.core.errors",
    ),
}

__all__ = [
    "Artifact",
    "ArtifactError",
    "Backend",
    "BackendError",
    "Cost",
    "Demands",
    "DeviceError",
    "Executable",
    "GraphError",
    "HeddleError",
    "InputError",
    "ModelError",
    "Plan",
    "Port",
    "RefusedError",
    "Region",
    "Signature",
    "compile",
    "explain",
    "load",
    "plan",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'heddle' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
