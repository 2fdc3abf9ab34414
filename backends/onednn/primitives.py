"""Makes the library's primitives of a program's, by their descriptions and attributes."""

from __future__ import annotations

import ctypes
from ctypes import c_void_p
from dataclasses import dataclass

from heddle.backends.onednn.library import (
    ALGORITHMS,
    BIAS,
    DST,
    FORWARD_INFERENCE,
    MULTIPLE_SRC,
    POST_OP,
    QUERY_SCRATCHPAD,
    QUERY_WEIGHTS,
    SCALES,
    SRC,
    SRC_1,
    WEIGHTS,
    ZERO_POINTS,
    dims_of,
    flags,
    real,
)
from heddle.backends.onednn.loading import Loading
from heddle.backends.onednn.program import Primitive


@dataclass(frozen=True)
class Made:
    """A primitive with the tensors of its arguments, its packed constants, and the scratch memory that it needs."""

    primitive: c_void_p
    arguments: tuple[tuple[int, int], ...]
    packed: list[tuple[int, c_void_p]]
    scratch: int
    scratchpad: c_void_p
    implementation: str


@dataclass(frozen=True)
class Form:
    """A program's primitives for a number of threads, and the most scratch memory that one of them needs."""

    threads: int
    made: tuple[Made, ...]
    scratch: int


class _Descriptions:
    """Descriptions of tensors that live while one primitive is made."""

    def __init__(self, loading: Loading) -> None:
        self.lib, self.tensors = loading.lib, loading.program.tensors
        self.held: list[c_void_p] = []

    def of(self, tensor: int | None, any_layout: bool = False) -> c_void_p | None:
        if tensor is None:
            return None
        one = self.tensors[tensor]
        made = self.lib.descriptor(one.dims, one.dtype, None if any_layout else one.strides)
        self.held.append(made)
        return made

    def close(self) -> None:
        for made in self.held:
            self.lib.call("dnnl_memory_desc_destroy", made)


def form(loading: Loading, threads: int) -> Form:
    """The primitives for so many threads; the caller's own setting is the same again afterwards."""
    before = loading.lib.get_threads()
    loading.lib.set_threads(threads)
    try:
        made = tuple(_made(loading, primitive) for primitive in loading.program.primitives)
    finally:
        loading.lib.set_threads(before)
    return Form(threads, made, max((one.scratch for one in made), default=0))


def _made(loading: Loading, primitive: Primitive) -> Made:
    """The primitive; DeviceError when the library has none such."""
    lib, descriptions = loading.lib, _Descriptions(loading)
    attributes = _attributes(loading, primitive, descriptions)
    try:
        description = loading.own("primitive_desc", _describe(loading, primitive, descriptions, attributes))
    finally:
        lib.call("dnnl_primitive_attr_destroy", attributes)
        descriptions.close()
    made = loading.own("primitive", lib.make("dnnl_primitive_create", description))
    scratchpad = lib.query(description, QUERY_SCRATCHPAD)
    arguments = dict(primitive.arguments)
    packed = []
    if primitive.packed is not None:
        wanted = lib.query(description, QUERY_WEIGHTS)
        packed.append((primitive.packed, loading.packed(arguments.pop(primitive.packed), wanted)))
    for group, base in ((primitive.scales, SCALES), (primitive.zero_points, ZERO_POINTS)):
        arguments |= {base | argument: tensor for argument, (_, tensor) in group.items()}
    arguments |= {
        POST_OP * (number + 1) | SRC_1: post.tensor
        for number, post in enumerate(primitive.post)
        if post.tensor is not None
    }
    name = lib.implementation(description)
    return Made(made, tuple(arguments.items()), packed, lib.size(scratchpad), scratchpad, name)


def _attributes(loading: Loading, primitive: Primitive, descriptions: _Descriptions) -> c_void_p:
    lib = loading.lib
    attributes = lib.make("dnnl_primitive_attr_create")
    lib.call("dnnl_primitive_attr_set_scratchpad_mode", attributes, 1)
    if loading.program.bf16:
        lib.call("dnnl_primitive_attr_set_fpmath_mode", attributes, 1)
    for argument, (mask, _) in primitive.scales.items():
        lib.call("dnnl_primitive_attr_set_scales_mask", attributes, argument, mask)
    for argument, (mask, _) in primitive.zero_points.items():
        lib.call("dnnl_primitive_attr_set_zero_points_mask", attributes, argument, mask)
    if primitive.post:
        chain = lib.make("dnnl_post_ops_create")
        for post in primitive.post:
            algorithm = ALGORITHMS[post.algorithm]
            if post.tensor is None:
                lib.call("dnnl_post_ops_append_eltwise", chain, algorithm, real(post.alpha), real(post.beta))
            else:
                lib.call("dnnl_post_ops_append_binary", chain, algorithm, descriptions.of(post.tensor))
        lib.call("dnnl_primitive_attr_set_post_ops", attributes, chain)
        lib.call("dnnl_post_ops_destroy", chain)
    return attributes


