"""The manifest of a compiled model: schedules and courses as JSON, with code and constants by digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.core.dtypes import dtype_name, dtype_named
from heddle.core.errors import ArtifactError
from heddle.core.runtime.artifact import Artifact, Port, Signature
from heddle.core.runtime.course import Case, Course, Part, Turn, check_course
from heddle.core.runtime.schedule import Schedule, Step, check
from heddle.core.runtime.specs import Spec, size, spec_json, spec_of, tensor_spec_of
from heddle.core.runtime.turns import TURNS
from numpy.typing import NDArray

Array = NDArray[Any]


def encode(
    name: str,
    inputs: Sequence[Spec],
    outputs: Sequence[Spec],
    programs: Sequence[Schedule | Course],
    code: Callable[[bytes], str],
    constant: Callable[[Array], str],
) -> dict[str, Any]:
    """The manifest; `code` and `constant` keep what they are given and return its digest."""
    encoder = _Encoder(code, constant)
    return {
        "name": name,
        "inputs": list(map(spec_json, inputs)),
        "outputs": list(map(spec_json, outputs)),
        "schedules": [encoder.schedule(program) for program in programs if isinstance(program, Schedule)],
        "courses": [encoder.course(program) for program in programs if isinstance(program, Course)],
    }


def decode(
    manifest: Mapping[str, Any], codes: Mapping[str, memoryview], arrays: Mapping[str, NDArray[np.uint8]]
) -> tuple[str, tuple[Spec, ...], tuple[Spec, ...], tuple[Schedule | Course, ...]]:
    """The inverse of `encode`: name, inputs, outputs, programs. Raises whatever nonsense causes."""
    decoder = _Decoder(codes, arrays)
    return (
        str(manifest["name"]),
        tuple(map(spec_of, manifest["inputs"])),
        tuple(map(spec_of, manifest["outputs"])),
        (*map(decoder.schedule, manifest["schedules"]), *map(decoder.course, manifest.get("courses", ()))),
    )


@dataclass(frozen=True)
class _Encoder:
    code: Callable[[bytes], str]
    constant: Callable[[Array], str]

    def constants(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        return {
            key: {"digest": self.constant(array), "dtype": dtype_name(array.dtype), "shape": list(array.shape)}
            for key, array in arrays.items()
        }

    def artifact(self, value: Artifact | None) -> dict[str, Any] | None:
        if value is None:
            return None
        return {
            "backend": value.backend,
            "device": value.device,
            "inputs": [vars(port) for port in value.signature.inputs],
            "outputs": [vars(port) for port in value.signature.outputs],
            "aliases": value.signature.aliases,
            "code": self.code(value.code),
            "constants": self.constants(value.constants),
            "workspace": value.workspace,
            "meta": dict(value.meta),
            "nodes": value.nodes,
        }

    def schedule(self, schedule: Schedule) -> dict[str, Any]:
        return {
            "inputs": list(map(spec_json, schedule.inputs)),
            "outputs": list(map(spec_json, schedule.outputs)),
            "results": schedule.results,
            "constants": self.constants(schedule.constants),
            "steps": [
                {
                    "name": step.name,
                    "inputs": step.inputs,
                    "outputs": step.outputs,
                    "artifact": self.artifact(step.artifact),
                    "fallback": self.artifact(step.fallback),
                }
                for step in schedule.steps
            ],
        }

    def course(self, course: Course) -> dict[str, Any]:
        return {
            "inputs": list(map(spec_json, course.inputs)),
            "outputs": list(map(spec_json, course.outputs)),
            "results": course.results,
            "constants": self.constants(course.constants),
            "steps": [self.part(step) if isinstance(step, Part) else self.turn(step) for step in course.steps],
        }

    def part(self, part: Part) -> dict[str, Any]:
        return {
            "part": part.name,
            "inputs": part.inputs,
            "outputs": part.outputs,
            "by_value": part.by_value,
            "gathers": part.gathers,
            "made": [
                {
                    "shapes": case.shapes,
                    "values": self.constants(case.values),
                    "schedule": self.schedule(schedule),
                }
                for case, schedule in part.made
            ],
        }

    def turn(self, turn: Turn) -> dict[str, Any]:
        return {
            "turn": turn.op,
            "name": turn.name,
            "inputs": turn.inputs,
            "outputs": turn.outputs,
            "attrs": dict(turn.attrs),
            "bodies": {name: self.course(body) for name, body in turn.bodies.items()},
        }


@dataclass(frozen=True)
class _Decoder:
    codes: Mapping[str, memoryview]
    arrays: Mapping[str, NDArray[np.uint8]]

    def constants(self, entries: Mapping[str, Any]) -> dict[str, Array]:
        return {key: _array(key, entry, self.arrays) for key, entry in entries.items()}

    def artifact(self, entry: Mapping[str, Any]) -> Artifact:
        signature = Signature(
            tuple(map(_port, entry["inputs"])),
            tuple(map(_port, entry["outputs"])),
            tuple((int(output), int(input)) for output, input in entry["aliases"]),
        )
        return Artifact(
            str(entry["backend"]),
            str(entry["device"]),
            signature,
            bytes(self.codes[entry["code"]]),
            self.constants(entry["constants"]),
            size(entry["workspace"]),
            dict(entry["meta"]),
            _names(entry["nodes"]),
        )

    def schedule(self, entry: Mapping[str, Any]) -> Schedule:
        steps = tuple(
            Step(
                str(step["name"]),
                self.artifact(step["artifact"]),
                _names(step["inputs"]),
                _names(step["outputs"]),
                self.artifact(step["fallback"]) if step["fallback"] is not None else None,
            )
            for step in entry["steps"]
        )
        return check(
            Schedule(
                tuple(map(tensor_spec_of, entry["inputs"])),
                tuple(map(tensor_spec_of, entry["outputs"])),
                _names(entry["results"]),
                steps,
                self.constants(entry["constants"]),
            )
        )

    def course(self, entry: Mapping[str, Any]) -> Course:
        return check_course(
            Course(
                tuple(map(spec_of, entry["inputs"])),
                tuple(map(spec_of, entry["outputs"])),
                tuple(self.part(step) if "part" in step else self.turn(step) for step in entry["steps"]),
                _names(entry["results"]),
                self.constants(entry["constants"]),
            )
        )

    def part(self, entry: Mapping[str, Any]) -> Part:
        made = [
            (Case(_shapes(case["shapes"]), self.constants(case["values"])), self.schedule(case["schedule"]))
            for case in entry["made"]
        ]
        inputs, outputs, by_value = (_names(entry[key]) for key in ("inputs", "outputs", "by_value"))
        return Part(str(entry["part"]), inputs, outputs, by_value, bool(entry["gathers"]), made)

    def turn(self, entry: Mapping[str, Any]) -> Turn:
        if entry["turn"] not in TURNS:
            raise ArtifactError(f"a turn {entry['turn']!r} is not known, the runtime has {', '.join(TURNS)}")
        return Turn(
            str(entry["turn"]),
            _open_names(entry["inputs"]),
            _open_names(entry["outputs"]),
            dict(entry["attrs"]),
            {str(name): self.course(body) for name, body in entry["bodies"].items()},
            str(entry["name"]),
        )


def _array(name: str, entry: Mapping[str, Any], arrays: Mapping[str, NDArray[np.uint8]]) -> Array:
    dtype, shape = dtype_named(entry["dtype"]), tuple(map(size, entry["shape"]))
    raw = arrays[entry["digest"]]
    if dtype.kind == "O" or raw.nbytes != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        raise ArtifactError(f"constant {name!r}: {raw.nbytes} bytes are no {entry['dtype']}{list(shape)}")
    return raw.view(dtype).reshape(shape)


def _port(entry: Mapping[str, Any]) -> Port:
    shape = tuple(map(size, entry["shape"]))
    return Port(str(entry["name"]), str(entry["dtype"]), shape, str(entry["layout"]), str(entry["memory"]))


def _shapes(entries: Any) -> tuple[Any, ...]:
    """Shapes, and shapes of sequences' elements, as the tuples that they were."""
    return tuple(
        entry if entry is None else _shapes(entry) if isinstance(entry, list) else size(entry) for entry in entries
    )


def _open_names(values: Any) -> tuple[str | None, ...]:
    if not isinstance(values, list):
        raise ArtifactError(f"{values!r} is no list of names")
    return tuple(None if value is None else str(value) for value in values)


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ArtifactError(f"{values!r} is no list of names")
    return tuple(map(str, values))
