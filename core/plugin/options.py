"""Reads a backend's options, which come as strings, into its dataclass of options."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

from heddle.core.errors import BackendError

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a backend: its name, the type as people write it, and its default (None where it has none)."""

    name: str
    type: str
    default: Any


def list_options(options: type[Any]) -> tuple[Option, ...]:
    """What can be set in a dataclass of options."""
    hints = typing.get_type_hints(options)
    return tuple(
        Option(field.name, _spell(hints[field.name]), _default(field)) for field in dataclasses.fields(options)
    )


def read_options(backend: str, options: type[Any], given: Mapping[str, Any]) -> Any:
    """An instance of the dataclass `options`; strings are read by each field's type, other values stay as they are.

    BackendError for an unknown name, with what was probably meant, for a text that is not of the type, for a missing
    option without a default.
    """
    hints = typing.get_type_hints(options)
    fields = {field.name: field for field in dataclasses.fields(options) if field.init}
    values = {}
    for name, text in given.items():
        if name not in fields:
            raise BackendError(_unknown(backend, name, list(fields)))
        values[name] = _read(backend, name, hints[name], text) if isinstance(text, str) else text
    missing = [name for name, field in fields.items() if name not in values and _required(field)]
    if missing:
        raise BackendError(
            f"backend {backend!r}: option {missing[0]!r} has no default; give {backend}.{missing[0]}=..."
        )
    try:
        return options(**values)
    except (TypeError, ValueError) as error:
        raise BackendError(f"backend {backend!r}: its options are refused: {error}") from error


def _unknown(backend: str, name: str, known: list[str]) -> str:
    if not known:
        return f"backend {backend!r} has no option {name!r}; it has no options"
    close = get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"backend {backend!r} has no option {name!r}{hint} (it has {', '.join(known)})"


def _read(backend: str, name: str, hint: Any, text: str) -> Any:
    try:
        return _convert(hint, text)
    except ValueError:
        raise BackendError(f"backend {backend!r}: option {name!r} is {text!r}, {_spell(hint)} is expected") from None


def _convert(hint: Any, text: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, text)
    if origin is typing.Literal:
        return next(_found(choice for choice in arguments if str(choice) == text))
    if origin in (tuple, list):
        items = [item.strip() for item in text.split(",")] if text else []
        hints = [arguments[0]] * len(items) if origin is list or arguments[1:] == (...,) else list(arguments)
        if len(hints) != len(items):
            raise ValueError
        return origin(_convert(one, item) for one, item in zip(hints, items, strict=True))
    if hint is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise ValueError
        return text.lower() in _TRUE
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(_found(choice for choice in hint if text in (choice.name, str(choice.value))))
    if hint in (int, float, Path):
        return int(text, 0) if hint is int else hint(text)
    return text


def _convert_union(hints: tuple[Any, ...], text: str) -> Any:
    if type(None) in hints and text.lower() in ("", "none"):
        return None
    for hint in hints:
        if hint is not type(None):
            try:
                return _convert(hint, text)
            except ValueError:
                continue
    raise ValueError


def _found(choices: typing.Iterable[Any]) -> typing.Iterator[Any]:
    yield from choices
    raise ValueError


def _spell(hint: Any) -> str:
    """A type as people write it: `an integer`, `"small" or "large"`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(repr(choice.name) for choice in hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("nothing" if one is type(None) else _spell(one) for one in arguments)
    if origin in (tuple, list):
        return f"a list of {_spell(arguments[0])}, separated by commas"
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a text", Path: "a path"}
    return names.get(hint, str(hint))


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if field.default_factory is dataclasses.MISSING else field.default_factory()
