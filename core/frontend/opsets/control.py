"""Control flow whose form has changed."""

from __future__ import annotations

from heddle.core.errors import GraphError
from heddle.core.frontend.builder import Builder, Call


def _scan_8(call: Call, builder: Builder) -> Call:
    raise GraphError("Scan: the batched form of opset 8 is not supported; convert the model to opset 9 or newer")


RULES = {"Scan": ((9, _scan_8),)}
