"""Backends that exist to be planned for: they take what their patterns say and have declared speeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from heddle.core.pattern import Pattern, pattern, unary
from heddle.core.plugin import Backend, Figures

Make = Callable[..., Backend]


def _backend(name: str, *patterns: Pattern, figures: Figures | None = None, **settings: Any) -> Backend:
    declared = Figures() if figures is None else figures

    class Declared(Backend):
        @property
        def patterns(self) -> Sequence[Pattern]:
            return patterns

        @property
        def figures(self) -> Figures:
            return declared

    Declared.name = name
    for setting, value in settings.items():
        setattr(Declared, setting, value)
    return Declared()


@pytest.fixture
def backend() -> Make:
    """A function from a name, patterns, figures and class attributes to a backend."""
    return _backend


@pytest.fixture
def host() -> Backend:
    """A backend that takes everything."""
    return _backend("host", takes_all=True)


@pytest.fixture
def any_unary() -> Pattern:
    """A pattern of one elementwise operator."""

    @pattern("unary")
    def one(x):
        return unary(x)

    return one
