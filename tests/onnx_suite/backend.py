"""Heddle as a backend of ONNX's test suite, and the reference as another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heddle.core.frontend import import_model
from heddle.core.interpret import evaluate
from heddle.core.runtime.course import Course, Turn
from onnx import ModelProto
from onnx.backend.base import Backend, BackendRep

import heddle


class ReferenceRep(BackendRep):
    """A model that the operators' own meaning evaluates."""

    carries = False

    def __init__(self, model: ModelProto) -> None:
        self.graph = import_model(model)

    def run(self, inputs: Sequence[Any], **_: Any) -> tuple[Any, ...]:
        return evaluate(self.graph, inputs)


class Reference(Backend):
    """What a model means."""

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **_: Any) -> ReferenceRep:
        return ReferenceRep(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


class HostRep(BackendRep):
    """A model that is compiled for the host alone: each step of it runs the host's generated code."""

    def __init__(self, model: ModelProto) -> None:
        self.executable = heddle.compile(model, backends=["host"])

    def run(self, inputs: Sequence[Any], **_: Any) -> tuple[Any, ...]:
        results = tuple(self.executable(*inputs).values())
        steps = [step for schedule in self.executable.schedules for step in schedule.steps]
        assert all(step.artifact.backend == "host" for step in steps)
        return results

    @property
    def carries(self) -> bool:
        """Whether the runtime has a part in it: control flow, sequences, optionals."""
        courses = [program for program in self.executable.programs if isinstance(program, Course)]
        return any(isinstance(step, Turn) and step.op != "heddle.Trim" for course in courses for step in course.steps)


class Host(Backend):
    """What the host's generated code computes."""

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **_: Any) -> HostRep:
        return HostRep(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"
