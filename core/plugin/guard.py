"""Calls into backends, so that whatever one does wrong becomes a BackendError that names it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from heddle.core.errors import BackendError
from heddle.core.ir import Graph, Node, Pass, Phase, TensorType, Value, dtype_name, verify
from heddle.core.pattern import Pattern
from heddle.core.plugin.backend import Backend, Cost, Region
from heddle.core.plugin.recall import recalled
from heddle.core.runtime.artifact import Artifact, Port, Signature


@dataclass(frozen=True)
class Compiled:
    """An artifact, and the failure of the backend that should have made it when another one did."""

    artifact: Artifact
    failure: BackendError | None = None


def compile_region(backend: Backend, region: Region, fallback: Backend | None = None) -> Compiled:
    """The region's artifact, checked against the region; by `fallback` when it is given and the backend fails."""
    try:
        return Compiled(_compile(backend, region))
    except BackendError as failure:
        if fallback is None or fallback.name == backend.name:
            raise
        moved = Region(region.name, fallback.name, region.body)
        return Compiled(_compile(fallback, moved), failure)


def patterns_of(backend: Backend) -> Sequence[Pattern]:
    """The backend's patterns, each once; BackendError when they cannot be had."""
    try:
        patterns = tuple(backend.patterns)
    except Exception as error:
        raise _failed(backend, "its patterns cannot be had", error) from error
    for pattern in patterns:
        if not isinstance(pattern, Pattern):
            raise BackendError(f"backend {backend.name!r}: {pattern!r} is among its patterns, a Pattern is expected")
    names = [pattern.name for pattern in patterns]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BackendError(f"backend {backend.name!r}: two of its patterns are named {twice!r}; rename one of them")
    return patterns


def refusal_of(backend: Backend, node: Node) -> str | None:
    """Why a backend that takes all refuses a node; BackendError when it cannot say."""
    try:
        reason = backend.refuses(node)
    except Exception as error:
        raise _failed(backend, f"asked whether it takes {node.op}, it failed", error) from error
    if reason is not None and not isinstance(reason, str):
        raise BackendError(
            f"backend {backend.name!r}: it refuses {node.op} with {reason!r}; a text or None is expected"
        )
    return reason


def run_passes(backend: Backend, phase: Phase, graph: Graph) -> Graph:
    """The graph after the backend's passes of a phase, which may not change what goes in and out of it."""
    for rewriting in _passes(backend, phase):
        try:
            after = verify(rewriting(graph))
        except Exception as error:
            raise _failed(backend, f"its pass {rewriting.__name__} failed", error) from error
        if (after.inputs, after.outputs) != (graph.inputs, graph.outputs):
            raise BackendError(
                f"backend {backend.name!r}: its pass {rewriting.__name__} changed the inputs or outputs of the graph, "
                "which must stay"
            )
        graph = after
    return graph


def _passes(backend: Backend, phase: Phase) -> Sequence[Pass]:
    try:
        return tuple(backend.passes.get(phase, ()))
    except Exception as error:
        raise _failed(backend, "its passes cannot be had", error) from error


def estimate(backend: Backend, region: Region) -> Cost:
    """What the backend says a region costs: finite, not negative."""
    try:
        cost = backend.estimate(region)
        good = isinstance(cost, Cost) and 0 <= cost.compute < float("inf") and 0 <= cost.launch < float("inf")
    except Exception as error:
        raise _failed(backend, f"its estimate of region {region.name} failed", error) from error
    if not good:
        raise BackendError(
            f"backend {backend.name!r}: its estimate of region {region.name} is {cost!r}, "
            "a Cost of finite seconds from 0 is expected"
        )
    return cost


def _compile(backend: Backend, region: Region) -> Artifact:
    try:
        artifact = recalled(backend, region, lambda: backend.compile(region))
    except Exception as error:
        raise _failed(backend, f"compiling region {region.name} failed", error) from error
    where = f"backend {backend.name!r}: the artifact of region {region.name}"
    if not isinstance(artifact, Artifact):
        raise BackendError(f"{where} is {type(artifact).__name__}, an Artifact is expected; {_RETURNS}")
    for name, kind in _FIELDS.items():
        if not isinstance(getattr(artifact, name), kind):
            found = type(getattr(artifact, name)).__name__
            raise BackendError(f"{where}: its {name} is {found}, {kind.__name__} is expected; {_RETURNS}")
    for name, array in artifact.constants.items():
        if not isinstance(array, np.ndarray):
            raise BackendError(
                f"{where}: its constant {name!r} is {type(array).__name__}, an array of numpy is expected; "
                "all else belongs into its code"
            )
    if artifact.backend != backend.name:
        raise BackendError(f"{where} says that it is of backend {artifact.backend!r}")
    _check_ports(f"{where}: inputs", artifact.signature.inputs, region.body.inputs)
    _check_ports(f"{where}: outputs", artifact.signature.outputs, region.body.outputs)
    for output, source in artifact.signature.aliases:
        if not (0 <= output < len(region.body.outputs) and 0 <= source < len(region.body.inputs)):
            raise BackendError(f"{where}: alias ({output}, {source}) names an output or input that is not there")
    if not isinstance(artifact.code, bytes) or artifact.workspace < 0:
        raise BackendError(
            f"{where}: its code must be bytes and its workspace 0 or more; "
            "write what the device needs as bytes, for instance by json.dumps(...).encode()"
        )
    try:
        json.dumps(dict(artifact.meta))
    except (TypeError, ValueError) as error:
        raise BackendError(
            f"{where}: its meta cannot be written as JSON: {error}; "
            "arrays belong into its constants, all else into its code"
        ) from error
    return artifact


_FIELDS = {"device": str, "signature": Signature, "constants": Mapping, "workspace": int}
"""What fields of an artifact must be before anything else is asked of them."""

_RETURNS = "`compile` returns Artifact(self.name, device, region.signature, code)"
_PASS_ON = "give it region.signature"


def _check_ports(what: str, ports: Sequence[Port], values: Sequence[Value]) -> None:
    if len(ports) != len(values):
        raise BackendError(f"{what}: {len(values)} are expected, it has {len(ports)}; {_PASS_ON}")
    for port, value in zip(ports, values, strict=True):
        if port.name != value.name:
            raise BackendError(f"{what}: {value} is expected, found %{port.name}; {_PASS_ON}")
        if not isinstance(value.type, TensorType):
            continue
        expected = dtype_name(value.type.dtype)
        if port.dtype != expected:
            raise BackendError(f"{what}: {value} is {expected}, the artifact has {port.dtype}; {_PASS_ON}")
        if value.type.shape is not None and tuple(port.shape) != value.type.shape:
            raise BackendError(
                f"{what}: {value} is {value.type}, the artifact has shape {list(port.shape)}; {_PASS_ON}"
            )


def _failed(backend: Backend, what: str, error: Exception) -> BackendError:
    failure = BackendError(f"backend {backend.name!r}: {what} with {type(error).__name__}: {error}")
    for note in getattr(error, "__notes__", ()):
        failure.add_note(note)
    return failure
