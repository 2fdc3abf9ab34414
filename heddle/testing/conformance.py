"""The kit for pytest: `test_conformance = conformance("mine")` in a plugin's own tests is all that is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from heddle.core.plugin import Backend, get_backend, patterns_of
from heddle.core.runtime.device import Device
from heddle.testing.kit import Kit
from heddle.testing.report import LEAST


def conformance(
    backend: str | type[Backend],
    *,
    options: Mapping[str, Any] | None = None,
    devices: Mapping[str, Device | Mapping[str, Any]] | None = None,
    cases: int = LEAST,
    seed: int = 0,
    timeout: float = 20.0,
) -> Callable[[str], None]:
    """A test with a parameter for each pattern of a backend, which is named, or given as its class.

    Put it into a module of tests under a name that pytest collects:

        from heddle.testing import conformance
        test_conformance = conformance("mine")
    """
    import pytest  # the kit's other half serves the command line, where pytest need not be

    opened = get_backend(backend, options) if isinstance(backend, str) else backend(backend.Options(**(options or {})))

    @pytest.mark.parametrize("pattern", [pattern.name for pattern in patterns_of(opened)])
    def test_conformance(pattern: str) -> None:
        (score,) = Kit(cases, seed).test(opened, devices=devices, only=[pattern], timeout=timeout).scores
        assert score.ok, f"{opened.name}.{pattern}: {score.verdict}\n{score.case}"

    return test_conformance
