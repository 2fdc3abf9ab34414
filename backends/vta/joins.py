"""Layers that need not be: sums that a convolution's drain does, copies whose source can be written in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from heddle.backends.vta.layers import Concat, Conv, Copy, Layer, Pitch, Tensor, reads
from heddle.backends.vta.lower import Lowering
from heddle.hw.vta.config import Config


def fuse_sums(lowering: Lowering, kept: Set[str]) -> None:
    """Sums whose one operand is a convolution's result that nothing else reads join that convolution."""
    writers = _by_output(lowering.layers)
    readers: dict[str, int] = {}
    for layer in lowering.layers:
        for tensor in reads(layer):
            readers[tensor.name] = readers.get(tensor.name, 0) + 1
    result = dict.fromkeys(lowering.layers)
    for layer in lowering.layers:
        if not isinstance(layer, Copy) or layer.residual is None:
            continue
        for first, second, swapped in (
            (layer.input, layer.residual.tensor, False),
            (layer.residual.tensor, layer.input, True),
        ):
            made = writers.get(first.name, [])
            if len(made) != 1 or readers[first.name] > 1 or first.name in kept:
                continue
            (conv,) = made
            if not isinstance(conv, Conv) or conv.residual is not None or not _same_place(conv.output, first):
                continue
            residual = layer.residual
            if swapped:
                residual = replace(
                    residual, tensor=second, result_multiplier=residual.tensor_multiplier,
                    tensor_multiplier=residual.result_multiplier,
                )  # fmt: skip
            if residual.result_multiplier > 1 << residual.shift:
                continue  # a rounding of the convolution's result would be more than one of the sum's quanta
            fused = replace(conv, output=layer.output, residual=residual)
            result = {fused if each is layer else each: None for each in result if each is not conv}
            lowering.nodes[conv.name] += lowering.nodes[layer.name]
            break
    lowering.layers = list(result)


def write_in_place(config: Config, layers: Sequence[Layer], kept: Set[str]) -> list[Layer]:
    """The layers without copies that change nothing: what those would read is written where they would put it.

    Memories in `kept` are the host's. A concatenation of operands of one scale costs nothing so.
    """
    result = list(layers)
    for layer in layers:
        copy = next((each for each in result if each.name == layer.name), None)
        if not isinstance(copy, Copy) or not _changes_nothing(copy) or copy.input.name in kept:
            continue
        others = [each for each in result if each is not copy]
        places = _places(config, others, copy.input, copy.output)
        if places:
            result = [_elsewhere(each, copy.input.name, places) for each in others]
    return result


def _changes_nothing(copy: Copy) -> bool:
    scaling, source, target = copy.scaling, copy.input, copy.output
    alike = (source.scale, source.zero_point, source.unsigned) == (target.scale, target.zero_point, target.unsigned)
    free = (scaling.low, scaling.high) == (target.low, target.high)
    return copy.residual is None and not copy.clears and alike and free


def _places(config: Config, layers: Sequence[Layer], source: Tensor, target: Tensor) -> dict[Tensor, Tensor]:
    """What each tensor in the memory of `source` becomes when that lies where `target` does; nothing where it cannot.

    A memory that is only moved takes all its tensors with it; else they must be whole.
    """
    made = any(layer.output.name == source.name for layer in layers)
    tensors = {t for layer in layers for t in (*reads(layer), layer.output) if t.name == source.name}
    if not made or source.within is not None or any(t.nbytes(config) > source.nbytes(config) for t in tensors):
        return {}
    lies, to = source.pitch(config), target.pitch(config)
    if lies == replace(to, offset=0, image=to.image if source.batch > 1 else lies.image):
        return {t: replace(t, name=target.name, within=_behind(t.pitch(config), to.offset)) for t in tensors}
    if all(_same_place(t, source) for t in tensors):
        return {t: replace(t, name=target.name, within=target.within) for t in tensors}
    return {}


def _behind(pitch: Pitch, offset: int) -> Pitch:
    return replace(pitch, offset=pitch.offset + offset)


def _elsewhere(layer: Layer, name: str, places: Mapping[Tensor, Tensor]) -> Layer:
    """The layer with its tensors of one memory elsewhere."""
    changes: dict[str, Any] = {}
    for field in ("input", "other", "output"):
        tensor = getattr(layer, field, None)
        if tensor is not None and tensor.name == name:
            changes[field] = places[tensor]
    if isinstance(layer, Concat):
        changes["inputs"] = tuple(places.get(tensor, tensor) for tensor in layer.inputs)
    residual = getattr(layer, "residual", None)
    if residual is not None and residual.tensor.name == name:
        changes["residual"] = replace(residual, tensor=places[residual.tensor])
    return replace(layer, **changes) if changes else layer


def _same_place(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same elements of one memory."""
    sizes = ("name", "batch", "channels", "height", "width", "within")
    return all(getattr(one, size) == getattr(other, size) for size in sizes)


def _by_output(layers: Sequence[Layer]) -> dict[str, list[Layer]]:
    """The layers that write each memory."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        found.setdefault(layer.output.name, []).append(layer)
    return found
