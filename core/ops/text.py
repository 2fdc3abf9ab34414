"""Strings: joined, split, normalized, matched and counted; and images in their files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type, tensor
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.registry import Operand, broadcast, op
from heddle.core.ops.shapes import with_dims
from numpy.typing import NDArray

Array = NDArray[Any]


def strings(items: Sequence[str], shape: Sequence[int]) -> Array:
    """A tensor of strings."""
    result = np.empty(len(items), object)
    result[:] = items
    return result.reshape(shape)


def concat_type(x: Operand, y: Operand) -> Type:
    return with_dims(x.tensor, broadcast("StringConcat", [x.tensor, y.tensor]))


@op("StringConcat", infer=concat_type)
def string_concat(x: Array, y: Array) -> Array:
    left, right = np.broadcast_arrays(x, y)
    pairs = zip(left.reshape(-1), right.reshape(-1), strict=True)
    return strings([str(a) + str(b) for a, b in pairs], left.shape)


def normalizer_type(x: Operand, **_: Any) -> Type:
    if x.dims is None:
        return x.type
    return with_dims(x.tensor, (*x.dims[:-1], UNKNOWN))


@op("StringNormalizer", infer=normalizer_type)
def string_normalizer(
    x: Array,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str | None = None,
    stopwords: tuple[str, ...] | None = None,
) -> Array:
    """Without the stop words, in the case that is asked for; one empty string when nothing is left."""
    cases: dict[str, Callable[[str], str]] = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}
    change = cases.get(case_change_action)
    if change is None:
        raise GraphError(f"StringNormalizer: case_change_action is {case_change_action!r}, not NONE, LOWER or UPPER")
    words = [str(word) for word in x.reshape(-1)]
    if is_case_sensitive:
        kept = [word for word in words if word not in (stopwords or ())]
    else:
        stops = {word.lower() for word in stopwords or ()}
        kept = [word for word in words if word.lower() not in stops]
    kept = [change(word) for word in kept] or [""]
    return strings(kept, (*[1] * (x.ndim - 1), len(kept)))


def split_type(x: Operand, **_: Any) -> tuple[Type, ...]:
    dims = None if x.dims is None else (*x.dims, UNKNOWN)
    return with_dims(x.tensor, dims), TensorType(np.dtype(np.int64), x.dims)


@op("StringSplit", infer=split_type)
def string_split(x: Array, *, delimiter: str | None = None, maxsplit: int | None = None) -> tuple[Array, Array]:
    """Parts side by side, filled up with empty strings, and how many there are."""
    parts = [str(text).split(delimiter or None, -1 if maxsplit is None else maxsplit) for text in x.reshape(-1)]
    most = max((len(part) for part in parts), default=0)
    flat = [item for part in parts for item in (*part, *[""] * (most - len(part)))]
    return strings(flat, (*x.shape, most)), np.array([len(part) for part in parts], np.int64).reshape(x.shape)


def match_type(x: Operand, *, pattern: str | None) -> Type:
    return TensorType(np.dtype(np.bool_), x.dims)


@op("RegexFullMatch", infer=match_type)
def regex_full_match(x: Array, *, pattern: str | None = None) -> Array:
    found = re.compile(pattern or "")
    return np.array([found.fullmatch(str(text)) is not None for text in x.reshape(-1)], np.bool_).reshape(x.shape)


# -- counting n-grams -------------------------------------------------------------------------------------------


def tf_idf_type(x: Operand, *, ngram_indexes: tuple[int, ...], **_: Any) -> Type:
    width: Dim = max(ngram_indexes) + 1
    if x.dims is None:
        return TensorType(np.dtype(np.float32), None)
    return tensor("float32", *x.dims[:-1], width)


@op("TfIdfVectorizer", infer=tf_idf_type)
def tf_idf_vectorizer(
    x: Array,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: tuple[int, ...],
    ngram_indexes: tuple[int, ...],
    pool_int64s: tuple[int, ...] | None = None,
    pool_strings: tuple[str, ...] | None = None,
    weights: tuple[float, ...] | None = None,
) -> Array:
    """How often each n-gram of the pool occurs in each row, counted or weighed."""
    pool: Sequence[Any] = pool_int64s if pool_int64s is not None else pool_strings or ()
    places: dict[tuple[Any, ...], int] = {}
    at = 0
    for length, start in enumerate(ngram_counts, 1):
        end = ngram_counts[length] if length < len(ngram_counts) else len(pool)
        for first in range(start, end, length):
            places[tuple(pool[first : first + length])] = at
            at += 1
    rows = x.reshape(-1, x.shape[-1]) if x.size else x.reshape(-1, 0)
    counts = np.zeros((len(rows), max(ngram_indexes) + 1), np.float32)
    for row, items in zip(counts, rows.tolist(), strict=True):
        for gram in _grams(items, min_gram_length, max_gram_length, max_skip_count):
            if gram in places:
                row[ngram_indexes[places[gram]]] += 1
    factor = np.ones(counts.shape[1], np.float32)
    for i, index in enumerate(ngram_indexes):
        factor[index] = 1 if weights is None else weights[i]
    if mode == "IDF":
        counts = np.minimum(counts, 1) * factor
    elif mode == "TFIDF":
        counts = counts * factor
    return counts.reshape(*x.shape[:-1], -1)


def _grams(items: list[Any], least: int, most: int, skips: int) -> list[tuple[Any, ...]]:
    """The n-grams of a row; one item has no gaps, longer ones are taken with each number of skipped items."""
    found = []
    for length in range(least, most + 1):
        for gap in range(1, 2 if length == 1 else skips + 2):
            reach = (length - 1) * gap
            found += [tuple(items[i : i + reach + 1 : gap]) for i in range(len(items) - reach)]
    return found


# -- images -----------------------------------------------------------------------------------------------------


def image_type(encoded_stream: Operand, *, pixel_format: str) -> Type:
    return tensor("uint8", UNKNOWN, UNKNOWN, 1 if pixel_format == "Grayscale" else 3)


@op("ImageDecoder", infer=image_type)
def image_decoder(encoded_stream: Array, *, pixel_format: str = "RGB") -> Array:
    """Needs Pillow."""
    try:
        images = import_module("PIL.Image")
    except ImportError:
        raise GraphError("ImageDecoder: Pillow is not installed; pip install pillow") from None
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise GraphError(f"ImageDecoder: pixel_format is {pixel_format!r}, it must be RGB, BGR or Grayscale")
    image = images.open(io.BytesIO(encoded_stream.tobytes()))
    if pixel_format == "Grayscale":
        return np.asarray(image.convert("L"))[..., None].copy()
    pixels = np.asarray(image.convert("RGB"))
    return (pixels[..., ::-1] if pixel_format == "BGR" else pixels).copy()
