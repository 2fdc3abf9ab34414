"""The types of values: tensors with known, symbolic or unknown dimensions, sequences and optionals of them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from heddle.core.dtypes import DType as DType
from heddle.core.dtypes import dtype_name as dtype_name
from heddle.core.dtypes import dtype_named as dtype_named

Dim = int | str
"""A dimension: a size, the name of a symbol, or `"?"` where nothing is known (two unknowns are not equal)."""

UNKNOWN: Dim = "?"

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor's element type and dimensions; `dims` is None when even the rank is unknown."""

    dtype: DType
    dims: tuple[Dim, ...] | None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The dimensions when all of them are known, else None."""
        if self.dims is None:
            return None
        for dim in self.dims:
            if isinstance(dim, str):
                return None
        return tuple(map(int, self.dims))

    @property
    def size(self) -> int | None:
        """The number of elements when the shape is known, else None."""
        shape = self.shape
        return None if shape is None else math.prod(shape)

    @property
    def nbytes(self) -> int | None:
        """The bytes of a dense array of this type when the shape is known, else None."""
        size = self.size
        return None if size is None else size * self.dtype.itemsize

    def __str__(self) -> str:
        dims = "*" if self.dims is None else ",".join(_print_dim(dim) for dim in self.dims)
        return f"{dtype_name(self.dtype)}[{dims}]"


@dataclass(frozen=True, slots=True)
class SequenceType:
    """A list of values of one type."""

    element: Type

    def __str__(self) -> str:
        return f"seq<{self.element}>"


@dataclass(frozen=True, slots=True)
class OptionalType:
    """A value that may be absent when the graph runs."""

    element: Type

    def __str__(self) -> str:
        return f"optional<{self.element}>"


Type = TensorType | SequenceType | OptionalType


def print_word(word: str) -> str:
    """A word of the text form, in quotes where it would not read back as one."""
    return word if _WORD.fullmatch(word) and word not in ("inf", "nan", "_") else json.dumps(word)


def _print_dim(dim: Dim) -> str:
    return print_word(dim) if isinstance(dim, str) and dim != UNKNOWN else str(dim)


def tensor(dtype: str | DType, *dims: Dim) -> TensorType:
    """The tensor type of a dtype (or its name) and dimensions: `tensor("float32", "N", 3)`."""
    return TensorType(dtype_named(dtype) if isinstance(dtype, str) else dtype, dims)
