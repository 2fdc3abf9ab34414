"""A configuration of the accelerator: array shape, memories and bus, read from TOML and refused when it cannot work."""

from __future__ import annotations

import dataclasses
import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from heddle.core.errors import DeviceError
from heddle.hw.vta.description import HEADER_BITS, INSTRUCTION_BITS, description


@dataclass(frozen=True)
class Config:
    """What is chosen when an accelerator is built; everything else follows from it.

    `read_window` is how many beats LOAD keeps under way, `residual_depth` how many beats of residual STORE reads ahead,
    `queue_depth` the instructions that wait in each unit's queue.
    """

    name: str
    description: str
    bi: int
    bo: int
    bus_bits: int
    inp_depth: int
    wgt_depth: int
    acc_depth: int
    uop_depth: int
    prm_depth: int
    queue_depth: int
    read_window: int
    residual_depth: int
    depthwise: bool
    clock_hz: int

    def __post_init__(self) -> None:
        if refused := next(refusals(self), None):
            raise DeviceError(f"configuration {self.name}: {refused}")

    @property
    def beat_bytes(self) -> int:
        return self.bus_bits // 8

    @property
    def uop_bits(self) -> int:
        """Width of a micro-op in memory: 32 bits, or 64 if its fields do not fit."""
        return 32 if sum(map(log2, (self.acc_depth, self.inp_depth, self.wgt_depth))) <= 32 else 64

    @property
    def inp_bytes(self) -> int:
        return self.bi

    @property
    def wgt_bytes(self) -> int:
        return self.bi * self.bo

    @property
    def prm_bytes(self) -> int:
        return 9 * self.bo

    @property
    def out_bytes(self) -> int:
        """Bytes of a vector that STORE packs to 8 bits."""
        return self.bo

    @property
    def uops_per_beat(self) -> int:
        return self.bus_bits // self.uop_bits

    def element_bytes(self, memory: str) -> int:
        """Bytes of one element as LOAD counts them (a micro-op memory is loaded in beats)."""
        sizes = {"inp": self.inp_bytes, "wgt": self.wgt_bytes, "uop": self.beat_bytes, "prm": self.prm_bytes}
        return sizes[memory]

    def element_count(self, memory: str) -> int:
        """Elements of one memory as LOAD counts them."""
        if memory == "uop":
            return self.uop_depth // self.uops_per_beat
        return int(getattr(self, f"{memory}_depth"))

    def widths(self) -> dict[str, int]:
        """The named field widths of isa.toml."""
        index = {f"{m}_index": log2(getattr(self, f"{m}_depth")) for m in ("inp", "wgt", "acc", "uop", "prm")}
        index["any_index"] = max(index[f"{m}_index"] for m in ("inp", "wgt", "uop", "prm"))
        index["uop_count"] = index["uop_index"] + 1
        return index

    def digest(self) -> str:
        """SHA-256 of what the hardware depends on, in hexadecimal; the name and the clock do not count."""
        values = dataclasses.asdict(self)
        shape = {k: v for k, v in values.items() if k not in ("name", "description", "clock_hz")}
        return hashlib.sha256(repr(sorted(shape.items())).encode()).hexdigest()


def log2(value: int) -> int:
    """The exponent of a power of two."""
    return value.bit_length() - 1


def refusals(config: Config) -> Iterator[str]:
    """Why a configuration cannot work, one sentence each; nothing when it can."""
    for field in dataclasses.fields(config):
        wanted = {"int": int, "bool": bool, "str": str}[str(field.type)]
        if type(getattr(config, field.name)) is not wanted:
            yield f"{field.name} is {getattr(config, field.name)!r}, expected {field.type}"
            return
    powers = ("bi", "bo", "bus_bits", "inp_depth", "wgt_depth", "acc_depth", "uop_depth", "prm_depth", "queue_depth")
    for name in (*powers, "read_window", "residual_depth"):
        value = getattr(config, name)
        if value < 4 or value & (value - 1):
            yield f"{name} is {value}, expected a power of two of at least 4"
            return
    yield from _bus_refusals(config)
    yield from _memory_refusals(config)


def _bus_refusals(config: Config) -> Iterator[str]:
    if not 32 <= config.bus_bits <= INSTRUCTION_BITS:
        yield f"bus_bits is {config.bus_bits}, expected 32 to {INSTRUCTION_BITS}: an instruction must be whole beats"
    for name in ("bi", "bo"):
        if getattr(config, name) * 8 < config.bus_bits:
            bits = getattr(config, name) * 8
            yield f"{name} makes vectors of {bits} bits, less than a beat of {config.bus_bits}: take a narrower bus"
    if config.bi > 64 or config.bo > 64:
        yield f"the array is {config.bi} x {config.bo}, expected at most 64 x 64"
    if config.uop_bits > config.bus_bits:
        yield f"a micro-op has {config.uop_bits} bits, the bus {config.bus_bits}: take a wider bus or smaller memories"
    if config.depthwise and config.bi != config.bo:
        yield f"depthwise needs bi equal to bo, and they are {config.bi} and {config.bo}: set depthwise = false"
    if config.read_window < 16:
        yield f"read_window is {config.read_window}, expected at least 16 beats"
    if config.clock_hz <= 0:
        yield f"clock_hz is {config.clock_hz}, expected a positive frequency"


def _memory_refusals(config: Config) -> Iterator[str]:
    widths = config.widths()
    for kind in description()["instruction"]:
        bits = HEADER_BITS + sum(widths.get(f["width"], f["width"]) for f in kind["fields"])
        if bits > INSTRUCTION_BITS:
            yield f"{kind['name']} needs {bits} bits, an instruction has {INSTRUCTION_BITS}: take smaller memories"
    vector = config.bo * 8 // config.bus_bits
    if config.residual_depth < 2 * vector:
        yield f"residual_depth is {config.residual_depth}, expected at least two vectors of {vector} beats"


def parse_config(name: str, text: str) -> Config:
    """A configuration from TOML text; DeviceError names a key that is missing, unknown or impossible."""
    values = tomllib.loads(text)
    known = {field.name for field in dataclasses.fields(Config)} - {"name"}
    for key in sorted(known ^ values.keys()):
        raise DeviceError(f"configuration {name}: {key} is {'missing' if key in known else 'unknown'}")
    return Config(name=name, **values)


def config_names() -> tuple[str, ...]:
    """The names of the configurations that come with Heddle."""
    folder = resources.files("heddle.hw.vta").joinpath("configs")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def load_config(name: str) -> Config:
    """A configuration by name, or by the path of a TOML file."""
    if name.endswith(".toml"):
        return parse_config(Path(name).stem, Path(name).read_text())
    if name not in config_names():
        raise DeviceError(f"configuration {name}: unknown, expected one of {', '.join(config_names())} or a .toml file")
    return parse_config(name, resources.files("heddle.hw.vta").joinpath("configs", f"{name}.toml").read_text())
