"""What an executable needs of the host's memory: what it holds, and what one call takes while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.host import HostProgram
from heddle.core.runtime.loaded import Loaded


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of the host's memory, for one call at a time.

    `weights` counts each distinct array once; `code` is the machine code of all regions; `arena` the scratch memory of
    all regions and what lies between them, for the input shapes that need the most of it; `helpers` that of the threads
    beside the caller's; `outputs` the arrays that a call gives out. Inputs are the caller's.
    """

    weights: int = 0
    code: int = 0
    arena: int = 0
    helpers: int = 0
    outputs: int = 0

    def json(self) -> dict[str, int]:
        """Every field and the peak, as a value for JSON."""
        return {**vars(self), "peak": self.peak}

    @property
    def peak(self) -> int:
        """The most that is held at once, beside the interpreter and the caller's own arrays."""
        return sum(getattr(self, field.name) for field in fields(self))


def memory_use(programs: Sequence[Loaded]) -> MemoryUse:
    """What schedules need that are on their devices."""
    artifacts = [artifact for loaded in programs for artifact in _artifacts(loaded)]
    constants = [*(a.constants for a in artifacts), *(loaded.schedule.constants for loaded in programs)]
    arrays = [array for held in constants for array in held.values()]
    weights = {(array.ctypes.data, array.nbytes) for array in arrays}
    return MemoryUse(
        weights=sum(nbytes for _, nbytes in weights),
        code=sum(map(len, {artifact.code for artifact in artifacts})),
        arena=max((loaded.arena + sum(a.workspace for a in _artifacts(loaded)) for loaded in programs), default=0),
        helpers=max((_of_helpers(loaded) for loaded in programs), default=0),
        outputs=max((sum(map(loaded.nbytes, loaded.schedule.results)) for loaded in programs), default=0),
    )


def _artifacts(loaded: Loaded) -> list[Artifact]:
    """Those that run in the host's memory."""
    steps = loaded.schedule.steps
    every = [artifact for step in steps for artifact in (step.artifact, step.fallback) if artifact is not None]
    return [artifact for artifact in every if artifact.device == "host"]


def _of_helpers(loaded: Loaded) -> int:
    programs = [program for action in loaded.actions for program in (action.program, action.fallback)]
    return sum(program.of_helpers for program in programs if isinstance(program, HostProgram))
