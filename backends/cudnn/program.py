"""What a region becomes: launches of kernels, plans of cuDNN and products of cuBLASLt, as plain data for a device."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

MAGIC = b"HGPU1\n"

DEVICE_MEMORY = "gpu"
"""The name of the device's own memory."""


class Place(NamedTuple):
    """Where an argument lies: `inputs`, `outputs` (by number), `constants` (by name) or `workspace` (at a byte)."""

    kind: str
    at: int | str


@dataclass(frozen=True)
class Launch:
    """A run of one of the program's own kernels over its arguments, in order."""

    kernel: str
    blocks: int
    threads: int


@dataclass(frozen=True)
class Tensor:
    """A tensor of a plan; `strides` count elements. `argument` tells which it is; None for one between operations."""

    dims: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    argument: int | None = None


@dataclass(frozen=True)
class Operation:
    """One operation of cuDNN's graph over tensors by number; `numbers` are its attributes.

    `convolution` and `deconvolution` take image and filter with the attributes padding, strides, dilations; `add` two
    tensors, the second of which may have dimensions of 1; `relu` (with `low`, `high`, `slope`), `sigmoid`, `tanh` one;
    `attention` takes queries, keys, values and maybe what is added to the scores, with the attribute scale.
    """

    kind: str
    operands: tuple[int, ...]
    result: int
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A graph of operations that cuDNN runs as one, sums in float32. `tf32`: it may round float32 factors to TF32."""

    tensors: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    tf32: bool = False


@dataclass(frozen=True)
class Product:
    """`relu?(alpha * A @ B + bias + addend)` in row-major memory, `batch` times, by cuBLASLt.

    A is m x k and B is k x n, or the other way round where `turned`; the strides are from one batch to the next, 0 for
    a matrix that all share. The arguments are A, B, the bias of n numbers if `bias`, the addend of the result's shape
    if `addend`, and the result.
    """

    dtype: str
    m: int
    n: int
    k: int
    batch: int = 1
    turned: tuple[bool, bool] = (False, False)
    strides: tuple[int, int] = (0, 0)
    alpha: float = 1.0
    bias: bool = False
    addend: bool = False
    relu: bool = False
    tf32: bool = False


What = Launch | Plan | Product
KINDS: dict[str, type[Any]] = {"launch": Launch, "plan": Plan, "product": Product}


@dataclass(frozen=True)
class Step:
    """One thing to run, with where its arguments lie; `node` is what it comes from, for people."""

    what: What
    arguments: tuple[Place, ...]
    node: str = ""


@dataclass(frozen=True)
class Program:
    """The steps in the order in which they run, the kernels' PTX and the messages of faults, from number 1 on.

    `capability` is the compute capability that it was made for; later ones run it too. The first of the workspace's
    bytes hold the number of the fault that occurred, 0 for none.
    """

    steps: tuple[Step, ...]
    ptx: str
    capability: int
    faults: tuple[str, ...] = ()


def to_bytes(program: Program) -> bytes:
    """The program as an artifact's code."""
    steps = [
        {"kind": type(step.what).__name__.lower(), "what": asdict(step.what), "at": step.arguments, "node": step.node}
        for step in program.steps
    ]
    head = {"steps": steps, "capability": program.capability, "faults": program.faults}
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return MAGIC + len(text).to_bytes(8, "little") + text + program.ptx.encode()


def from_bytes(data: bytes) -> Program:
    """What `to_bytes` wrote; ValueError, KeyError or TypeError for anything else."""
    if not data.startswith(MAGIC):
        raise ValueError("it does not begin as a program for a GPU does")
    start = len(MAGIC) + 8
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    head = json.loads(data[start:end])
    steps = tuple(
        Step(_what(item["kind"], item["what"]), tuple(Place(*place) for place in item["at"]), item["node"])
        for item in head["steps"]
    )
    return Program(steps, data[end:].decode(), head["capability"], tuple(head["faults"]))


def _what(kind: str, read: dict[str, Any]) -> What:
    if kind == "plan":
        tensors = tuple(
            Tensor(tuple(t["dims"]), tuple(t["strides"]), t["dtype"], t["argument"]) for t in read["tensors"]
        )
        operations = tuple(
            Operation(o["kind"], tuple(o["operands"]), o["result"], o["numbers"]) for o in read["operations"]
        )
        return Plan(tensors, operations, read["tf32"])
    if kind == "product":
        read = read | {"turned": tuple(read["turned"]), "strides": tuple(read["strides"])}
    made: What = KINDS[kind](**read)
    return made
