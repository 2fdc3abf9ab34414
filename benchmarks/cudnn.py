"""cuDNN through Heddle beside others on one GPU, in interleaved rounds; without one, what programs consist of.

    python -m benchmarks.cudnn [MODEL...] [--batch N...] [--form float32|tf32|float16...] [--rounds N]
    python -m benchmarks.cudnn --static [--device h100]

The peers are `onnxruntime-gpu` and `torch.compile`, those of the two that are installed with CUDA. A ratio above 1
says by how much Heddle is faster in a whole call, copies included; `difference` is the largest from onnxruntime on
the CPU, in units of the greatest magnitude. The lines are a table of Markdown. `--static` compiles for a GPU that
need not be there, and shows the share of multiplications that is offloaded, the steps by kind, the distinct kernels,
the memory of a run, the processor's seconds that compiling takes, and the roofline of the GPU's data sheet.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import onnxruntime
from heddle.backends.cudnn.backend import Cudnn
from heddle.backends.cudnn.device import CudnnDevice
from heddle.backends.cudnn.program import Launch, from_bytes
from heddle.core.errors import DeviceError
from heddle.core.frontend import import_model
from heddle.core.ir import Graph
from heddle.core.passes import optimize
from heddle.core.plugin.figures import work_of
from onnx import TensorProto, numpy_helper

import heddle
from benchmarks.models import build, example
from benchmarks.torch_peer import compiled
from heddle.measure.timing import interleaved

MODELS = ("resnet50", "bert_base")
BATCHES = (1, 8, 64)
FORMS = ("float32", "tf32", "float16")
CONTRACTIONS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def variant(name: str, batch: int, form: str) -> tuple[onnx.ModelProto, np.ndarray[Any, Any]]:
    """The model for so many inputs at once, in float16 where that is the form, and an input for it."""
    model, x = batched(build(name), batch), np.repeat(example(name), batch, 0)
    if form == "float16":
        model, x = halved(model), x.astype(np.float16) if x.dtype == np.float32 else x
    return model, x


def batched(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The model for a larger batch: its input, and the reshapes that say 1."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    constants = {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
    constants |= {tensor.name: tensor for tensor in model.graph.initializer}
    for tensor in (constants[name] for name in sorted(shapes & constants.keys())):
        dims = numpy_helper.to_array(tensor).copy()
        dims[0] = batch if dims[0] == 1 else dims[0]
        tensor.CopyFrom(numpy_helper.from_array(dims, tensor.name))
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every float32 made float16."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for port in (*model.graph.input, *model.graph.output):
        if port.type.tensor_type.elem_type == TensorProto.FLOAT:
            port.type.tensor_type.elem_type = TensorProto.FLOAT16
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float16)))
    return model


def multiplications(graph: Graph) -> float:
    """The operations of a graph's convolutions and products."""
    return sum(work_of(node).operations for node in graph.nodes if node.op in CONTRACTIONS)


def static(name: str, batch: int, form: str, chip: str) -> None:
    """One line on what a model becomes."""
    model, _ = variant(name, batch, form)
    backend = Cudnn(Cudnn.Options(device=chip, tf32=form == "tf32"))
    graph = optimize(import_model(model))
    start = time.process_time()
    plan = heddle.plan(model, backends=[backend, "host"])
    ours = [region for region in plan.regions if region.backend == "cudnn"]
    artifacts = [backend.compile(region) for region in ours]
    seconds = time.process_time() - start
    steps = [step for artifact in artifacts for step in from_bytes(artifact.code).steps]
    kinds = Counter(type(step.what).__name__.lower() for step in steps)
    kernels = {step.what.kernel for step in steps if isinstance(step.what, Launch)}
    share = sum(multiplications(region.body) for region in ours) / multiplications(graph)
    memory = sum(artifact.workspace for artifact in artifacts) / 2**20
    modelled = sum(backend.estimate(region).seconds for region in ours) * 1e3
    print(
        f"{name:<12}{batch:>6}{form:>9}{share:>10.1%}{len(ours):>8}{kinds['plan']:>7}{kinds['product']:>9}"
        f"{kinds['launch']:>9}{len(kernels):>9}{memory:>8.1f}{seconds:>10.2f}{modelled:>13.3f}"
    )


def peers() -> tuple[str, ...]:
    """Whom Heddle is measured beside here."""
    found = ["onnxruntime"] if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else []
    with suppress(ImportError):
        torch: Any = importlib.import_module("torch")
        found += ["torch.compile"] if torch.cuda.is_available() else []
    return tuple(found)


def peer(name: str, model: onnx.ModelProto, x: np.ndarray[Any, Any], tf32: bool) -> Callable[[], Any]:
    """A call of a model by a peer."""
    if name == "torch.compile":
        return compiled(model, x, "cuda", tf32)
    provider = ("CUDAExecutionProvider", {"use_tf32": int(tf32)})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[provider])
    return lambda: session.run(None, {"x": x})


def measured(name: str, batch: int, form: str, device: CudnnDevice, rounds: int) -> dict[str, float]:
    """One line on how fast a model is; the ratio to each peer."""
    model, x = variant(name, batch, form)
    capability = f"sm_{device.context.facts.capability}"
    backend = Cudnn(Cudnn.Options(device=capability, tf32=form == "tf32"))
    executable = heddle.compile(model, backends=[backend, "host"], devices={"cudnn": device})
    data = model.SerializeToString()
    reference = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    found = np.asarray(executable(x)["y"]).astype(np.float64)
    difference = np.abs(found - reference).max() / np.abs(reference).max()
    functions = {"heddle": lambda: executable(x)} | {one: peer(one, model, x, form == "tf32") for one in peers()}
    times = interleaved(functions, rounds, 0.2, "wall")
    ratios = {one: times[one] / times["heddle"] for one in peers()}
    beside = [cell for one in peers() for cell in (f"{times[one] * 1e3:.3f}", f"{ratios[one]:.2f}")]
    row(name, batch, form, f"{times['heddle'] * 1e3:.3f}", *beside, f"{difference:.1e}")
    return ratios


def row(*cells: object) -> None:
    """One line of the table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--form", choices=FORMS, nargs="+", default=list(FORMS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--device", default="h100")
    options = parser.parse_args()
    cases = [(name, batch, form) for name in options.models for batch in options.batch for form in options.form]
    if options.static:
        print(
            f"{'model':<12}{'batch':>6}{'form':>9}{'offloaded':>10}{'regions':>8}{'plans':>7}{'products':>9}"
            f"{'launches':>9}{'kernels':>9}{'MiB':>8}{'compile s':>10}{'modelled ms':>13}"
        )
        for case in cases:
            static(*case, options.device)
        return 0
    try:
        device = CudnnDevice()
    except DeviceError as error:
        print(error, file=sys.stderr)
        return 1
    if not peers():
        print('no peer is here: pip install "onnxruntime-gpu", or PyTorch with CUDA', file=sys.stderr)
    print(f"{device.context.facts.name}\n")
    beside = [cell for one in peers() for cell in (f"{one} ms", "ratio")]
    row("model", "batch", "form", "Heddle ms", *beside, "difference")
    row(*["---"] * (5 + len(beside)))
    ratios = [measured(*case, device, options.rounds) for case in cases]
    print()
    for one in peers():
        mean = math.exp(sum(math.log(ratio[one]) for ratio in ratios) / len(ratios))
        print(f"geometric mean of {len(ratios)} beside {one}: {mean:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
