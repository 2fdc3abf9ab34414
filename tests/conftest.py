"""What the tests of several folders share: graphs from text, and in a run of several processes what is built."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from heddle.core.ir import Graph, dtype_named, parse, verify

_CONST = re.compile(r"const %([\w.]+): (\w+)\[([\d,]*)\]")


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The processes of one run build each model of hardware once, in a folder of that run, unless one is named."""
    if "PYTEST_XDIST_WORKER" not in os.environ or "HEDDLE_CACHE_DIR" in os.environ:
        yield
        return
    os.environ["HEDDLE_CACHE_DIR"] = str(tmp_path_factory.getbasetemp().parent / "built")
    yield
    del os.environ["HEDDLE_CACHE_DIR"]


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
