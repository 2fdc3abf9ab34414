"""A plan in the words of cuDNN's own front end: one graph, its tensors and operations."""

from __future__ import annotations

from typing import Any

from heddle.backends.cudnn.program import Operation, Plan

DTYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}
"""The front end's names of element types."""


def described(cudnn: Any, plan: Plan, **where: Any) -> tuple[Any, dict[int, Any]]:
    """The front end's graph of a plan, validated by it, and its tensor for each argument of the plan.

    `cudnn` is the front end's module; `where` says for which device: by `handle`, or by `device_property`.
    """
    types = cudnn.data_type
    first = next(tensor for tensor in plan.tensors if tensor.argument is not None)
    graph = cudnn.pygraph(
        io_data_type=getattr(types, DTYPES[first.dtype]),
        intermediate_data_type=types.FLOAT,
        compute_data_type=types.FLOAT,
        **where,
    )
    made: dict[int, Any] = {}
    arguments: dict[int, Any] = {}
    written = {operation.result for operation in plan.operations}
    for number, tensor in enumerate(plan.tensors):
        if number not in written:
            made[number] = graph.tensor(
                name=f"t{number}", dim=list(tensor.dims), stride=list(tensor.strides),
                data_type=getattr(types, DTYPES[tensor.dtype]),
            )  # fmt: skip
    for operation in plan.operations:
        made[operation.result] = result = _apply(graph, operation, [made[number] for number in operation.operands])
        tensor = plan.tensors[operation.result]
        if tensor.argument is not None:
            result.set_output(True).set_data_type(getattr(types, DTYPES[tensor.dtype]))
        if tensor.argument is not None or operation.kind == "deconvolution":
            result.set_dim(list(tensor.dims)).set_stride(list(tensor.strides))
    for number, tensor in enumerate(plan.tensors):
        if tensor.argument is not None:
            arguments[tensor.argument] = made[number]
    graph.validate()
    return graph, arguments


def _apply(graph: Any, operation: Operation, operands: list[Any]) -> Any:
    """The result of an operation, as the front end's tensor."""
    numbers = operation.numbers
    match operation.kind:
        case "convolution" | "deconvolution":
            window = {"padding": numbers["padding"], "stride": numbers["strides"], "dilation": numbers["dilations"]}
            if operation.kind == "convolution":
                return graph.conv_fprop(image=operands[0], weight=operands[1], **window)
            return graph.conv_dgrad(loss=operands[0], filter=operands[1], **window)
        case "add":
            return graph.add(a=operands[0], b=operands[1])
        case "relu":
            return graph.relu(input=operands[0], **_bounds(numbers))
        case "attention":
            bias = {"bias": operands[3]} if len(operands) > 3 else {}
            scale = numbers["scale"]
            queries, keys, values = operands[:3]
            result, _ = graph.sdpa(
                name="attention", q=queries, k=keys, v=values, is_inference=True, attn_scale=scale, **bias
            )
            return result
        case kind:
            return getattr(graph, kind)(input=operands[0])


def _bounds(numbers: dict[str, Any]) -> dict[str, float]:
    names = {"slope": "negative_slope", "low": "lower_clip", "high": "upper_clip"}
    return {names[name]: value for name, value in numbers.items()}
