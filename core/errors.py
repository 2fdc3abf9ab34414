"""Every error that Heddle raises on purpose: one root, few children; each says subject, fact, expectation, remedy."""

from __future__ import annotations


class HeddleError(Exception):
    """The root of all errors that a user of Heddle may want to catch."""


class ModelError(HeddleError):
    """A model file cannot be imported: damaged, hostile, or with operators that Heddle does not know."""


class GraphError(HeddleError):
    """A graph breaks a rule of the IR or of an operator's types; the printed graph is in the notes."""


class RefusedError(HeddleError):
    """A strict plan was demanded and a node has no place, with the reason."""


class BackendError(HeddleError):
    """A plugin failed: it raised, hung, or returned what the contract forbids. Names the plugin."""


class DeviceError(HeddleError):
    """A device failed while it ran, or refuses what it was given. Names device and region."""


class UnavailableError(DeviceError):
    """A device is not there: nothing of Heddle is broken, but hardware or a driver is missing. Says what mends it."""


class ArtifactError(HeddleError):
    """A compiled file is damaged, too new, or does not fit this machine."""


class InputError(HeddleError):
    """An executable was called with inputs that do not match its signature."""
