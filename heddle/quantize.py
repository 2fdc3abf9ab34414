"""Post-training static quantization by onnxruntime, with settings that suit integer accelerators, and what it cost.

Importing this module needs no onnxruntime; calling it does.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib.util
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, version_converter

from heddle.core.errors import HeddleError, InputError, ModelError

Array = NDArray[Any]
Sample = Mapping[str, Array]
Calibration = Literal["minmax", "percentile", "entropy"]
Progress = Callable[[str, int, int], None]

OPSET = 13
"""The oldest opset whose QuantizeLinear has an axis; older models are converted to it."""


@dataclass(frozen=True)
class TensorError:
    """The error of one quantized activation against the float model: `sqnr` in dB, `mean` of the absolute difference.

    `node` computes it, and `lost` are the dB that the worst of its inputs had more.
    """

    tensor: str
    node: str
    op: str
    sqnr: float
    mean: float
    lost: float


@dataclass(frozen=True)
class Quantized:
    """A quantized model, the errors of its activations in the order of the graph, and those of its outputs by name."""

    model: ModelProto
    tensors: tuple[TensorError, ...]
    outputs: Mapping[str, TensorError]

    def hurting(self, most: int = 5, lost: float = 3.0) -> tuple[TensorError, ...]:
        """The activations at which at least `lost` dB are lost, the worst first."""
        found = [error for error in self.tensors if error.lost >= lost]
        return tuple(sorted(found, key=lambda error: (-error.lost, error.tensor))[:most])


def quantize(
    model: ModelProto | str | PathLike[str],
    data: Sequence[Sample],
    *,
    symmetric: bool = False,
    per_channel: bool = True,
    calibration: Calibration = "minmax",
    keep: Sequence[str] = (),
    progress: Progress | None = None,
) -> Quantized:
    """Quantize a float model to int8, QuantizeLinear and DequantizeLinear around each operator.

    Weights are symmetric int8, per output channel unless `per_channel` is False; activations are uint8, or with
    `symmetric` int8 without zero points. `data` are the samples, by input name, on which ranges are found and the
    error is measured. `keep` names nodes that stay in float, with * and ?.

    HeddleError when onnxruntime is missing, ModelError when it cannot quantize the model, InputError when samples or
    names do not fit it.
    """
    require_onnxruntime()
    if calibration not in get_args(Calibration):
        raise HeddleError(f"calibration: {calibration!r}, expected one of {', '.join(get_args(Calibration))}")
    if not data:
        raise InputError("quantize: no sample is given; ranges of activations are found on samples")
    tell = progress or (lambda what, done, total: None)
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: str(Path(folder) / f"{name}.onnx") for name in ("given", "float", "int8", "float_all", "int8_all")
        }
        tell("prepare", 0, 1)
        proto = onnx.load(model) if not isinstance(model, ModelProto) else model
        _prepare(_modern(proto), paths)
        kept = _kept(onnx.load(paths["float"]), keep, data[0])
        _quantize(paths, data, symmetric, per_channel, calibration, kept, tell)
        errors, outputs = _errors(paths, data, tell)
        return Quantized(onnx.load(paths["int8"]), errors, outputs)


def require_onnxruntime() -> None:
    """HeddleError with the remedy when onnxruntime is not there."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise HeddleError(
            "quantize: onnxruntime is not installed, it does the calibration; pip install 'heddle[quantize]'"
        )


def _modern(model: ModelProto) -> ModelProto:
    """The model in its own opset, or in `OPSET` when it is older; initializers are no inputs, each node has a name."""
    known = {each.name for each in model.graph.initializer}
    result = ModelProto()
    result.CopyFrom(model)
    for value in [value for value in result.graph.input if value.name in known]:
        result.graph.input.remove(value)
    read = {name for node in result.graph.node for name in node.input} | {value.name for value in result.graph.output}
    if not any(a.type == a.GRAPH for node in result.graph.node for a in node.attribute):
        for constant in [each for each in result.graph.initializer if each.name not in read]:
            result.graph.initializer.remove(constant)  # onnxruntime would warn of each
    for number, node in enumerate(result.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"  # `keep` and the report need names
    version = next((each.version for each in result.opset_import if each.domain in ("", "ai.onnx")), OPSET)
    if version >= OPSET:
        return result
    result.ir_version = max(result.ir_version, 7)
    try:
        return version_converter.convert_version(result, OPSET)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"model: opset {version} cannot be converted to {OPSET}, quantization needs that: {error}"
        ) from error


