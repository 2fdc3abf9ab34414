"""Backends for the kit's own tests: one that is right and can be told to be wrong in many ways."""

from __future__ import annotations

import json
import os
import threading
import time

import numpy as np
from heddle.core.pattern import attr, const, dtype, maybe_const, ops, pattern, rank
from heddle.core.runtime.calling import CallingDevice

import heddle

FLOAT = dtype("x").equals("float32")


@pattern("conv", conditions=[FLOAT, rank("x").equals(4), attr("conv", "auto_pad").equals("NOTSET")])
def conv(x):
    return ops.Conv(x, const("w"), maybe_const("b"))


@pattern("loose", conditions=[FLOAT, rank("x").equals(4)])
def loose(x):
    return ops.Conv(x, const("w"), maybe_const("b"))


@pattern("sub", conditions=[dtype("x").equals("float32")])
def sub(x, y):
    return ops.Sub(x, y)


@pattern("never", conditions=[dtype("x").equals("float32"), dtype("x").equals("int8")])
def never(x):
    return ops.Relu(x)


class Faulty(heddle.Backend):
    """Right unless `fault` says otherwise."""

    name = "faulty"
    merges = False
    patterns = (conv, sub)

    def __init__(self, fault: str = "", patterns=(conv, sub)) -> None:
        super().__init__()
        self.fault, self.patterns = fault, patterns

    def compile(self, region):
        (match,) = region.matches
        (node,) = match.nodes
        if self.fault == "refuses to compile" and node.op == "Conv" and match.attr("conv", "group") > 1:
            raise ValueError("no groups, after all")
        settings = {n: match.attr("conv", n) for n in ("strides", "pads", "dilations", "group")}
        body = region.body
        places = [body.inputs.index(v) if v in body.inputs else None for v in node.operands]
        settings |= {"op": node.op, "operands": places}
        if self.fault == "unrepeatable":
            settings["time"] = time.perf_counter_ns()
        constants = {f"c{i}": body.constants[v] for i, v in enumerate(node.operands) if v in body.constants}
        return heddle.Artifact(self.name, self.name, region.signature, json.dumps(settings).encode(), constants)


class FaultyDevice(CallingDevice):
    name = "faulty"

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.kept = []
        self.scratch = {}
        self.loading = threading.Lock()

    def prepare(self, artifact):
        if self.fault == "loads one at a time":
            if not self.loading.acquire(blocking=False):
                raise RuntimeError("another program is being loaded")
            time.sleep(0.2)
            self.loading.release()
        return json.loads(artifact.code), artifact.constants

    def call(self, made, inputs, outputs):
        settings, constants = made
        operands = [inputs[at] if at is not None else constants[f"c{i}"] for i, at in enumerate(settings["operands"])]
        result = self.compute(settings, *operands)
        self.misbehave(settings, inputs, outputs, result)

    def compute(self, settings, x, w, b=None):
        if settings["op"] == "Sub":
            return w - x if self.fault == "swapped" else x - w
        pads, strides = list(settings["pads"]), settings["strides"]
        dilations = [1, 1] if self.fault == "ignored dilation" else settings["dilations"]
        if self.fault == "wrong pad":
            pads = [pads[2], pads[3], pads[0], pads[1]]
        x = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
        reach = [(size - 1) * step + 1 for size, step in zip(w.shape[2:], dilations, strict=True)]
        windows = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
        windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
        group = settings["group"]
        parts = [
            np.tensordot(part, filters, axes=((1, 4, 5), (1, 2, 3)))
            for part, filters in zip(np.split(windows, group, 1), np.split(w, group), strict=True)
        ]
        y = np.concatenate(parts, axis=-1).transpose(0, 3, 1, 2)
        return y if b is None or self.fault == "no bias" else y + b.reshape(1, -1, 1, 1)

    def misbehave(self, settings, inputs, outputs, result):
        fault = self.fault
        if fault == "hang" and settings["op"] == "Conv":
            time.sleep(3)
        if fault == "hang everywhere":
            time.sleep(60)
        if fault == "raises" and result.ndim and result.shape[0] > 1:
            raise RuntimeError("the batch is too large")
        if fault == "crash":
            os.abort()
        if fault == "leak":
            self.kept.append(result)
        if fault == "stale":
            result = self.scratch.setdefault(id(settings), result)
        if fault == "race":
            self.scratch["shared"] = result
            time.sleep(0.001)
            result = self.scratch["shared"]
        if fault == "no specials":
            result = np.nan_to_num(result)
        if fault == "random":
            result = result * np.float32(1 + 1e-6 * np.random.default_rng().random())
        with np.errstate(all="ignore"):
            outputs[0][...] = result
        if fault == "writes inputs" and inputs[0].size:
            inputs[0].flags.writeable = True
            inputs[0].reshape(-1)[0] += 1
