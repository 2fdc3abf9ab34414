"""The options that say how a model is compiled, in one place for every command that compiles one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

import heddle
from heddle.commands import arguments
from heddle.compiler import Asked, open_backends
from heddle.core.plugin import Backend


@dataclass(frozen=True)
class Placing:
    """To which backends the parts of a model are given, and how."""

    backends: arguments.Backends = "host"
    place: arguments.Place = "order"
    set_: arguments.Settings = None
    strict_math: arguments.StrictMath = False
    precision: arguments.Precision = None
    pin: arguments.Pins = None
    exclude: arguments.Exclusions = None
    strict: arguments.Strict = False
    shape: arguments.ShapeTexts = None

    def opened(self) -> tuple[Backend, ...]:
        """The backends with their options."""
        return open_backends(
            arguments.names(self.backends), arguments.options(self.set_, self.strict_math, self.precision)
        )

    @property
    def shapes(self) -> dict[str, list[int | str]] | None:
        """The shapes of inputs."""
        return arguments.shapes(self.shape)

    @property
    def demands(self) -> heddle.Demands:
        """What is demanded of plans."""
        return arguments.demands(self.pin, self.exclude, self.strict)

    @property
    def asked(self) -> Asked:
        """What `heddle.compile` and its like are asked for beside model, backends and shapes."""
        return {"place": self.place, "demands": self.demands}


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer needs it: each field of a parameter that is a dataclass is an option of its own.

    >>> from inspect import signature
    >>> @spread
    ... def command(model: str, placing: Placing, json: bool = False) -> None: ...
    >>> list(signature(command).parameters)[:4]
    ['model', 'backends', 'place', 'set_']
    """
    kinds = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=kinds[name]))
            continue
        hints = get_type_hints(groups[name], include_extras=True)
        parameters += [
            Parameter(each.name, Parameter.POSITIONAL_OR_KEYWORD, default=each.default, annotation=hints[each.name])
            for each in fields(groups[name])
        ]

    @wraps(command)
    def called(**given: Any) -> None:
        made = {
            name: kind(**{each.name: given.pop(each.name) for each in fields(kind)}) for name, kind in groups.items()
        }
        command(**given, **made)

    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called
