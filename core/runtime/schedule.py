"""Schedule: the steps that compute a model at one set of input shapes, and what flows between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from heddle.core.dtypes import dtype_name, dtype_named
from heddle.core.errors import ArtifactError
from heddle.core.runtime.artifact import Artifact, Port
from heddle.core.runtime.specs import TensorSpec as TensorSpec
from numpy.typing import NDArray


@dataclass(frozen=True)
class Step:
    """One run of an artifact: the names of the values that it reads and of those that it binds.

    `fallback` is a host artifact with the same meaning, for runs that survive a device's fault.
    """

    name: str
    artifact: Artifact
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fallback: Artifact | None = None


@dataclass(frozen=True)
class Schedule:
    """Steps in an order in which each value is bound before it is read.

    `results` names the value of each output: bound by a step, an input, or one of `constants`, which are the arrays
    that lie outside every artifact.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    results: tuple[str, ...]
    steps: tuple[Step, ...]
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The input shapes that this schedule computes."""
        return tuple(known(spec) for spec in self.inputs)

    @property
    def types(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The element type and shape of each value that is an input, a constant or crosses between steps."""
        types = {spec.name: (spec.dtype, known(spec)) for spec in self.inputs}
        types |= {name: (dtype_name(array.dtype), array.shape) for name, array in self.constants.items()}
        for step in self.steps:
            ports = step.artifact.signature.outputs
            types |= {name: (port.dtype, port.shape) for name, port in zip(step.outputs, ports, strict=True)}
        return types

    def without_fallbacks(self) -> Schedule:
        return replace(self, steps=tuple(replace(step, fallback=None) for step in self.steps))


def known(spec: TensorSpec) -> tuple[int, ...]:
    """The shape of a spec that has no symbols."""
    if spec.shape is None:
        raise ArtifactError(f"{spec.name}: the shape {spec} is not fixed, a schedule needs known dimensions")
    return spec.shape


def check(schedule: Schedule) -> Schedule:
    """Return the schedule when every value is bound once, before its use, with one type; else raise ArtifactError."""
    bound: dict[str, tuple[str, tuple[int, ...]]] = {}

    def bind(name: str, type: tuple[str, tuple[int, ...]], where: str) -> None:
        if name in bound:
            raise ArtifactError(f"{where}: value {name!r} is bound twice")
        if any(dim < 0 for dim in type[1]):
            raise ArtifactError(f"{where}: value {name!r} has the shape {list(type[1])}, dimensions are not negative")
        try:
            dtype_named(type[0])
        except KeyError:
            raise ArtifactError(f"{where}: value {name!r} has the unknown element type {type[0]!r}") from None
        bound[name] = type

    def use(name: str, type: tuple[str, tuple[int, ...]], where: str) -> None:
        if name not in bound:
            raise ArtifactError(f"{where}: value {name!r} is read before it is bound")
        if bound[name] != type:
            raise ArtifactError(f"{where}: value {name!r} is {_text(bound[name])}, {_text(type)} is expected")

    for spec in schedule.inputs:
        bind(spec.name, (spec.dtype, known(spec)), "inputs")
    for name, array in schedule.constants.items():
        bind(name, (dtype_name(array.dtype), array.shape), "constants")
    for step in schedule.steps:
        for artifact in (step.artifact, step.fallback):
            if artifact is None:
                continue
            where = f"region {step.name!r} of backend {artifact.backend!r}"
            signature = artifact.signature
            _match(step.inputs, signature.inputs, f"{where}: inputs")
            _match(step.outputs, signature.outputs, f"{where}: outputs")
            for name, port in zip(step.inputs, signature.inputs, strict=True):
                use(name, (port.dtype, port.shape), where)
            if artifact is step.artifact:
                for name, port in zip(step.outputs, signature.outputs, strict=True):
                    bind(name, (port.dtype, port.shape), where)
            else:
                for name, port in zip(step.outputs, signature.outputs, strict=True):
                    use(name, (port.dtype, port.shape), where)
    if len(schedule.results) != len(schedule.outputs):
        raise ArtifactError(f"outputs: {len(schedule.outputs)} are declared, {len(schedule.results)} are computed")
    for spec, name in zip(schedule.outputs, schedule.results, strict=True):
        use(name, (spec.dtype, known(spec)), f"output {spec.name!r}")
    return schedule


def _match(names: tuple[str, ...], ports: tuple[Port, ...], where: str) -> None:
    if len(names) != len(ports):
        raise ArtifactError(f"{where}: the region has {len(names)}, the artifact's signature {len(ports)}")


def _text(type: tuple[str, tuple[int, ...]]) -> str:
    return f"{type[0]}[{','.join(map(str, type[1]))}]"
