"""Finds and opens devices: entry points in the group `heddle.devices`, chosen and set up when a file is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from typing import Any

from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime.device import Device
from heddle.core.runtime.modules import load_named, named_plugins

GROUP = "heddle.devices"


@cache
def known_devices() -> Mapping[str, EntryPoint]:
    """The entry point of each device that is installed, by name, in order; nothing is imported."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if point.name in found and found[point.name].value != point.value:
            raise DeviceError(
                f"device {point.name!r} is defined twice, by {found[point.name].value} and {point.value};"
                " uninstall one of the two"
            )
        found[point.name] = point
    return found


def named_devices() -> Mapping[str, type[Device]]:
    """The device classes with a `name` of their own in the modules that `HEDDLE_PLUGINS` names, by that name.

    A module that cannot be imported is left out: `heddle plugins doctor` shows it.
    """
    found: dict[str, type[Device]] = {}
    for named in named_plugins():
        with suppress(Exception):
            classes = [value for value in vars(load_named(named)).values() if isinstance(value, type)]
            for device in (value for value in classes if issubclass(value, Device)):
                name = getattr(device, "name", None)
                if isinstance(name, str):
                    found.setdefault(name, device)
    return found


def open_device(name: str, options: Mapping[str, Any] | None = None) -> Device:
    """A device by its name, set up with these options: an entry point, or a class in a module of `HEDDLE_PLUGINS`.

    ArtifactError when no such device is installed; DeviceError when its module or its constructor fails.
    """
    factory = _factory(name)
    try:
        device = factory(**(options or {}))
    except (ArtifactError, DeviceError):
        raise
    except TypeError as error:
        raise DeviceError(f"device {name!r} does not take the options {dict(options or {})}: {error}") from error
    except Exception as error:
        raise DeviceError(f"device {name!r} failed to open: {error!r}") from error
    if not isinstance(device, Device):
        raise DeviceError(f"device {name!r}: it opens as a {type(device).__name__}, a Device is expected")
    return device


def with_threads(
    devices: Mapping[str, Device | Mapping[str, Any]] | None, threads: int | None
) -> Mapping[str, Device | Mapping[str, Any]] | None:
    """The same devices or options, and so many threads of the host; DeviceError where the host is otherwise given."""
    if threads is None:
        return devices
    host = (devices or {}).get("host", {})
    if isinstance(host, Device) or "threads" in host:
        raise DeviceError("host: threads are given twice, with the device and beside it; leave out one of the two")
    return {**(devices or {}), "host": {**host, "threads": threads}}


def options_of(name: str, devices: Mapping[str, Device | Mapping[str, Any]]) -> Mapping[str, Any]:
    """The options to open a device with: those that are given for it, and the host's threads where it takes threads.

    Such a device works on the same processor, as a library does.
    """
    given, host = devices.get(name) or {}, devices.get("host")
    assert not isinstance(given, Device), f"{name} is open"
    if name == "host" or not isinstance(host, Mapping) or "threads" not in host or "threads" in given:
        return given
    return {**given, "threads": host["threads"]} if "threads" in signature(_factory(name)).parameters else given


def _factory(name: str) -> Callable[..., Device]:
    point = known_devices().get(name)
    if point is None:
        named = named_devices()
        if name in named:
            return named[name]
        known = ", ".join(sorted({*known_devices(), *named})) or "none"
        raise ArtifactError(f"device {name!r} is not installed (here are: {known}); install the plugin that has it")
    try:
        factory: Callable[..., Device] = point.load()
    except Exception as error:
        raise DeviceError(f"device {name!r}: its module {point.module} failed to import: {error!r}") from error
    return factory
