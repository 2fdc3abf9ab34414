"""Compares configurations of the accelerator over layers, each pair a task of an executor that the caller chooses."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal

from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config, load_config
from heddle.simulators.vta.convolution import assemble_convolution, parse_layer
from heddle.simulators.vta.cycle import cycles
from heddle.simulators.vta.rtl import Memory, Rtl, build_rtl


@dataclass(frozen=True)
class Row:
    """A layer on a configuration: cycles, the time at its clock, and the part of the cycles in which the array works.

    `refused` says why the configuration cannot run the layer; the figures are zero then.
    """

    config: str
    layer: str
    cycles: int
    microseconds: float
    array_share: float
    gmacs_per_second: float
    refused: str = ""


def measure(config: Config, layer: str, memory: Memory, sim: Literal["cycle", "rtl"] = "cycle") -> Row:
    """One layer on one configuration, predicted or run at RTL."""
    try:
        assembled = assemble_convolution(parse_layer(layer), config)
    except DeviceError as refusal:
        return Row(config.name, layer, 0, 0.0, 0.0, 0.0, str(refusal))
    if sim == "cycle":
        spent = cycles(assembled.instructions, config, memory, data=assembled.memory, bases=[0]).cycles
    else:
        machine = Rtl(config, build_rtl(config), assembled.memory, memory)
        try:
            spent = machine.run(assembled.instructions, assembled.code, [0])["cycles"]
        finally:
            machine.close()
    seconds = spent / config.clock_hz
    macs = assembled.slots * config.bi * config.bo
    return Row(config.name, layer, spent, 1e6 * seconds, assembled.slots / spent, macs / seconds / 1e9)


def sweep(
    configs: Sequence[str],
    layers: Sequence[str],
    memory: Memory,
    sim: Literal["cycle", "rtl"] = "cycle",
    executor: Executor | None = None,
) -> Sequence[Row]:
    """Every layer on every configuration (names or .toml files), in that order.

    `executor` is anything with `submit` that gives futures: a process pool, or that of a Dask or Ray cluster; None runs
    in this process.
    """
    tasks = [(load_config(config), layer) for config in configs for layer in layers]
    if executor is None:
        return [measure(config, layer, memory, sim) for config, layer in tasks]
    futures = [executor.submit(measure, config, layer, memory, sim) for config, layer in tasks]
    return [future.result() for future in futures]
