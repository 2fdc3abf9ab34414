"""The contract: what a backend is, what it receives, what it gives back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from heddle.core.ir import Graph, Node, Pass, Phase, dtype_name
from heddle.core.pattern import Match, Pattern
from heddle.core.plugin.figures import Figures, roofline
from heddle.core.runtime.artifact import Artifact, Port, Signature

API_LEVEL = 1
"""The level of this contract; a plugin that is written for a newer one is refused with a clear message."""

OLDEST_API_LEVEL = 1
"""The lowest level whose plugins still work."""


@dataclass(frozen=True)
class Region:
    """A convex part of the graph that one backend computes.

    `body` is a graph of its own: its inputs and outputs are what crosses the region's border, its constants are
    inside. It is also the region's reference meaning. `matches` are the backend's pattern matches that make it up
    (none for the host).
    """

    name: str
    backend: str
    body: Graph
    matches: tuple[Match, ...] = ()

    @property
    def signature(self) -> Signature:
        """The signature of an artifact that takes the region's inputs and gives its outputs, dense in host memory."""
        inputs, outputs = (
            tuple(Port(value.name, dtype_name(value.dtype), value.shape) for value in values)
            for values in (self.body.inputs, self.body.outputs)
        )
        return Signature(inputs, outputs)


@dataclass(frozen=True)
class Cost:
    """What one run of a region is expected to take on its device, in the device's own seconds."""

    compute: float
    launch: float = 0.0

    @property
    def seconds(self) -> float:
        return self.compute + self.launch


@dataclass(frozen=True)
class Tolerance:
    """How far a backend's results may be from the reference, as it declares.

    Floats: by `relative` times the largest magnitude of the tensor, or `absolute`. Integers: by so many `integers`,
    none unless declared. `specials` is False of a device that does not compute NaN and infinities as IEEE 754 says.
    """

    relative: float = 1e-4
    absolute: float = 1e-30
    integers: int = 0
    specials: bool = True


@dataclass(frozen=True)
class NoOptions:
    """The options of a backend that has none."""


class Backend:
    """Something that takes parts of graphs and makes artifacts of them.

    A subclass names itself, lists its patterns and compiles regions; everything else has a default.
    `Options` is a dataclass of the settings that a user may give (`--set NAME.field=value`).
    """

    name: ClassVar[str]
    api: ClassVar[int] = 1
    """The level of the contract that the class is written for; one that does not say so is of the first."""

    Options: ClassVar[type[Any]] = NoOptions
    takes_all: ClassVar[bool] = False
    """True of a backend that compiles any region, without patterns; what it cannot, `refuses` says."""
    merges: ClassVar[bool] = True
    """False when each region must hold exactly one match."""

    experimental: ClassVar[str] = ""
    """What has not been shown of a backend that is not yet to be relied on; empty of all others."""

    tolerance: ClassVar[Tolerance] = Tolerance()
    """How far results may be from the reference; the conformance kit and `heddle verify` hold the backend to it."""

    def __init__(self, options: Any = None) -> None:
        self.options = type(self).Options() if options is None else options

    @property
    def patterns(self) -> Sequence[Pattern]:
        """What this backend takes, the most wanted first; none of a backend that takes all."""
        return ()

    def refuses(self, node: Node) -> str | None:
        """Why a backend that takes all does not take this node, or None when it does."""
        return None

    @property
    def passes(self) -> Mapping[Phase, Sequence[Pass]]:
        """Passes of the backend's own, by phase."""
        return {}

    @property
    def figures(self) -> Figures:
        """The speeds of the device, from which `estimate` prices regions."""
        return Figures()

    @property
    def remarks(self) -> Sequence[str]:
        """What a user who asks for an explanation should be told of the options, as that results are less exact."""
        return ()

    @property
    def recipe(self) -> str | None:
        """What an artifact is made from besides its region, as text: the compiler's version, what its options chose.

        Regions of a backend that says so are compiled once: later they come from the cache, by content. None keeps
        nothing.
        """
        return None

    def estimate(self, region: Region) -> Cost:
        """What one run of a region takes, without moving its inputs and outputs; a roofline of `figures` by default."""
        compute, launch = roofline(region.body, self.figures)
        return Cost(compute, launch)

    def tolerance_of(self, patterns: Collection[Pattern]) -> Tolerance:
        """How far results of what these patterns matched may be; `tolerance`, unless a backend tells them apart.

        The conformance kit asks it of each pattern by itself; `tolerance` is the widest.
        """
        return self.tolerance

    def compile(self, region: Region) -> Artifact:
        """The artifact of a region; its signature has the region's inputs and outputs in order."""
        raise TypeError(f"{type(self).__name__} has no `compile(self, region)`, which returns an Artifact")
