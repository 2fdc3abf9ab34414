"""What a region becomes: tensors in places, and primitives over them, as plain data that a device makes real."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from heddle.core.runtime.artifact import JSON


class Place(NamedTuple):
    """Where a tensor lies: `input`, `output` (by number), `constant` (by name) or `workspace` (at an offset).

    While a program is made, `value` is memory without a place yet, named by the tensor that it was added with; a tensor
    may begin some bytes `inside` it.
    """

    kind: str
    at: int | str
    inside: int = 0


@dataclass(frozen=True)
class Tensor:
    """A view of memory; `strides` count elements, one more than axes where channels lie in blocks (`layouts`)."""

    dims: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...]
    place: Place


@dataclass(frozen=True)
class Post:
    """What follows inside a primitive: an eltwise with two numbers, or a binary with another tensor."""

    algorithm: str
    alpha: float = 0.0
    beta: float = 0.0
    tensor: int | None = None


@dataclass(frozen=True)
class Primitive:
    """One call of the library.

    `arguments` gives the tensor of each of the library's argument numbers; `packed` names the argument that is a
    constant to be laid out as the primitive wishes. `scales` and `zero_points` give for an argument the mask of the
    dimensions that they differ over and the tensor that holds them.
    """

    kind: str
    arguments: dict[int, int]
    algorithm: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    packed: int | None = None
    post: tuple[Post, ...] = ()
    scales: dict[int, tuple[int, int]] = field(default_factory=dict)
    zero_points: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """Tensors, the primitives in the order in which they run, and what the device must know."""

    tensors: tuple[Tensor, ...]
    primitives: tuple[Primitive, ...]
    threads: int = 1
    bf16: bool = False


def to_json(program: Program) -> JSON:
    """The program as plain data."""
    data: JSON = json.loads(json.dumps(asdict(program)))
    return data


def from_json(read: Any) -> Program:
    """What `to_json` gave; ValueError, KeyError or TypeError for anything else."""
    tensors = tuple(
        Tensor(tuple(t["dims"]), t["dtype"], tuple(t["strides"]), Place(*t["place"])) for t in read["tensors"]
    )
    primitives = tuple(
        Primitive(
            p["kind"],
            _by_argument(p["arguments"]),
            p["algorithm"],
            p["numbers"],
            p["packed"],
            tuple(Post(**post) for post in p["post"]),
            {key: tuple(pair) for key, pair in _by_argument(p["scales"]).items()},
            {key: tuple(pair) for key, pair in _by_argument(p["zero_points"]).items()},
        )
        for p in read["primitives"]
    )
    return Program(tensors, primitives, read["threads"], read["bf16"])


def _by_argument(read: dict[str, Any]) -> dict[int, Any]:
    return {int(key): value for key, value in read.items()}
