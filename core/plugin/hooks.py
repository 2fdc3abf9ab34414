"""The broadcast hooks: what a plugin may add or watch beside its backends."""

from __future__ import annotations

from typing import Any

import pluggy
from heddle.core.ir import Graph
from heddle.core.plugin.backend import Backend, Cost, Region
from heddle.core.runtime.artifact import Artifact

PROJECT = "heddle"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of the same name."""


class Hooks:
    """Every hook; an implementation may leave out arguments that it does not need."""

    @hookspec
    def heddle_backends(self) -> list[type[Backend]]:  # type: ignore[empty-body]  # a specification has no body
        """Called once, when the plugin is loaded. Return the backend classes that it brings.

        All answers count. A class that is an entry point of the group `heddle.backends` need not be returned again.
        """

    @hookspec
    def heddle_pass_done(self, name: str, before: Graph, after: Graph) -> None:
        """Called after each pass over the whole graph, with the graphs before and after it. Return nothing."""

    @hookspec
    def heddle_plan_done(self, plan: Any) -> None:
        """Called when a graph has been partitioned, with the `Plan`. Return nothing."""

    @hookspec
    def heddle_region_compiled(self, region: Region, artifact: Artifact, seconds: float) -> None:
        """Called after each region has been compiled, with the seconds that it took. Return nothing."""

    @hookspec
    def heddle_run_done(self, executable: Any, seconds: float) -> None:
        """Called after each run of an executable in this process, with its wall seconds. Return nothing."""

    @hookspec
    def heddle_commands(self, app: Any) -> None:
        """Called when the command line starts, with its `typer.Typer`. Add commands to it; return nothing.

        A command of Heddle's own wins over a plugin's of the same name.
        """

    @hookspec(firstresult=True)
    def heddle_cost(self, backend: str, region: Region, cost: Cost) -> Cost | None:
        """Called when a region has been priced by its backend. Return another `Cost`, or None to leave it.

        The first plugin that returns one wins; plugins registered later are asked first.
        """
