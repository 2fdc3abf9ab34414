"""The compiler's half: takes a matrix product with constant weights and the bias that follows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from heddle.core.ir import Value, dtype_name
from heddle.core.pattern import const, dtype, ops, pattern, rank

from heddle import Artifact, Backend, Port, Region, Signature


@dataclass(frozen=True)
class Options:
    """`gain` multiplies every result, to see that options arrive."""

    gain: float = 1.0


@pattern("dense", conditions=[rank("x").equals(2), rank("w").equals(2), dtype("x").equals("float32")])
def dense(x: Any) -> Any:
    return ops.Add(ops.MatMul(x, const("w")), const("b"))


class Sample(Backend):
    """Compiles each dense layer to a line of JSON; the device does the rest."""

    name = "sample"
    Options = Options
    patterns = (dense,)
    merges = False

    def compile(self, region: Region) -> Artifact:
        (match,) = region.matches
        signature = Signature(
            tuple(port(value) for value in region.body.inputs), tuple(port(value) for value in region.body.outputs)
        )
        weights = {name: match.array(name) for name in ("w", "b")}
        code = json.dumps({"gain": self.options.gain}).encode()
        return Artifact(self.name, "sample", signature, code, {k: v for k, v in weights.items() if v is not None})


def port(value: Value) -> Port:
    return Port(value.name, dtype_name(value.dtype), value.shape, memory="coprocessor")
