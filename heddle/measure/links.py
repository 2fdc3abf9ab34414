"""How fast bytes move between the host's memory and a device's, measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import numpy as np

from heddle.core.plugin import Link
from heddle.core.runtime.device import HOST_MEMORY, Device, host_buffer
from heddle.core.runtime.storage import aligned

SIZES = (1 << 12, 1 << 16, 1 << 20, 1 << 24)
"""The bytes of the copies that are measured."""


def measured_link(device: Device, now: Callable[[], float], rounds: int = 5) -> Link | None:
    """A device's link; None where its memory is the host's, or where it is simulated, so that its copies take no time.

    Copies there and back of several sizes; the line through their times with the least relative error.
    """
    properties = device.properties()
    memory = properties.memories[0].name
    if memory == HOST_MEMORY or properties.simulated:
        return None
    return fitted_link({nbytes: _seconds(device, memory, nbytes, now, rounds) for nbytes in SIZES})


def fitted_link(seconds: Mapping[int, float]) -> Link:
    """The latency and the bandwidth that fit the seconds of copies of so many bytes; neither is negative."""
    times = np.array(list(seconds.values()))
    rows = np.array([[1.0, nbytes] for nbytes in seconds]) / times[:, None]
    latency, each = np.linalg.lstsq(rows, np.ones(len(times)), rcond=None)[0]
    largest = max(seconds)
    if each <= 0:
        each = seconds[largest] / largest
    return Link(float(max(latency, 0.0)), float(1 / each))


def _seconds(device: Device, memory: str, nbytes: int, now: Callable[[], float], rounds: int) -> float:
    """The median time of one way."""
    here = host_buffer(aligned(nbytes))
    there = device.allocate(nbytes, memory)
    try:
        times = []
        for _ in range(rounds + 1):
            start = now()
            device.copy(here, there).wait()
            device.copy(there, here).wait()
            times.append((now() - start) / 2)
    finally:
        device.free(there)
    return statistics.median(times[1:]) or 1e-9
