"""`heddle quantize`: a float model to int8, and which layers lose by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from numpy.typing import NDArray
from rich.progress import Progress
from rich.table import Table

from heddle.commands.arguments import Model
from heddle.commands.display import ERR, OUT, size
from heddle.commands.run import read_arrays
from heddle.core.errors import InputError
from heddle.core.files import write_whole
from heddle.quantize import Quantized, quantize, require_onnxruntime

Array = NDArray[Any]


def command(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the quantized model goes.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Samples: a folder of .npz or .npy, one each; or one .npz, along the first axis."),
    ] = None,
    random: Annotated[int, typer.Option(help="So many random samples instead, to try things out.")] = 0,
    symmetric: Annotated[
        bool, typer.Option("--symmetric/--asymmetric", help="Activations as int8 without zero points, or as uint8.")
    ] = False,
    per_channel: Annotated[bool, typer.Option("--per-channel/--per-tensor", help="Scales of weights.")] = True,
    calibration: Annotated[str, typer.Option(help="How ranges are found: minmax, percentile or entropy.")] = "minmax",
    keep: Annotated[
        list[str] | None, typer.Option(metavar="NODE", help="Nodes that stay in float, by name with * and ?.")
    ] = None,
) -> None:
    """Quantize a float model to int8 by calibration, and report the error of each layer."""
    require_onnxruntime()
    if (data is None) == (not random):
        raise typer.BadParameter("give either --data or --random", param_hint="--data")
    try:
        proto = onnx.load(model)
    except Exception as error:
        raise InputError(f"{model}: it cannot be read as an ONNX model: {error}") from error
    samples = read_samples(proto, data) if data is not None else random_samples(proto, random)
    with Progress(console=ERR, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        result = quantize(
            proto, samples, symmetric=symmetric, per_channel=per_channel,
            calibration=calibration, keep=keep or (), progress=tell,  # type: ignore[arg-type] # checked there
        )  # fmt: skip
    write_whole(output, result.model.SerializeToString())
    show(result, len(samples))
    OUT.print(f"{output}: {size(output.stat().st_size)}", highlight=False)


def show(result: Quantized, samples: int) -> None:
    """The error of each activation, of the outputs, and a hint."""
    table = Table("node", "operator", "tensor", "SQNR", "mean error", "lost", box=None)
    for error in result.tensors:
        lost = f"{error.lost:.1f} dB" if error.lost >= 0.1 else ""
        table.add_row(error.node, error.op, error.tensor, f"{error.sqnr:.1f} dB", f"{error.mean:.3g}", lost)
    OUT.print(table)
    for name, error in result.outputs.items():
        OUT.print(
            f"output {name}: {error.sqnr:.1f} dB, mean error {error.mean:.3g}, on {samples} samples", highlight=False
        )
    hurting = [error for error in result.hurting() if error.node]
    if hurting:
        worst = ", ".join(f"{error.node} ({error.lost:.1f} dB)" for error in hurting)
        OUT.print(f"most is lost at {worst}; try --keep {hurting[0].node}", highlight=False)


def inputs_of(model: onnx.ModelProto) -> dict[str, tuple[str, list[int]]]:
    """The inputs of a model without initializers: numpy dtype and dimensions, symbolic ones as 0."""
    known = {each.name for each in model.graph.initializer}
    found = {}
    for value in model.graph.input:
        if value.name not in known:
            kind = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            found[value.name] = (str(dtype), [dim.dim_value for dim in kind.shape.dim])
    return found


def random_samples(model: onnx.ModelProto, count: int) -> list[dict[str, Array]]:
    """Samples from a normal distribution, of integers small ones; the same each time. Symbolic dimensions are 1."""
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(count):
        sample: dict[str, Array] = {}
        for name, (dtype, dims) in inputs_of(model).items():
            shape = [dim or 1 for dim in dims]
            floats = np.issubdtype(np.dtype(dtype), np.floating)
            sample[name] = (rng.standard_normal(shape) if floats else rng.integers(0, 100, shape)).astype(dtype)
        samples.append(sample)
    return samples


def read_samples(model: onnx.ModelProto, path: Path) -> list[dict[str, Array]]:
    """The samples of a folder, one in each file, or of one .npz file, stacked along the first axis."""
    inputs = inputs_of(model)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".npz", ".npy"))
        if not files:
            raise InputError(f"{path}: there are no .npz or .npy files")
        return [_sample(file, inputs) for file in files]
    arrays = read_arrays(path)
    counts = {len(array) for array in arrays.values() if array.ndim}
    if len(counts) != 1:
        raise InputError(f"{path}: arrays have {sorted(counts)} samples, expected the same number of each")
    return [
        {name: _cut(array, at, inputs.get(name, ("", []))[1]) for name, array in arrays.items()}
        for at in range(counts.pop())
    ]


def _cut(array: Array, at: int, dims: Sequence[int]) -> Array:
    """One sample of a stack; it keeps an axis of length 1 where the model's input has a batch."""
    return array[at : at + 1] if array.ndim == len(dims) else array[at]


def _sample(file: Path, inputs: dict[str, tuple[str, list[int]]]) -> dict[str, Array]:
    if file.suffix == ".npz":
        return read_arrays(file)
    if len(inputs) != 1:
        raise InputError(f"{file}: the model has {len(inputs)} inputs, .npz files name them")
    try:
        return {next(iter(inputs)): np.load(file, allow_pickle=False)}
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: it cannot be read as .npy: {error}") from error
