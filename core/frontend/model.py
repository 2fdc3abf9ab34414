"""Reads a ModelProto from a path, bytes or memory, and checks what holds for a model as a whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from heddle.core.errors import ModelError
from heddle.core.frontend.opsets import OLDEST
from onnx import FunctionProto, ModelProto
from onnx.defs import onnx_opset_version

FunctionKey = tuple[str, str, str]
"""Domain, name and overload of a function of the model."""


@dataclass(frozen=True)
class Model:
    """A model whose shell is sound: it has a graph, opsets that Heddle reads, and functions under different names."""

    proto: ModelProto
    name: str
    folder: Path | None
    opsets: dict[str, int]
    functions: dict[FunctionKey, FunctionProto]


def read_model(source: str | os.PathLike[str] | bytes | ModelProto) -> Model:
    """The model at a path, in serialized bytes, or in memory; ModelError when it is no sound model."""
    if isinstance(source, ModelProto):
        proto, name, folder = source, source.graph.name or "model", None
    elif isinstance(source, bytes):
        proto, name, folder = _decoded(source, "model"), "model", None
    else:
        path = Path(source)
        if not path.is_file():
            raise ModelError(f"{path}: there is no such file")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: it cannot be read: {error.strerror}") from None
        proto, name, folder = _decoded(data, path.name), path.name, path.parent
    if not proto.HasField("graph"):
        raise ModelError(f"{name}: it holds no graph; an ONNX model is expected")
    opsets = opset_versions(proto.opset_import, name)
    if not opsets:
        raise ModelError(f"{name}: it names no opset; the file is damaged or too old")
    opsets.setdefault("", onnx_opset_version())
    functions: dict[FunctionKey, FunctionProto] = {}
    for function in proto.functions:
        key = (domain_of(function.domain), function.name, function.overload)
        if key in functions:
            raise ModelError(f"{name}: function {function.domain}.{function.name} is defined twice")
        functions[key] = function
    return Model(proto, name, folder, opsets, functions)


def opset_versions(imports: object, name: str) -> dict[str, int]:
    """The version of each domain; ModelError when it is outside of what Heddle reads."""
    opsets: dict[str, int] = {}
    for entry in imports:  # type: ignore[attr-defined]  # a repeated field has no usable static type
        domain, version = domain_of(entry.domain), int(entry.version)
        if opsets.get(domain, version) != version:
            both = f"{opsets[domain]} and {version}"
            raise ModelError(f"{name}: opset {domain or 'ai.onnx'} is imported in versions {both}")
        opsets[domain] = version
    version = opsets.get("", OLDEST)
    newest = onnx_opset_version()
    if not OLDEST <= version <= newest:
        raise ModelError(
            f"{name}: it is written for opset {version}, opsets {OLDEST} to {newest} are read;"
            " onnx.version_converter may convert it"
        )
    return opsets


def domain_of(domain: str) -> str:
    """The domain's one spelling: the default domain is empty."""
    return "" if domain == "ai.onnx" else domain


def full_name(domain: str, op: str) -> str:
    """How the IR names an operator: `Relu`, `com.vendor.Op`."""
    return f"{domain_of(domain)}.{op}" if domain_of(domain) else op


def _decoded(data: bytes, name: str) -> ModelProto:
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's own classes of errors differ between its versions
        raise ModelError(f"{name}: it is not an ONNX model, or it is damaged: {error}") from None
    return proto
