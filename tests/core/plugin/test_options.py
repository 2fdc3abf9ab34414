"""Options come as strings and leave as the values that the backend declared, or with an error that helps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from heddle.core.errors import BackendError
from heddle.core.plugin import NoOptions, read_options


class Mode(Enum):
    FAST = "f"
    EXACT = "e"


@dataclass(frozen=True)
class Options:
    config: Literal["small", "large"] = "small"
    threads: int = 1
    ratio: float = 0.5
    verbose: bool = False
    mode: Mode = Mode.FAST
    sizes: tuple[int, ...] = ()
    pair: tuple[int, str] = (0, "")
    limit: int | None = None
    where: Path = Path()
    name: str = ""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("config", "large", "large"),
        ("threads", "0x10", 16),
        ("ratio", "1e-3", 0.001),
        ("verbose", "on", True),
        ("verbose", "False", False),
        ("mode", "EXACT", Mode.EXACT),
        ("mode", "e", Mode.EXACT),
        ("sizes", "1, 2,3", (1, 2, 3)),
        ("sizes", "", ()),
        ("pair", "3,x", (3, "x")),
        ("limit", "5", 5),
        ("limit", "none", None),
        ("where", "/tmp", Path("/tmp")),
        ("name", "7", "7"),
        ("threads", 4, 4),
    ],
)
def test_texts_are_read_by_type(name: str, text: Any, value: Any) -> None:
    assert getattr(read_options("b", Options, {name: text}), name) == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"thread": "1"}, "backend 'b' has no option 'thread'; did you mean 'threads'? (it has config, threads, "),
        ({"threads": "many"}, "backend 'b': option 'threads' is 'many', an integer is expected"),
        ({"verbose": "maybe"}, "backend 'b': option 'verbose' is 'maybe', true or false is expected"),
        ({"config": "huge"}, "backend 'b': option 'config' is 'huge', 'small' or 'large' is expected"),
        ({"mode": "slow"}, "backend 'b': option 'mode' is 'slow', 'FAST' or 'EXACT' is expected"),
        (
            {"sizes": "1,x"},
            "backend 'b': option 'sizes' is '1,x', a list of an integer, separated by commas is expected",
        ),
        ({"limit": "x"}, "backend 'b': option 'limit' is 'x', an integer or nothing is expected"),
    ],
)
def test_mistakes_are_told(given: dict[str, str], message: str) -> None:
    with pytest.raises(BackendError) as error:
        read_options("b", Options, given)
    assert str(error.value).startswith(message)


def test_no_options_and_missing_ones() -> None:
    @dataclass(frozen=True)
    class Needy:
        path: str

    with pytest.raises(BackendError) as error:
        read_options("b", NoOptions, {"x": "1"})
    assert str(error.value) == "backend 'b' has no option 'x'; it has no options"
    with pytest.raises(BackendError) as error:
        read_options("b", Needy, {})
    assert str(error.value) == "backend 'b': option 'path' has no default; give b.path=..."


def test_what_the_dataclass_itself_refuses_is_an_error_of_the_backend() -> None:
    @dataclass(frozen=True)
    class Strict:
        size: int = 1

        def __post_init__(self) -> None:
            if self.size < 1:
                raise ValueError("size must be 1 or more")

    with pytest.raises(BackendError) as error:
        read_options("b", Strict, {"size": "0"})
    assert str(error.value) == "backend 'b': its options are refused: size must be 1 or more"
