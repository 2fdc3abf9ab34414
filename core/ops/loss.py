"""Losses."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type
from heddle.core.ops.normalization import log_softmax
from heddle.core.ops.registry import Operand, op
from numpy.typing import NDArray

Array = NDArray[Any]


def loss_type(name: str, scores: Operand, labels: Operand, reduction: str) -> Type:
    if reduction not in ("none", "sum", "mean"):
        raise GraphError(f"{name}: reduction is {reduction!r}, it must be none, sum or mean")
    return TensorType(scores.dtype, labels.dims if reduction == "none" else ())


def likelihood_loss(log_prob: Array, labels: Array, weight: Array | None, ignore: int | None, reduction: str) -> Array:
    """Minus the log-probability of each label, weighed by class, reduced."""
    kept = np.ones(labels.shape, np.bool_) if ignore is None else labels != ignore
    classes = np.where(kept, labels, 0).astype(np.int64)
    picked = np.take_along_axis(log_prob, np.expand_dims(classes, 1), axis=1).squeeze(1)
    factor = np.ones(labels.shape, log_prob.dtype) if weight is None else weight[classes]
    factor = np.where(kept, factor, np.zeros_like(factor))
    loss = -picked * factor
    if reduction == "none":
        return np.asarray(loss).astype(log_prob.dtype)
    total = loss.sum()
    return np.asarray(total if reduction == "sum" else total / factor.sum()).astype(log_prob.dtype)


def nll_type(
    input: Operand, target: Operand, weight: Operand | None, *, ignore_index: int | None, reduction: str
) -> Type:
    return loss_type("NegativeLogLikelihoodLoss", input, target, reduction)


@op("NegativeLogLikelihoodLoss", infer=nll_type)
def negative_log_likelihood_loss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Array:
    return likelihood_loss(input, target, weight, ignore_index, reduction)


def cross_entropy_type(
    scores: Operand,
    labels: Operand,
    weights: Operand | None,
    *,
    ignore_index: int | None,
    reduction: str,
    outputs: int,
) -> tuple[Type, ...]:
    return (loss_type("SoftmaxCrossEntropyLoss", scores, labels, reduction), scores.type)[:outputs]


@op("SoftmaxCrossEntropyLoss", infer=cross_entropy_type)
def softmax_cross_entropy_loss(
    scores: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tuple[Array, Array]:
    log_prob = log_softmax(scores, axis=1)
    return likelihood_loss(log_prob, labels, weights, ignore_index, reduction), log_prob