def _prepare(model: ModelProto, paths: Mapping[str, str]) -> None:
    from onnxruntime.quantization import quant_pre_process

    onnx.save(model, paths["given"])
    try:
        with _quiet():
            quant_pre_process(paths["given"], paths["float"], skip_symbolic_shape=True)
    except Exception as error:
        raise ModelError(f"model: onnxruntime cannot prepare it: {error}") from error
    ready = onnx.load(paths["float"])
    _flatten_biases(ready)
    onnx.save(ready, paths["float"])


def _flatten_biases(model: ModelProto) -> None:
    """Make a Gemm's bias of one row a vector, which means the same; onnxruntime's quantizer fails at rows."""
    rows = {node.input[2] for node in model.graph.node if node.op_type == "Gemm" and len(node.input) > 2}
    for constant in model.graph.initializer:
        if constant.name in rows and len(constant.dims) == 2 and constant.dims[0] == 1:
            columns = constant.dims[1]
            del constant.dims[:]
            constant.dims.append(columns)


def _kept(model: ModelProto, keep: Sequence[str], sample: Sample) -> list[str]:
    """The nodes that the patterns in `keep` name; InputError when one names none, or when a sample does not fit."""
    known = [node.name for node in model.graph.node]
    for name in keep:
        if not fnmatch.filter(known, name):
            raise InputError(f"keep: there is no node {name!r} after folding; some are {', '.join(known[:5])}")
    wanted = {value.name for value in model.graph.input}
    if set(sample) != wanted:
        raise InputError(f"data: samples have {', '.join(sorted(sample))}, the model takes {', '.join(sorted(wanted))}")
    return [name for name in known if any(fnmatch.fnmatchcase(name, each) for each in keep)]


def _quantize(
    paths: Mapping[str, str], data: Sequence[Sample], symmetric: bool, per_channel: bool, calibration: Calibration,
    keep: Sequence[str], tell: Progress,
) -> None:  # fmt: skip
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
    try:
        with _quiet():
            quantize_static(
                paths["float"],
                paths["int8"],
                _reader(data, lambda done: tell("calibrate", done, len(data))),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=per_channel,
                calibrate_method=methods[calibration],
                nodes_to_exclude=list(keep),
                extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True},
            )
    except Exception as error:
        raise ModelError(f"model: onnxruntime cannot quantize it: {error}") from error
    coded = onnx.load(paths["int8"])
    _join_alike(coded)
    onnx.save(coded, paths["int8"])


