"""Kernels prepared to be timed, with weights that are cold as they are in a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from heddle.backends.llvm import matrices
from heddle.backends.llvm.choices import Kernel, Schedule
from heddle.core.codegen.kernels import conv, depthwise, gemm, tiled, winograd
from heddle.core.codegen.kernels.image import Image
from heddle.core.codegen.kernels.tail import Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.native import aligned, repeated
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import Type, Value
from numpy.typing import NDArray

Array = NDArray[Any]
SECONDS = 0.004
COLD = 24 << 20
SETS = 32
_DTYPES = {"float": np.float32, "bfloat": ml_dtypes.bfloat16, "i8": np.uint8, "i16": np.int16, "i32": np.int32}
_WEIGHTS = _DTYPES | {"i8": np.int8, "i16": np.int8}


def prepared(problem: Kernel, schedule: Schedule, target: Target) -> Callable[[], float]:
    """Compiles the kernel; each call runs it for a few milliseconds and gives the seconds of one run,
    as the thread used them: what others do with the core in between does not count.

    As many copies of the weights take turns as keep them out of the caches.
    """
    functions, arrays = _built(problem, schedule, target)
    copies = max(1, min(SETS, COLD // max(1, arrays[1].nbytes)))
    sets = [[arrays[0], aligned(arrays[1]), *arrays[2:]] for _ in range(copies)]
    run = repeated(functions, target, sets)

    def seconds(count: int) -> float:
        start = time.thread_time()
        run(count)
        return time.thread_time() - start

    run(copies)  # every page of every copy is touched before anything is timed
    count = 1
    while (took := seconds(count)) < SECONDS / 4:
        count *= 2
    count = max(1, round(count * SECONDS / took))
    return lambda: seconds(count) / count


def _built(problem: Kernel, schedule: Schedule, target: Target) -> tuple[list[Function], list[Array]]:
    """The functions of the kernel, and arrays for its parameters: source, weights, output, working memory."""
    if isinstance(problem, gemm.Gemm):
        assert isinstance(schedule, matrices.Schedule)
        if problem.b is None:
            ones = np.ones((problem.k, problem.n), _WEIGHTS[problem.scalar.scalar])
            packed, _ = matrices.packed([ones], problem, target, schedule)
            problem = gemm.Gemm(**{**vars(problem), "b_batch": (0,) * len(problem.batch)})
        else:
            extents, strides = (problem.k, problem.n), problem.b
            packed = _ones(_span((*problem.batch, *extents), (*problem.b_batch, *strides)), problem.scalar)
        source = _ones(_span((*problem.batch, problem.m, problem.k), (*problem.a_batch, *problem.a)), problem.scalar)
        extents_out = (*problem.batch, problem.m, problem.n)
        out = _ones(problem.out.origin + _span(extents_out, (*problem.out.strides, 1)), problem.out.scalar)
        room = gemm.scratch_bytes(target, problem)
        functions = matrices.product("kernel", target, problem, schedule, _converting(problem.out.scalar))
        return functions, [source, packed, out, aligned(np.zeros(room + 64, np.uint8))]
    if isinstance(schedule, tiled.Schedule):
        assert isinstance(problem, conv.Conv)
        problem = tiled.interleaved(problem)
    source, out, room = _image(problem.source), _image(problem.out), 0
    tail = _converting(problem.out.scalar)
    kernel, inputs = problem.window.kernel, problem.source.channels
    dtype = _WEIGHTS[problem.source.scalar.scalar]
    if isinstance(problem, depthwise.Depthwise):
        assert isinstance(schedule, depthwise.Schedule)
        packed = depthwise.pack(np.ones((inputs, 1, *kernel), dtype), problem, target, schedule)
        functions = depthwise.depthwise("kernel", target, problem, schedule, tail)
    else:
        weights = np.ones((problem.out.channels, inputs // problem.groups, *kernel), dtype)
        if isinstance(schedule, winograd.Schedule):
            packed = winograd.pack(weights, problem, target, schedule)
            room = winograd.scratch_bytes(problem, schedule)
            functions = winograd.winograd("kernel", target, problem, schedule, tail)
        elif isinstance(schedule, tiled.Schedule):
            packed = tiled.pack(weights, problem)
            functions = tiled.conv("kernel", target, problem, schedule, tail)
        else:
            assert isinstance(schedule, conv.Schedule)
            packed = conv.pack(weights, problem, target, schedule)
            functions = conv.conv("kernel", target, problem, schedule, tail)
    return functions, [source, packed, out, aligned(np.zeros(room + 64, np.uint8))]


def _converting(scalar: Type) -> Tail:
    """A tail that does no more than make what is stored of the sums."""

    def emit(f: Function, a: Value, _: Sequence[Value]) -> Value:
        if a.type.scalar == scalar.scalar:
            return a
        if a.type.floating:
            return f.convert("fptosi", a, scalar)
        return f.convert("sitofp" if scalar.floating else "trunc", a, scalar)

    return Tail(emit)


def _image(image: Image) -> Array:
    return _ones(image.batch * image.step, image.scalar)


def _ones(count: int, scalar: Type) -> Array:
    return aligned(np.ones(count, _DTYPES[scalar.scalar]))


def _span(extents: Sequence[int], strides: Sequence[int]) -> int:
    """The elements from the first to the last that are touched."""
    return 1 + sum((extent - 1) * abs(stride) for extent, stride in zip(extents, strides, strict=True))
