"""What the tests of several folders share: graphs from text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from heddle.core.ir import Graph, dtype_named, parse, verify

_CONST = re.compile(r"const %([\w.]+): (\w+)\[([\d,]*)\]")


@pytest.fixture
def read_graph() -> Callable[..., Graph]:
    """A function from IR text to a verified graph; a `const` whose array is not given by name is all zeros."""

    def read(text: str, **arrays: Any) -> Graph:
        constants = {}
        for name, dtype, dims in _CONST.findall(text):
            shape = tuple(int(dim) for dim in dims.split(",") if dim)
            constants[name] = np.asarray(arrays.get(name, np.zeros(shape)), dtype_named(dtype)).reshape(shape)
        return verify(parse(text, constants))

    return read
