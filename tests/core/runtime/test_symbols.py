"""Addresses of functions are filled into an artifact's constants when it is loaded."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from heddle.core.errors import ArtifactError
from heddle.core.runtime.artifact import Artifact, Signature
from heddle.core.runtime.symbols import constants_of


def artifact(symbols):
    constants = {"w": np.ones(2, np.float32), "at": np.zeros(1, np.uint64)}
    return Artifact("mine", "host", Signature((), ()), b"", constants, meta={"symbols": symbols} if symbols else {})


def test_a_function_of_the_process():
    found = constants_of(artifact({"at": ["", "strlen"]}))
    length = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_char_p)(int(found["at"][0]))
    assert length(b"heddle") == 6
    assert list(found["w"]) == [1, 1]


def test_without_symbols_the_constants_are_as_they_are():
    made = artifact({})
    assert constants_of(made) is made.constants


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        ({"at": ["", "no_such"]}, "mine: the code calls no_such, which this process does not have; "),
        ({"at": ["libno_such.so", "f"]}, r"mine: the code calls f of libno_such.so, which cannot be loaded: "),
        ({"at": "strlen"}, r"mine: symbol 'at' is 'strlen', \[library, name\] is expected"),
        ({"w2": ["", "strlen"]}, r"mine: symbol 'w2' is \['', 'strlen'\], \[library, name\] is expected"),
        (["at"], r"mine: its symbols are \['at'\], functions by constant are expected"),
    ],
)
def test_what_is_refused(symbols, message):
    with pytest.raises(ArtifactError, match=f"^{message}"):
        constants_of(artifact(symbols))
