"""One region as an executable of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from heddle.core.ir import Phase
from heddle.core.plugin import Backend, Region, compile_region, run_passes
from heddle.core.runtime.device import Device
from heddle.core.runtime.executable import Executable
from heddle.core.runtime.schedule import Schedule, Step, TensorSpec

Devices = Mapping[str, Device | Mapping[str, Any]]


def step_alone(step: Step, devices: Devices | None = None) -> Executable:
    """A step of a schedule, with what goes in and out of it as inputs and outputs."""
    ports = step.artifact.signature
    inputs, outputs = (
        tuple(TensorSpec(name, port.dtype, port.shape) for name, port in zip(names, side, strict=True))
        for names, side in ((step.inputs, ports.inputs), (step.outputs, ports.outputs))
    )
    schedule = Schedule(inputs, outputs, step.outputs, (step,), {})
    return Executable(step.name, inputs, outputs, [schedule], devices=devices)


def region_alone(backend: Backend, region: Region, devices: Devices | None = None) -> Executable:
    """A region compiled as it is within a model; BackendError when its backend fails."""
    body = run_passes(backend, Phase.REGION, region.body)
    artifact = compile_region(backend, replace(region, body=body)).artifact
    inputs, outputs = (tuple(value.name for value in values) for values in (body.inputs, body.outputs))
    return step_alone(Step(region.name, artifact, inputs, outputs), devices)