def _describe(loading: Loading, primitive: Primitive, descriptions: _Descriptions, attributes: c_void_p) -> c_void_p:
    """The library's description of the primitive, by its kind."""
    lib, engine, numbers = loading.lib, loading.lib.engine, primitive.numbers
    algorithm = ALGORITHMS.get(primitive.algorithm, 0)
    forward = FORWARD_INFERENCE

    def md(argument: int) -> c_void_p | None:
        return descriptions.of(primitive.arguments.get(argument), argument == primitive.packed)

    def array(name: str) -> object:
        return dims_of(numbers[name])

    match primitive.kind:
        case "convolution" | "deconvolution":
            return lib.make(
                f"dnnl_{primitive.kind}_forward_primitive_desc_create", engine, forward, algorithm, md(SRC),
                md(WEIGHTS), md(BIAS), md(DST), array("strides"), array("dilations"), array("before"),
                array("after"), attributes,
            )  # fmt: skip
        case "matmul":
            return lib.make(
                "dnnl_matmul_primitive_desc_create", engine, md(SRC), md(WEIGHTS), md(BIAS), md(DST), attributes
            )
        case "inner_product":
            return lib.make(
                "dnnl_inner_product_forward_primitive_desc_create", engine, forward, md(SRC), md(WEIGHTS), md(BIAS),
                md(DST), attributes,
            )  # fmt: skip
        case "pooling":
            return lib.make(
                "dnnl_pooling_forward_primitive_desc_create", engine, forward, algorithm, md(SRC), md(DST),
                array("strides"), array("kernel"), array("dilations"), array("before"), array("after"), attributes,
            )  # fmt: skip
        case "eltwise":
            return lib.make(
                "dnnl_eltwise_forward_primitive_desc_create", engine, forward, algorithm, md(SRC), md(DST),
                real(numbers["alpha"]), real(numbers["beta"]), attributes,
            )  # fmt: skip
        case "binary":
            return lib.make(
                "dnnl_binary_primitive_desc_create", engine, algorithm, md(SRC), md(SRC_1), md(DST), attributes
            )
        case "softmax":
            return lib.make(
                "dnnl_softmax_forward_primitive_desc_create", engine, forward, algorithm, md(SRC), md(DST),
                numbers["axis"], attributes,
            )  # fmt: skip
        case "layer_normalization":
            return lib.make(
                "dnnl_layer_normalization_forward_primitive_desc_create", engine, forward, md(SRC), md(DST), None,
                real(numbers["epsilon"]), flags(numbers["flags"]), attributes,
            )  # fmt: skip
        case "batch_normalization":
            return lib.make(
                "dnnl_batch_normalization_forward_primitive_desc_create", engine, forward, md(SRC), md(DST),
                real(numbers["epsilon"]), flags(numbers["flags"]), attributes,
            )  # fmt: skip
        case "reduction":
            return lib.make(
                "dnnl_reduction_primitive_desc_create", engine, algorithm, md(SRC), md(DST),
                real(numbers["power"]), real(0.0), attributes,
            )  # fmt: skip
        case "sum":
            count = len(primitive.arguments) - 1
            sources = (c_void_p * count)(*(md(MULTIPLE_SRC + number) for number in range(count)))
            return lib.make(
                "dnnl_sum_primitive_desc_create", engine, md(DST), count, (ctypes.c_float * count)(*[1.0] * count),
                sources, attributes,
            )  # fmt: skip
        case "concat":
            count = len(primitive.arguments) - 1
            sources = (c_void_p * count)(*(md(MULTIPLE_SRC + number) for number in range(count)))
            return lib.make(
                "dnnl_concat_primitive_desc_create", engine, md(DST), count, numbers["axis"], sources, attributes
            )
        case "resampling":
            factors = (ctypes.c_float * len(numbers["factors"]))(*numbers["factors"])
            return lib.make(
                "dnnl_resampling_forward_primitive_desc_create", engine, forward, algorithm, factors, md(SRC), md(DST),
                attributes,
            )  # fmt: skip
        case _:
            return lib.make("dnnl_reorder_primitive_desc_create", md(SRC), engine, md(DST), engine, attributes)
