"""The accelerator as a device of the runtime, behind which one of three models stands, chosen when a file is loaded."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime.artifact import Artifact, Port
from heddle.core.runtime.device import (
    HOST_MEMORY,
    Buffer,
    Device,
    DeviceProperties,
    Event,
    Finished,
    MemorySpace,
    Transfer,
    transferring,
)
from heddle.hw.vta.config import Config, load_config
from heddle.hw.vta.description import INSTRUCTION_BITS
from heddle.simulators.vta.cycle import cycles
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.heap import ALIGNMENT, Heap
from heddle.simulators.vta.ports import PortLayout, pack, unpack
from heddle.simulators.vta.program import Binding, Program, Section, from_bytes
from heddle.simulators.vta.rtl import Memory, Rtl, Waves, build_rtl
from heddle.simulators.vta.window import window

Sim = Literal["functional", "cycle", "rtl"]
SPACE = "vta"


@dataclass(frozen=True)
class Options:
    """How a device is simulated.

    `sim` is the model; `region` names one node or section that runs at RTL whatever `sim` says, and `waves` the file
    (.fst) for waveforms of the cycles in which that node runs. `latency` to `backpressure` are the memory's timing,
    `watchdog` the cycles without any progress after which a run at RTL is given up, `capacity` the bytes of device
    memory. `config` sets the clock that `properties` reports.
    """

    sim: Sim = "functional"
    region: str | None = None
    waves: str | None = None
    config: str = "reference"
    capacity: int = 1 << 28
    latency: int = 100
    outstanding: int = 64
    jitter_seed: int | None = None
    backpressure: float = 0.0
    watchdog: int = 100_000

    def __post_init__(self) -> None:
        if self.sim not in ("functional", "cycle", "rtl"):
            raise DeviceError(f"vta: sim is {self.sim!r}, expected functional, cycle or rtl")

    @property
    def timing(self) -> Memory:
        return Memory(self.latency, self.outstanding, self.jitter_seed, self.backpressure)


@dataclass(eq=False)
class VtaProgram:
    """A program with its image, constants, workspace and code in the memory of the device."""

    artifact: Artifact
    program: Program
    heap: Heap
    code: int
    places: Mapping[tuple[str, str], tuple[int, int]]
    """(kind, name) of the buffers that the program owns: address and size."""
    inputs: Sequence[PortLayout] = ()
    outputs: Sequence[PortLayout] = ()
    """Where the driver lays inputs out in the workspace and finds outputs; none when the program reads them itself."""
    predicted: dict[int, Mapping[str, int]] = field(default_factory=dict)
    """Counters that the cycle model gave, by section."""

    def close(self) -> None:
        for address in {self.code, *(start for start, _ in self.places.values())}:
            self.heap.give_back(address)


class VtaDevice(Device):
    """One simulated accelerator. The keyword arguments are the fields of `Options`."""

    name = "vta"

    def __init__(self, **options: object) -> None:
        self.options = Options(**options)  # type: ignore[arg-type] # the constructor of Options checks them
        self._heap = Heap(self.options.capacity)
        self._lock = threading.Lock()
        self._rtl: dict[str, Rtl] = {}
        self._functional: dict[str, Functional] = {}

    def properties(self) -> DeviceProperties:
        space = MemorySpace(SPACE, self.options.capacity, ALIGNMENT)
        return DeviceProperties("vta", (space,), clock_hz=float(load_config(self.options.config).clock_hz))

    def allocate(self, nbytes: int, memory: str | None = None) -> Buffer:
        if memory not in (None, SPACE):
            raise DeviceError(f"vta: there is no memory {memory!r}, the only one is {SPACE!r}")
        return Buffer(SPACE, nbytes, handle=self._heap.take(nbytes))

    def free(self, buffer: Buffer) -> None:
        self._heap.give_back(buffer.handle)

    def copy(self, source: Buffer, target: Buffer, after: Sequence[Event] = ()) -> Event:
        for event in after:
            event.wait()
        if source.nbytes > target.nbytes:
            raise DeviceError(f"vta: a copy of {source.nbytes} bytes does not fit a buffer of {target.nbytes}")
        self._bytes(target)[: source.nbytes] = self._bytes(source)
        return Finished()

    def _bytes(self, buffer: Buffer) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        if buffer.memory == SPACE:
            return self._heap.memory[buffer.handle : buffer.handle + buffer.nbytes]
        if buffer.memory != HOST_MEMORY or buffer.array is None:
            raise DeviceError(f"vta: a buffer lies in {buffer.memory!r}, expected {SPACE!r} or {HOST_MEMORY!r}")
        return buffer.array[: buffer.nbytes]

    def load(self, artifact: Artifact) -> VtaProgram:
        if artifact.device != self.name:
            raise ArtifactError(f"vta: the artifact is for device {artifact.device!r}")
        program = from_bytes(artifact.code)
        for binding in program.bindings:
            _check_binding(artifact, binding)
        places: dict[tuple[str, str], tuple[int, int]] = {}
        contents = {("constant", name): np.ascontiguousarray(array) for name, array in artifact.constants.items()}
        contents["image", ""] = np.frombuffer(program.image, np.uint8)
        for key, array in contents.items():
            start = self._heap.take(array.nbytes)
            self._heap.memory[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
            places[key] = (start, array.nbytes)
        places["workspace", ""] = (self._heap.take(artifact.workspace), artifact.workspace)
        longest = max((len(section.instructions) for section in program.sections), default=0)
        code = self._heap.take(longest * INSTRUCTION_BITS // 8)
        layouts = (_layouts(artifact, "inputs"), _layouts(artifact, "outputs"))
        return VtaProgram(artifact, program, self._heap, code, places, *layouts)

    def submit(self, program: object, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        if not isinstance(program, VtaProgram) or program.heap is not self._heap:
            raise DeviceError(f"vta: cannot run a {type(program).__name__} that this device has not loaded")
        signature = program.artifact.signature
        ports = (*signature.inputs, *signature.outputs)
        if len(buffers) != len(ports):
            raise DeviceError(f"vta: {len(buffers)} buffers were given to a program of {len(ports)} inputs and outputs")
        for event in after:
            event.wait()
        counts: Counter[str] = Counter()
        transfers: list[Transfer] = []
        inputs = len(signature.inputs)
        with self._lock, _Staged(self._heap, buffers, inputs, transfers) as spans:
            try:
                workspace = self._span(program.places["workspace", ""])
                for port, layout in enumerate(program.inputs):
                    with transferring(transfers, port, spans[port][1]):
                        pack(layout, self._span(spans[port]), workspace)
                for number, section in enumerate(program.program.sections):
                    counts.update(self._run(program, number, section, spans))
                for port, layout in enumerate(program.outputs, inputs):
                    with transferring(transfers, port, spans[port][1]):
                        unpack(layout, workspace, self._span(spans[port]))
            except DeviceError as error:
                error.add_note(f"device vta, nodes {', '.join(program.artifact.nodes) or 'unnamed'}")
                return Finished(error, counters=counts, transfers=transfers)
        spent = counts["cycles"] / program.program.config.clock_hz if counts else None
        return Finished(modelled_seconds=spent, counters=counts, transfers=transfers)

    def _run(
        self, program: VtaProgram, number: int, section: Section, spans: Sequence[tuple[int, int]]
    ) -> Mapping[str, int]:
        """Run one section on the model that is wanted for it; its counters."""
        config, inputs = program.program.config, len(program.artifact.signature.inputs)
        bases, limits = [], []
        for binding in program.program.bindings:
            shift = {"input": 0, "output": inputs}.get(binding.kind)
            place = program.places[binding.kind, binding.name] if shift is None else spans[shift + binding.number]
            bases.append(place[0] + binding.offset)
            limits.append(place[1] - binding.offset)
        named = self.options.region is not None and self.options.region in (section.name, *program.artifact.nodes)
        try:
            if named or self.options.sim == "rtl":
                return self._run_rtl(program, section, bases, waves=named)
            self._model(config).run(section.instructions, bases, limits)
        except DeviceError as error:
            error.add_note(f"section {section.name}")
            raise
        if self.options.sim == "functional":
            return {}
        if number not in program.predicted:
            memory = self._heap.memory
            report = cycles(section.instructions, config, self.options.timing, data=memory, bases=bases)
            program.predicted[number] = report.counters
        return program.predicted[number]

    def _span(self, span: tuple[int, int]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        return self._heap.memory[span[0] : span[0] + span[1]]

    def _model(self, config: Config) -> Functional:
        return self._functional.setdefault(config.digest(), Functional(config, self._heap.memory))

    def _run_rtl(self, program: VtaProgram, section: Section, bases: Sequence[int], waves: bool) -> Mapping[str, int]:
        config, options = program.program.config, self.options
        file = Path(options.waves) if waves and options.waves else None
        key = config.digest() + (".trace" if file else "")
        if key not in self._rtl:
            model = build_rtl(config, "trace" if file else "fast")
            self._rtl[key] = Rtl(config, model, self._heap.memory, options.timing)
        rtl, shown = self._rtl[key], None
        if file is not None and options.region is not None:
            shown = Waves(file, window(program.artifact, program.program, section, options.region, options.timing))
        try:
            return rtl.run(section.instructions, program.code, bases, options.watchdog, waves=shown)
        except DeviceError:
            self._rtl.pop(key).close()  # a stopped or hung machine is not used again
            raise

    def close(self) -> None:
        for rtl in self._rtl.values():
            rtl.close()
        self._rtl.clear()
        self._functional.clear()


class _Staged:
    """The buffers of one run as spans of device memory; those in host memory are copied there, outputs back."""

    def __init__(self, heap: Heap, buffers: Sequence[Buffer], inputs: int, transfers: list[Transfer]) -> None:
        self._heap, self._buffers, self._inputs, self._transfers = heap, buffers, inputs, transfers
        self._staged: list[tuple[int, int, Buffer]] = []

    def __enter__(self) -> Sequence[tuple[int, int]]:
        spans = []
        for number, buffer in enumerate(self._buffers):
            start = buffer.handle
            if buffer.memory == HOST_MEMORY:
                if buffer.array is None:
                    raise DeviceError("vta: a host buffer without an array was given")
                start = self._heap.take(buffer.nbytes)
                self._staged.append((number, start, buffer))
                if number < self._inputs:
                    with transferring(self._transfers, number, buffer.nbytes):
                        self._heap.memory[start : start + buffer.nbytes] = buffer.array[: buffer.nbytes]
            elif buffer.memory != SPACE:
                raise DeviceError(f"vta: a buffer lies in {buffer.memory!r}, expected {SPACE!r} or {HOST_MEMORY!r}")
            spans.append((start, buffer.nbytes))
        return spans

    def __exit__(self, *failure: object) -> None:
        for number, start, buffer in self._staged:
            if number >= self._inputs and buffer.array is not None:
                with transferring(self._transfers, number, buffer.nbytes):
                    buffer.array[: buffer.nbytes] = self._heap.memory[start : start + buffer.nbytes]
            self._heap.give_back(start)


def _layouts(artifact: Artifact, side: Literal["inputs", "outputs"]) -> tuple[PortLayout, ...]:
    """The layouts of one side of an artifact; ArtifactError when they are not what a compiler writes."""
    entries = artifact.meta.get(side, [])
    try:
        layouts = tuple(PortLayout.from_json(entry) for entry in entries)  # type: ignore[union-attr, arg-type] # caught
    except (TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"vta: the layouts of the artifact's {side} are damaged: {error}") from error
    ports = getattr(artifact.signature, side)
    if layouts and len(layouts) != len(ports):
        raise ArtifactError(f"vta: the artifact has {len(layouts)} layouts for {len(ports)} {side}")
    for layout in layouts:
        if not 0 <= layout.offset <= layout.offset + layout.nbytes <= artifact.workspace:
            raise ArtifactError(f"vta: a layout of the artifact's {side} does not lie in its workspace")
    return layouts


def _check_binding(artifact: Artifact, binding: Binding) -> None:
    """Refuse a program whose base registers name what its artifact does not have."""
    ports: Mapping[str, Sequence[Port]] = {"input": artifact.signature.inputs, "output": artifact.signature.outputs}
    if binding.kind in ports and binding.number >= len(ports[binding.kind]):
        raise ArtifactError(f"vta: a base register names {binding.kind} {binding.number}, which the artifact has not")
    if binding.kind == "constant" and binding.name not in artifact.constants:
        raise ArtifactError(f"vta: a base register names the constant {binding.name!r}, which the artifact has not")
