"""Finds plugins: lazily, in a fixed order, each with its own failures caught."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from heddle.core.errors import BackendError
from heddle.core.plugin.backend import API_LEVEL, OLDEST_API_LEVEL, Backend
from heddle.core.plugin.hooks import PROJECT, Hooks
from heddle.core.plugin.options import Option, list_options, read_options
from heddle.core.runtime.modules import VARIABLE, load_named, named_plugins

BACKENDS, HOOKS = "heddle.backends", "heddle.plugins"
"""Entry-point groups: backend classes, loaded when they are asked for, and modules with hooks, loaded at the start."""


class PluginWarning(UserWarning):
    """A plugin is broken and was left out; `heddle plugins doctor` shows why."""


@dataclass(frozen=True)
class Status:
    """What is known of one plugin once it was loaded: a line of `heddle plugins list`, of `doctor` when it failed."""

    name: str
    origin: str
    target: str
    api: int | None = None
    patterns: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    takes_all: bool = False
    experimental: str = ""
    error: str = ""
    traceback: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        return not self.error


@dataclass(eq=False)
class _Candidate:
    """Something that claims to be the backend of a name, loaded when it is first needed."""

    name: str
    origin: str
    target: str
    load: Callable[[], Any]
    loaded: type[Backend] | None = None
    error: str = ""
    traceback: str = ""


class Plugins:
    """The plugins of this process: what can be found, and what has been loaded of it."""

    def __init__(self, variable: str | None = None) -> None:
        """Look around without loading anything but what `variable` (or the environment's `HEDDLE_PLUGINS`) names."""
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(Hooks)
        self._candidates: dict[str, list[_Candidate]] = {}
        self._broken: list[_Candidate] = []
        for point in sorted(entry_points(group=BACKENDS), key=_point_key):
            self._add(_Candidate(point.name, _origin(point), point.value, point.load))
        for point in sorted(entry_points(group=HOOKS), key=_point_key):
            self._load_module(_Candidate(point.name, _origin(point), point.value, point.load))
        for named in named_plugins(variable):
            self._load_module(_named(named))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all backends that are found, sorted; nothing is loaded for it."""
        return tuple(sorted(self._candidates))

    def backend_class(self, name: str) -> type[Backend]:
        """The class of a backend; BackendError when there is none, two, or a broken one."""
        candidates = self._candidates.get(name, [])
        if not candidates:
            close = get_close_matches(name, self.names, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise BackendError(f"there is no backend {name!r}{hint} (there are {', '.join(self.names)})")
        if len(candidates) > 1:
            origins = " and ".join(candidate.origin for candidate in candidates)
            raise BackendError(f"backend {name!r} is brought by {origins}; a name must be unique, remove one of them")
        (candidate,) = candidates
        self._load(candidate)
        if candidate.loaded is None:
            raise BackendError(f"backend {name!r} ({candidate.origin}) is broken: {candidate.error}")
        return candidate.loaded

    def get(self, name: str, options: Mapping[str, Any] | None = None) -> Backend:
        """A backend with its options, which may be strings; BackendError when it cannot be made."""
        chosen = self.backend_class(name)
        settings = read_options(name, chosen.Options, options or {})
        try:
            return chosen(settings)
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(f"backend {name!r} could not be made: {type(error).__name__}: {error}") from error

    def statuses(self) -> tuple[Status, ...]:
        """Every plugin, loaded and looked at: the backends by name, then the modules that failed to load."""
        found = [self._status(candidate) for name in self.names for candidate in self._candidates[name]]
        return (*found, *(_failed(candidate) for candidate in self._broken))

    def announce(self, hook: str, **arguments: Any) -> None:
        """Call every implementation of a hook; one that raises is named in a warning and stops nobody."""
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception as error:
                warnings.warn(
                    f"plugin {implementation.plugin_name!r}: {hook} raised {type(error).__name__}: {error}",
                    PluginWarning,
                    stacklevel=2,
                )

    # -- loading -------------------------------------------------------------------------------------------------

    def _add(self, candidate: _Candidate) -> None:
        self._candidates.setdefault(candidate.name, []).append(candidate)

    def _load(self, candidate: _Candidate) -> None:
        if candidate.loaded is not None or candidate.error:
            return
        try:
            found = candidate.load()
            _check_class(candidate.name, found)
            self._register_hooks(sys.modules[found.__module__], candidate.name)
            candidate.loaded = found
        except Exception as error:
            _note_failure(candidate, error)

    def _load_module(self, candidate: _Candidate) -> None:
        """Load a module at once, register its hooks and each backend class that it defines or returns."""
        try:
            module = candidate.load()
            self._register_hooks(module, candidate.name)
            for found in _backends_of(module):
                loaded = _Candidate(found.name, candidate.origin, candidate.target, partial(_itself, found))
                self._add(loaded)
                self._load(loaded)
        except Exception as error:
            _note_failure(candidate, error)
            self._broken.append(candidate)
            warnings.warn(
                f"plugin {candidate.name!r} ({candidate.origin}) is broken and left out: {candidate.error}; "
                "`heddle plugins doctor` shows more",
                PluginWarning,
                stacklevel=3,
            )

    def _register_hooks(self, module: ModuleType, name: str) -> None:
        """Register a module's hook implementations; an unknown hook undoes it and raises."""
        if self.manager.is_registered(module):
            return
        self.manager.register(module, name=module.__name__)
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            self.manager.unregister(module)
            raise BackendError(f"plugin {name!r}: {error}; the hooks are {', '.join(_hook_names())}") from error

    def _status(self, candidate: _Candidate) -> Status:
        if len(self._candidates[candidate.name]) > 1:
            others = [c.origin for c in self._candidates[candidate.name] if c is not candidate]
            candidate.error = (
                f"the name {candidate.name!r} is also brought by {' and '.join(others)}; remove one of them"
            )
            return _failed(candidate)
        self._load(candidate)
        if candidate.loaded is None:
            return _failed(candidate)
        try:
            backend = candidate.loaded()
            patterns = tuple(pattern.name for pattern in backend.patterns)
        except Exception as error:
            failed = _Candidate(candidate.name, candidate.origin, candidate.target, candidate.load)
            _note_failure(failed, error)
            return _failed(failed)
        return Status(
            candidate.name,
            candidate.origin,
            candidate.target,
            candidate.loaded.api,
            patterns,
            list_options(candidate.loaded.Options),
            candidate.loaded.takes_all,
            candidate.loaded.experimental,
        )


_found: dict[str, Plugins] = {}


def plugins() -> Plugins:
    """The plugins of this process, looked for once for each value of `HEDDLE_PLUGINS`."""
    variable = os.environ.get(VARIABLE, "")
    if variable not in _found:
        _found[variable] = Plugins(variable)
    return _found[variable]


def get_backend(name: str, options: Mapping[str, Any] | None = None) -> Backend:
    """The backend of this name with its options; BackendError when there is none or it is broken."""
    return plugins().get(name, options)


def _check_class(name: str, found: Any) -> None:
    """BackendError when something is not a backend class that this Heddle can use."""
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BackendError(f"backend {name!r}: its entry point is {found!r}, a subclass of Backend is expected")
    if getattr(found, "name", None) != name:
        actual = getattr(found, "name", None)
        raise BackendError(f"backend {name!r}: its class names itself {actual!r}; entry point and class must agree")
    if not isinstance(found.api, int):
        raise BackendError(f"backend {name!r}: its API level is {found.api!r}, an integer is expected")
    if found.api > API_LEVEL:
        raise BackendError(
            f"backend {name!r} is made for API level {found.api}, this Heddle has level {API_LEVEL}; upgrade Heddle"
        )
    if found.api < OLDEST_API_LEVEL:
        raise BackendError(
            f"backend {name!r} is made for API level {found.api}, "
            f"this Heddle supports {OLDEST_API_LEVEL} to {API_LEVEL}; upgrade the plugin"
        )


def _backends_of(module: ModuleType) -> list[type[Backend]]:
    """The backend classes that a module defines, and those that its hook returns."""
    own = [
        found
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, Backend) and found.__module__ == module.__name__ and hasattr(found, "name")
    ]
    hook = getattr(module, "heddle_backends", None)
    brought = list(hook()) if hook is not None else []
    return list(dict.fromkeys([*own, *brought]))


def _named(named: str) -> _Candidate:
    """The plugin that the environment names: a file when it ends in `.py`, else a module."""
    load = partial(load_named, named)
    if not named.endswith(".py"):
        return _Candidate(named, f"{VARIABLE}={named}", named, load)
    path = Path(named).expanduser().resolve()
    return _Candidate(path.stem, f"{VARIABLE}={named}", str(path), load)


def _itself(found: type[Backend]) -> type[Backend]:
    return found


def _note_failure(candidate: _Candidate, error: Exception) -> None:
    candidate.error = str(error) if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"
    candidate.traceback = "".join(traceback.format_exception(error))


def _failed(candidate: _Candidate) -> Status:
    return Status(
        candidate.name, candidate.origin, candidate.target, error=candidate.error, traceback=candidate.traceback
    )


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed package"


def _point_key(point: EntryPoint) -> tuple[str, str, str]:
    return point.name, _origin(point), point.value


def _hook_names() -> list[str]:
    return sorted(name for name in vars(Hooks) if name.startswith("heddle_"))
