"""The manifest of a compiled model: schedules as JSON, with code and constants by digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from heddle.core.dtypes import dtype_name, dtype_named
from heddle.core.errors import ArtifactError
from heddle.core.runtime.artifact import Artifact, Port, Signature
from heddle.core.runtime.schedule import Schedule, Step, TensorSpec, check
from numpy.typing import NDArray

Array = NDArray[Any]


def encode(
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    schedules: Sequence[Schedule],
    code: Callable[[bytes], str],
    constant: Callable[[Array], str],
) -> dict[str, Any]:
    """The manifest; `code` and `constant` keep what they are given and return its digest."""

    def constants(arrays: Mapping[str, Array]) -> dict[str, Any]:
        return {
            key: {"digest": constant(array), "dtype": dtype_name(array.dtype), "shape": list(array.shape)}
            for key, array in arrays.items()
        }

    def artifact(value: Artifact | None) -> dict[str, Any] | None:
        if value is None:
            return None
        return {
            "backend": value.backend,
            "device": value.device,
            "inputs": [vars(port) for port in value.signature.inputs],
            "outputs": [vars(port) for port in value.signature.outputs],
            "aliases": value.signature.aliases,
            "code": code(value.code),
            "constants": constants(value.constants),
            "workspace": value.workspace,
            "meta": dict(value.meta),
            "nodes": value.nodes,
        }

    return {
        "name": name,
        "inputs": [vars(spec) for spec in inputs],
        "outputs": [vars(spec) for spec in outputs],
        "schedules": [
            {
                "inputs": [vars(spec) for spec in schedule.inputs],
                "outputs": [vars(spec) for spec in schedule.outputs],
                "results": schedule.results,
                "constants": constants(schedule.constants),
                "steps": [
                    {
                        "name": step.name,
                        "inputs": step.inputs,
                        "outputs": step.outputs,
                        "artifact": artifact(step.artifact),
                        "fallback": artifact(step.fallback),
                    }
                    for step in schedule.steps
                ],
            }
            for schedule in schedules
        ],
    }


def decode(
    manifest: Mapping[str, Any], codes: Mapping[str, memoryview], arrays: Mapping[str, NDArray[np.uint8]]
) -> tuple[str, tuple[TensorSpec, ...], tuple[TensorSpec, ...], tuple[Schedule, ...]]:
    """The inverse of `encode`: name, inputs, outputs, schedules. Raises whatever nonsense causes."""

    def constants(entries: Mapping[str, Any]) -> dict[str, Array]:
        return {key: _array(key, entry, arrays) for key, entry in entries.items()}

    def artifact(entry: Mapping[str, Any]) -> Artifact:
        signature = Signature(
            tuple(map(_port, entry["inputs"])),
            tuple(map(_port, entry["outputs"])),
            tuple((int(output), int(input)) for output, input in entry["aliases"]),
        )
        return Artifact(
            str(entry["backend"]),
            str(entry["device"]),
            signature,
            bytes(codes[entry["code"]]),
            constants(entry["constants"]),
            _size(entry["workspace"]),
            dict(entry["meta"]),
            _names(entry["nodes"]),
        )

    def schedule(entry: Mapping[str, Any]) -> Schedule:
        steps = tuple(
            Step(
                str(step["name"]),
                artifact(step["artifact"]),
                _names(step["inputs"]),
                _names(step["outputs"]),
                artifact(step["fallback"]) if step["fallback"] is not None else None,
            )
            for step in entry["steps"]
        )
        return check(
            Schedule(
                tuple(map(_spec, entry["inputs"])),
                tuple(map(_spec, entry["outputs"])),
                _names(entry["results"]),
                steps,
                constants(entry["constants"]),
            )
        )

    return (
        str(manifest["name"]),
        tuple(map(_spec, manifest["inputs"])),
        tuple(map(_spec, manifest["outputs"])),
        tuple(map(schedule, manifest["schedules"])),
    )


def _array(name: str, entry: Mapping[str, Any], arrays: Mapping[str, NDArray[np.uint8]]) -> Array:
    dtype, shape = dtype_named(entry["dtype"]), tuple(map(_size, entry["shape"]))
    raw = arrays[entry["digest"]]
    if dtype.kind == "O" or raw.nbytes != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        raise ArtifactError(f"constant {name!r}: {raw.nbytes} bytes are no {entry['dtype']}{list(shape)}")
    return raw.view(dtype).reshape(shape)


def _port(entry: Mapping[str, Any]) -> Port:
    shape = tuple(map(_size, entry["shape"]))
    return Port(str(entry["name"]), str(entry["dtype"]), shape, str(entry["layout"]), str(entry["memory"]))


def _spec(entry: Mapping[str, Any]) -> TensorSpec:
    dims = tuple(dim if isinstance(dim, str) else _size(dim) for dim in entry["dims"])
    dtype_named(entry["dtype"])
    return TensorSpec(str(entry["name"]), str(entry["dtype"]), dims)


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ArtifactError(f"{value!r} is no size, an integer from 0 is expected")
    return value


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ArtifactError(f"{values!r} is no list of names")
    return tuple(map(str, values))
