"""Spectra: discrete Fourier transforms, the windows they look through, and the mel scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type, dtype_named
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.registry import DTypeName, Operand, op
from heddle.core.ops.scalar import widened
from heddle.core.ops.shapes import axis_of, scalar_of, unknown, with_dims
from numpy.typing import NDArray

Array = NDArray[Any]


def _complex(x: Array) -> Array:
    """Pairs of numbers along the last axis (or single ones) as complex numbers."""
    wide = x.astype(widened(x.dtype))
    return wide[..., 0] if x.shape[-1] == 1 else wide[..., 0] + wide.dtype.type(1) * 1j * wide[..., 1]


def _pairs(x: Array, dtype: Any) -> Array:
    return np.stack([x.real, x.imag], axis=-1).astype(dtype)


def dft_type(input: Operand, dft_length: Operand | None, axis: Operand | None, *, inverse: int, onesided: int) -> Type:
    at = -2 if axis is None else scalar_of(axis)
    if input.dims is None or at is None:
        return with_dims(input.tensor, unknown(input.rank))
    at = axis_of("DFT", at, len(input.dims))
    if at == len(input.dims) - 1:
        raise GraphError(f"DFT: axis {at} of {input.type} holds the parts of complex numbers, another one is needed")
    size = input.dims[at]
    length: Dim = UNKNOWN if dft_length is not None else size
    if dft_length is not None and dft_length.value is not None:
        length = int(scalar_of(dft_length))
    if onesided and inverse:
        length = 2 * (size - 1) if dft_length is None and isinstance(size, int) else length
        length = UNKNOWN if dft_length is None and isinstance(size, str) else length
    elif onesided:
        length = length // 2 + 1 if isinstance(length, int) else UNKNOWN
    dims = [*input.dims[:-1], 1 if onesided and inverse else 2]
    dims[at] = length
    return with_dims(input.tensor, tuple(dims))


@op("DFT", infer=dft_type)
def dft(
    input: Array, dft_length: Array | None = None, axis: Array | None = None, *, inverse: int = 0, onesided: int = 0
) -> Array:
    at = (-2 if axis is None else int(axis.reshape(-1)[0])) % input.ndim
    length = None if dft_length is None else int(dft_length.reshape(-1)[0])
    signal = _complex(input)
    if onesided and inverse:
        return np.fft.irfft(signal, n=length, axis=at)[..., None].astype(input.dtype)
    result = (np.fft.ifft if inverse else np.fft.fft)(signal, n=length, axis=at)
    if onesided:
        result = np.take(result, range(result.shape[at] // 2 + 1), axis=at)
    return _pairs(result, input.dtype)


def stft_type(
    signal: Operand, frame_step: Operand, window: Operand | None, frame_length: Operand | None, *, onesided: int
) -> Type:
    batch, size = (UNKNOWN, UNKNOWN) if signal.dims is None else signal.dims[:2]
    length: Dim | None = size
    if frame_length is not None:
        length = scalar_of(frame_length)
    elif window is not None:
        length = None if window.dims is None else window.dims[0]
    step = scalar_of(frame_step)
    if not isinstance(length, int):
        return with_dims(signal.tensor, (batch, UNKNOWN, UNKNOWN, 2))
    frames: Dim = UNKNOWN if step is None or isinstance(size, str) else (size - length) // int(step) + 1
    return with_dims(signal.tensor, (batch, frames, length // 2 + 1 if onesided else length, 2))


@op("STFT", infer=stft_type)
def stft(
    signal: Array,
    frame_step: Array,
    window: Array | None = None,
    frame_length: Array | None = None,
    *,
    onesided: int = 1,
) -> Array:
    """The transform of each frame of a signal, seen through a window."""
    whole = _complex(signal)
    size = whole.shape[1] if window is None else window.shape[0]
    length, step = size if frame_length is None else int(frame_length.reshape(-1)[0]), int(frame_step.reshape(-1)[0])
    starts = np.arange((whole.shape[1] - length) // step + 1) * step
    frames = whole[:, starts[:, None] + np.arange(length)]
    seen = frames if window is None else frames * window.astype(frames.real.dtype)
    result = np.fft.fft(seen, axis=2)
    return _pairs(result[:, :, : length // 2 + 1] if onesided else result, signal.dtype)


# -- windows ----------------------------------------------------------------------------------------------------


def window_type(size: Operand, *, output_datatype: str, periodic: int) -> Type:
    count = scalar_of(size)
    return TensorType(dtype_named(output_datatype), (UNKNOWN if count is None else int(count),))


def _cosines(size: Array, periodic: int, output_datatype: str, *factors: float) -> Array:
    """A sum of cosines with alternating signs over one period."""
    count = int(size.reshape(-1)[0])
    phase = 2 * np.pi * np.arange(count) / (count if periodic else max(count - 1, 1))
    total = np.zeros(count)
    for i, factor in enumerate(factors):
        total += (-1) ** i * factor * np.cos(i * phase)
    return total.astype(dtype_named(output_datatype))


@op("HannWindow", infer=window_type)
def hann_window(size: Array, *, output_datatype: DTypeName = "float32", periodic: int = 1) -> Array:
    return _cosines(size, periodic, output_datatype, 0.5, 0.5)


@op("HammingWindow", infer=window_type)
def hamming_window(size: Array, *, output_datatype: DTypeName = "float32", periodic: int = 1) -> Array:
    return _cosines(size, periodic, output_datatype, 25 / 46, 21 / 46)


@op("BlackmanWindow", infer=window_type)
def blackman_window(size: Array, *, output_datatype: DTypeName = "float32", periodic: int = 1) -> Array:
    return _cosines(size, periodic, output_datatype, 0.42, 0.5, 0.08)


# -- the mel scale ----------------------------------------------------------------------------------------------


def mel_type(
    num_mel_bins: Operand,
    dft_length: Operand,
    sample_rate: Operand,
    lower_edge_hertz: Operand,
    upper_edge_hertz: Operand,
    *,
    output_datatype: str,
) -> Type:
    bins, length = scalar_of(num_mel_bins), scalar_of(dft_length)
    rows = UNKNOWN if length is None else int(length) // 2 + 1
    return TensorType(dtype_named(output_datatype), (rows, UNKNOWN if bins is None else int(bins)))


@op("MelWeightMatrix", infer=mel_type)
def mel_weight_matrix(
    num_mel_bins: Array,
    dft_length: Array,
    sample_rate: Array,
    lower_edge_hertz: Array,
    upper_edge_hertz: Array,
    *,
    output_datatype: DTypeName = "float32",
) -> Array:
    """A triangle over the spectrum for each band; the edges lie evenly on the mel scale."""
    bands, length, rate = (int(v.reshape(-1)[0]) for v in (num_mel_bins, dft_length, sample_rate))
    low, high = (2595 * np.log10(1 + float(v.reshape(-1)[0]) / 700) for v in (lower_edge_hertz, upper_edge_hertz))
    mel = low + np.arange(bands + 2) * ((high - low) / (bands + 2))
    edges = ((length + 1) * (700 * (10 ** (mel / 2595) - 1)) // rate).astype(np.int64)
    result = np.zeros((length // 2 + 1, bands))
    for band, (left, centre, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        rising, falling = np.arange(left, centre + 1), np.arange(centre, right)
        result[rising, band] = (rising - left) / (centre - left) if centre > left else 1
        if right > centre:
            result[falling, band] = (right - falling) / (right - centre)
    return result.astype(dtype_named(output_datatype))
