"""Damaged and hostile files: always a ModelError that says what is wrong, never a crash, a hang or a flood."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from heddle.core.errors import ModelError
from heddle.core.frontend import import_model
from heddle.core.ops import OPERATORS
from onnx import TensorProto, helper, numpy_helper

MODELS = Path(__file__).parents[2] / "models"


def info(name: str, *dims: int, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def model(nodes: list[onnx.NodeProto], *initializers: TensorProto, opset: int = 17) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "net", [info("x", 2)], [info("y", 2)], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def refusal(source: object) -> str:
    with pytest.raises(ModelError) as caught:
        import_model(source)  # type: ignore[arg-type]
    return str(caught.value)


NEG = helper.make_node("Neg", ["x"], ["y"])

UNSOUND = {
    "missing operand": (
        model([helper.make_node("Add", ["x", "ghost"], ["y"], "sum")]),
        "net: node sum (Add): %ghost is read, but no input, initializer or node before binds it",
    ),
    "missing output": (model([]), "net: %y is read, but no input, initializer or node before binds it"),
    "too few operands": (
        model([helper.make_node("Add", ["x"], ["y"])]),
        "net: node (Add): Add: 1 operands are given, 2 are expected",
    ),
    "bound twice": (model([NEG, NEG]), "net: node (Neg): %y is bound twice"),
    "attribute of another kind": (
        model([helper.make_node("Softmax", ["x"], ["y"], axis="last")]),
        "net: node (Softmax): Softmax: attribute 'axis' is STRING, INT is expected",
    ),
    "unknown attribute": (
        model([helper.make_node("Neg", ["x"], ["y"], zeal=1)]),
        "net: node (Neg): Neg: opset 17 has no attribute 'zeal' of it",
    ),
    "required attribute": (
        model([helper.make_node("Cast", ["x"], ["y"])]),
        "net: node (Cast): Cast: attribute 'to' is missing",
    ),
    "opset too old": (
        model([NEG], opset=6),
        f"net: it is written for opset 6, opsets 7 to {onnx.defs.onnx_opset_version()} are read;"
        " onnx.version_converter may convert it",
    ),
    "too little data": (
        model(
            [helper.make_node("Add", ["x", "w"], ["y"])], TensorProto(name="w", data_type=1, dims=[2], raw_data=b"a")
        ),
        "net: node (Add): tensor 'w': 1 bytes of data, float32[2] takes 8",
    ),
    "more dimensions than memory": (
        model(
            [helper.make_node("Add", ["x", "w"], ["y"])], TensorProto(name="w", data_type=1, dims=[1 << 40, 1 << 40])
        ),
        f"net: node (Add): tensor 'w': 0 numbers of data, float32[1099511627776, 1099511627776] takes {1 << 80}",
    ),
    "no such element type": (
        model([helper.make_node("Add", ["x", "w"], ["y"])], TensorProto(name="w", data_type=99, dims=[])),
        "net: node (Add): element type 99: ONNX has no such type, or Heddle does not know it",
    ),
}


@pytest.mark.parametrize(("proto", "message"), UNSOUND.values(), ids=UNSOUND)
def test_an_unsound_model_is_refused(proto: onnx.ModelProto, message: str) -> None:
    assert refusal(proto) == message
    assert refusal(proto.SerializeToString()) == message.replace("net:", "model:", 1)


def test_what_is_no_model(tmp_path: Path) -> None:
    assert refusal(b"") == "model: it holds no graph; an ONNX model is expected"
    assert refusal(b"\xff\xff\xff not a model").startswith("model: it is not an ONNX model, or it is damaged:")
    assert refusal(tmp_path / "none.onnx") == f"{tmp_path / 'none.onnx'}: there is no such file"
    assert refusal(tmp_path) == f"{tmp_path}: there is no such file"


def test_functions_nested_without_end_are_refused() -> None:
    proto = model([helper.make_node("f0", ["x"], ["y"], domain="local")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    proto.opset_import.append(imports[1])
    for level in range(10_000):
        call = helper.make_node(f"f{level + 1}", ["a"], ["b"], domain="local")
        proto.functions.append(helper.make_function("local", f"f{level}", ["a"], ["b"], [call], imports))
    assert refusal(proto) == "net: graphs and functions are nested more than 48 levels deep"


def test_bodies_are_nested_as_deep_as_protobuf_allows() -> None:
    body = helper.make_graph([helper.make_node("Neg", ["x"], ["t"])], "g", [], [info("t", 2)])
    for _ in range(25):
        node = helper.make_node("If", ["c"], ["t"], then_branch=body)
        node.attribute.append(helper.make_attribute("else_branch", body))
        node.attribute[1].g.node[0].CopyFrom(helper.make_node("Abs", ["x"], ["t"]))
        body = helper.make_graph([node], "g", [], [info("t", 2)])
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    del node.attribute[1].g.node[0].attribute[:]
    node.attribute[1].g.node[0].CopyFrom(helper.make_node("Abs", ["x"], ["t"]))
    graph = import_model(model([node], numpy_helper.from_array(np.array(True), "c")))
    assert len(list(graph.walk())) == 1 + 2 * 26


# -- external data -------------------------------------------------------------------------------------------------


def external(folder: Path, location: str, **entries: object) -> Path:
    weight = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    path = folder / "net.onnx"
    onnx.save(model([helper.make_node("Add", ["x", "w"], ["y"])], weight), path)
    return path


def test_external_data_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"....." + np.array([3, 4], "<f4").tobytes())
    graph = import_model(external(tmp_path, "w.bin", offset=5, length=8))
    (array,) = graph.constants.values()
    assert array.tolist() == [3, 4]
    assert not array.flags.writeable


OUTSIDE = ("../secret.bin", "/etc/passwd", "link.bin", "a/../../secret.bin")


@pytest.mark.parametrize("location", OUTSIDE)
def test_external_data_outside_of_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    message = refusal(external(folder, location))
    assert message == (
        f"net.onnx: node (Add): tensor 'w': external data {location!r} lies outside of the model's folder"
    )


def test_external_data_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(8))
    os.mkfifo(tmp_path / "pipe")
    name = "net.onnx: node (Add): tensor 'w':"
    assert refusal(external(tmp_path, "w.bin", offset=4, length=8)) == (
        f"{name} external data 'w.bin' has 8 bytes, 8 from 4 on are wanted"
    )
    assert refusal(external(tmp_path, "w.bin", length=4)) == f"{name} 4 bytes of data, float32[2] takes 8"
    assert refusal(external(tmp_path, "w.bin", offset=-4)) == (
        f"{name} the offset of its external data is '-4', a count of bytes is expected"
    )
    assert refusal(external(tmp_path, "gone.bin")) == (
        f"{name} external data 'gone.bin' cannot be read: No such file or directory"
    )
    assert refusal(external(tmp_path, "pipe")) == f"{name} external data 'pipe' is not a plain file"
    assert refusal(external(tmp_path, "")) == f"{name} '' is not the name of a file"


def test_external_data_needs_a_path(tmp_path: Path) -> None:
    data = external(tmp_path, "w.bin").read_bytes()
    assert refusal(data) == (
        "model: node (Add): tensor 'w': its data is in the file 'w.bin' beside the model; import the model by its path"
    )


# -- mutation ------------------------------------------------------------------------------------------------------


def seeds() -> list[bytes]:
    body = helper.make_graph([helper.make_node("Add", ["x", "w"], ["t"])], "g", [], [info("t", 2)])
    condition = numpy_helper.from_array(np.array(True), "c")
    weight = numpy_helper.from_array(np.array([1, 2], np.float32), "w")
    branch = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    shape = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["y"])]
    mnist = (MODELS / "mnist.onnx").read_bytes()
    return [
        model([branch], condition, weight).SerializeToString(),
        model(shape).SerializeToString(),
        mnist[:2500] + mnist[-2500:],
        mnist,
    ]


def mutated(data: bytes, rng: random.Random) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return data[: rng.randrange(len(data))]
    copy = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20)) if copy else 0):
        at = rng.randrange(min(len(copy), 600)) if rng.random() < 0.7 else rng.randrange(len(copy))
        if kind == 1:
            copy[at] = rng.randrange(256)
        elif kind == 2:
            copy[at] ^= 1 << rng.randrange(8)
        else:
            copy[at : at + rng.randrange(1, 8)] = b"\0"
    return bytes(copy)


def twisted(data: bytes, rng: random.Random) -> bytes:
    """A model whose fields are exchanged for others that protobuf still accepts."""
    proto = onnx.ModelProto.FromString(data)
    numbers = (0, 1, -1, 3, 2**31, -(2**63), 2**63 - 1)
    for _ in range(rng.choice((1, 2, 5))):
        node = rng.choice(proto.graph.node)
        names = [name for other in proto.graph.node for name in (*other.input, *other.output)]
        kind = rng.randrange(7)
        if kind == 0 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice([*names, ""])
        elif kind == 1:
            node.output[0] = rng.choice([*names, ""])
        elif kind == 2:
            node.op_type = rng.choice(sorted(OPERATORS))
        elif kind == 3 and node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.i, attribute.type = rng.choice(numbers), rng.randrange(15)
            attribute.ints.extend(rng.choices(numbers, k=rng.randrange(4)))
        elif kind == 4 and proto.graph.initializer:
            tensor = rng.choice(proto.graph.initializer)
            tensor.dims[:] = rng.choices(numbers, k=rng.randrange(4))
            tensor.data_type = rng.choice((tensor.data_type, rng.randrange(40)))
        elif kind == 5:
            del node.input[rng.randrange(len(node.input) + 1) :]
        else:
            dims = proto.graph.input[0].type.tensor_type.shape.dim
            (rng.choice(dims) if dims else dims.add()).dim_value = rng.choice(numbers)
    return proto.SerializeToString()


def survives(seed: int, count: int) -> None:
    rng = random.Random(seed)
    originals = seeds()
    imported = 0
    for _ in range(count):
        change = rng.choice((mutated, twisted))
        data = change(rng.choice(originals[:2] + originals[3:]) if change is twisted else rng.choice(originals), rng)
        with contextlib.suppress(ModelError):
            import_model(data)
            imported += 1
    assert imported > count // 20, "too few mutants are sound enough to be worth trying"


def test_mutated_models_are_imported_or_refused() -> None:
    survives(0, 600)


@pytest.mark.long
def test_many_mutated_models_are_imported_or_refused() -> None:
    survives(1, 50_000)
