"""What can go wrong between RTL and its wrapper, each a DeviceError so that a caller may catch them all."""

from __future__ import annotations

from heddle.core.errors import DeviceError


class RtlBuildError(DeviceError):
    """The RTL could not be made into a simulator: a tool is missing, or one refused the sources."""


class RtlHangError(DeviceError):
    """Nothing moved for as long as the watchdog allows, or what was waited for did not come in time."""


class RtlProtocolError(DeviceError):
    """The design broke a rule of a bus: the message names the bus, the rule and the cycle."""


class RtlRangeError(DeviceError):
    """The design accessed an address that its memory does not have."""


class RtlStoppedError(DeviceError):
    """The design stopped by itself: an assertion, $stop, $fatal, or logic that does not settle."""