def _join_alike(model: ModelProto) -> None:
    """Give what only a Concat reads the scale of its result, so that joining changes no number.

    Nothing is lost: each operand would be rounded to that scale there, and now is once instead of twice.
    """
    nodes = list(model.graph.node)
    made = {name: node for node in nodes for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {value.name: [onnx.NodeProto()] for value in model.graph.output}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for concat in reversed(nodes):
        after = readers.get(concat.output[0], [])
        if concat.op_type != "Concat" or [node.op_type for node in after] != ["QuantizeLinear"]:
            continue
        for name in concat.input:
            read = made.get(name)
            stored = made.get(read.input[0]) if read is not None and read.op_type == "DequantizeLinear" else None
            if read is None or stored is None or stored.op_type != "QuantizeLinear":
                continue
            if len(readers[stored.output[0]]) == len(readers[name]) == 1:
                for node in (stored, read):
                    node.input[1:] = after[0].input[1:]


def _reader(data: Iterable[Sample], seen: Callable[[int], None]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.rest = enumerate(data)

        def get_next(self) -> dict[str, Array] | None:
            number, sample = next(self.rest, (-1, None))
            if sample is None:
                return None
            seen(number + 1)
            return dict(sample)

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice, which goes to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


# -- the error of each activation ----------------------------------------------------------------------------------


def _errors(
    paths: Mapping[str, str], data: Sequence[Sample], tell: Progress
) -> tuple[tuple[TensorError, ...], dict[str, TensorError]]:
    plain, coded = onnx.load(paths["float"]), onnx.load(paths["int8"])
    pairs = _counterparts(plain, coded)
    results = [value.name for value in plain.graph.output]
    sessions = (
        _session(plain, [*pairs, *results], paths["float_all"]),
        _session(coded, [*pairs.values(), *results], paths["int8_all"]),
    )
    sums = {name: np.zeros(4) for name in [*pairs, *results]}  # signal, noise, absolute difference, elements
    for done, sample in enumerate(data):
        tell("compare", done, len(data))
        before, after = (session(sample) for session in sessions)
        for name in sums:
            mine = after[name if name in results else pairs[name]].astype(np.float64)
            theirs = before[name].astype(np.float64)
            gap = theirs - mine
            sums[name] += (theirs**2).sum(), (gap**2).sum(), np.abs(gap).sum(), gap.size
    tell("compare", len(data), len(data))
    return _table(plain, sums, pairs), {name: _row(name, sums[name], "", "", 0.0) for name in results}


def _counterparts(plain: ModelProto, coded: ModelProto) -> dict[str, str]:
    """Activations of the float model that the quantized one dequantizes: their names there and here."""
    computed = {name for node in plain.graph.node for name in node.output} | {v.name for v in plain.graph.input}
    quantized = {node.output[0]: node.input[0] for node in coded.graph.node if node.op_type == "QuantizeLinear"}
    found: dict[str, str] = {}
    for node in coded.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in quantized:
            # An output of the graph keeps its name behind both nodes, all else before them.
            names = (quantized[node.input[0]], node.output[0])
            name = next((name for name in names if name in computed), None)
            if name is not None:
                found.setdefault(name, node.output[0])
    return found


def _session(model: ModelProto, names: Sequence[str], path: str) -> Callable[[Sample], dict[str, Array]]:
    import onnxruntime

    known = {value.name for value in model.graph.output}
    taken = {value.name for value in model.graph.input}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known | taken)
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")  # sums of bytes never saturate
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [value.name for value in session.get_outputs()]

    def run(sample: Sample) -> dict[str, Array]:
        return {**sample, **dict(zip(outputs, session.run(None, dict(sample)), strict=True))}

    return run


def _table(plain: ModelProto, sums: Mapping[str, Array], pairs: Mapping[str, str]) -> tuple[TensorError, ...]:
    rows: dict[str, TensorError] = {}
    reach: dict[str, float] = {}  # the SQNR of each activation, of those in between that of their inputs
    for value in plain.graph.input:
        if value.name in pairs:
            rows[value.name] = _row(value.name, sums[value.name], "", "input", 0.0)
            reach[value.name] = rows[value.name].sqnr
    for node in plain.graph.node:
        best = min((reach[name] for name in node.input if name in reach), default=np.inf)
        for name in node.output:
            reach[name] = best
            if name in pairs:
                row = _row(name, sums[name], node.name, node.op_type, best)
                rows[name] = row
                reach[name] = row.sqnr
    return tuple(rows.values())


def _row(name: str, sums: Array, node: str, op: str, before: float) -> TensorError:
    signal, noise, absolute, count = (float(each) for each in sums)
    sqnr = 10 * np.log10(signal / noise) if signal and noise else (np.inf if not noise else 0.0)
    lost = max(before - sqnr, 0.0) if np.isfinite(before) and np.isfinite(sqnr) else 0.0
    return TensorError(name, node, op, float(sqnr), absolute / max(count, 1.0), float(lost))
