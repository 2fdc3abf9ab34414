"""Whatever a backend does wrong becomes an error that names it, or the fallback's artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from heddle.core.errors import BackendError
from heddle.core.ir import Graph, Phase
from heddle.core.pattern import ops, pattern
from heddle.core.plugin import (
    Backend,
    Cost,
    Figures,
    Region,
    compile_region,
    estimate,
    patterns_of,
    refusal_of,
    run_passes,
)
from heddle.core.plugin.figures import work_of
from heddle.core.runtime.artifact import Artifact, Port, Signature

Read = Callable[..., Graph]

RIGHT = Artifact(
    backend="b",
    device="d",
    signature=Signature((Port("x", "float32", (2, 3)),), (Port("r", "float32", (2, 3)),)),
    code=b"",
)


@pytest.fixture
def region(read_graph: Read) -> Region:
    body = read_graph("graph (%x: float32[2,3]) -> (%r) { %r: float32[2,3] = Relu(%x) }")
    return Region("b.0", "b", body)


class Made(Backend):
    name = "b"

    def __init__(self, artifact: Any) -> None:
        super().__init__()
        self.artifact = artifact

    def compile(self, region: Region) -> Artifact:
        if isinstance(self.artifact, Exception):
            raise self.artifact
        return self.artifact


def port(**changes: Any) -> Artifact:
    return replace(
        RIGHT, signature=Signature(RIGHT.signature.inputs, (replace(RIGHT.signature.outputs[0], **changes),))
    )


def test_a_right_artifact_passes(region: Region) -> None:
    assert compile_region(Made(RIGHT), region).artifact is RIGHT


@pytest.mark.parametrize(
    ("artifact", "message"),
    [
        (ValueError("no"), "backend 'b': compiling region b.0 failed with ValueError: no"),
        (
            None,
            "backend 'b': the artifact of region b.0 is NoneType, an Artifact is expected; `compile` returns "
            "Artifact(self.name, device, region.signature, code)",
        ),
        (
            replace(RIGHT, device=RIGHT.signature),
            "backend 'b': the artifact of region b.0: its device is Signature, str is expected; `compile` returns "
            "Artifact(self.name, device, region.signature, code)",
        ),
        (
            replace(RIGHT, signature=b"code"),
            "backend 'b': the artifact of region b.0: its signature is bytes, Signature is expected; `compile` returns "
            "Artifact(self.name, device, region.signature, code)",
        ),
        (
            replace(RIGHT, constants={"w": [1.0]}),
            "backend 'b': the artifact of region b.0: its constant 'w' is list, an array of numpy is expected; "
            "all else belongs into its code",
        ),
        (replace(RIGHT, backend="c"), "backend 'b': the artifact of region b.0 says that it is of backend 'c'"),
        (
            replace(RIGHT, signature=Signature((), RIGHT.signature.outputs)),
            "backend 'b': the artifact of region b.0: inputs: 1 are expected, it has 0; give it region.signature",
        ),
        (
            port(name="y"),
            "backend 'b': the artifact of region b.0: outputs: %r is expected, found %y; give it region.signature",
        ),
        (
            port(dtype="int8"),
            "backend 'b': the artifact of region b.0: outputs: %r is float32, the artifact has int8; "
            "give it region.signature",
        ),
        (
            port(shape=(3, 2)),
            "backend 'b': the artifact of region b.0: outputs: %r is float32[2,3], the artifact has shape [3, 2]; "
            "give it region.signature",
        ),
        (
            replace(RIGHT, signature=replace(RIGHT.signature, aliases=((0, 1),))),
            "backend 'b': the artifact of region b.0: alias (0, 1) names an output or input that is not there",
        ),
        (
            replace(RIGHT, code="text"),
            "backend 'b': the artifact of region b.0: its code must be bytes and its workspace 0 or more; "
            "write what the device needs as bytes, for instance by json.dumps(...).encode()",
        ),
        (
            replace(RIGHT, meta={"x": object()}),
            "backend 'b': the artifact of region b.0: its meta cannot be written as JSON: "
            "Object of type object is not JSON serializable; arrays belong into its constants, all else into its code",
        ),
    ],
)
def test_a_wrong_artifact_is_an_error_that_names_the_backend(region: Region, artifact: Any, message: str) -> None:
    with pytest.raises(BackendError) as error:
        compile_region(Made(artifact), region)
    assert str(error.value) == message


def test_the_fallback_takes_over_and_the_failure_is_kept(region: Region) -> None:
    class Host(Made):
        name = "host"

    compiled = compile_region(Made(ValueError("no")), region, Host(replace(RIGHT, backend="host")))
    assert compiled.artifact.backend == "host"
    assert str(compiled.failure) == "backend 'b': compiling region b.0 failed with ValueError: no"


def test_patterns_are_checked() -> None:
    @pattern("relu")
    def relu(x):
        return ops.Relu(x)

    class Wrong(Backend):
        name = "b"
        patterns: Any = ("relu",)

    class Twice(Backend):
        name = "b"
        patterns: Any = (relu, relu)

    class Raises(Backend):
        name = "b"

        @property
        def patterns(self) -> Any:
            raise OSError("no licence")

    for backend, message in {
        Wrong: "backend 'b': 'relu' is among its patterns, a Pattern is expected",
        Twice: "backend 'b': two of its patterns are named 'relu'; rename one of them",
        Raises: "backend 'b': its patterns cannot be had with OSError: no licence",
    }.items():
        with pytest.raises(BackendError) as error:
            patterns_of(backend())
        assert str(error.value) == message


@pytest.mark.parametrize("cost", [Cost(-1.0), Cost(float("nan")), Cost(float("inf")), 3, None])
def test_estimates_must_be_seconds(region: Region, cost: Any) -> None:
    class Odd(Backend):
        name = "b"

        def estimate(self, region: Region) -> Any:
            return cost

    with pytest.raises(BackendError, match=r"^backend 'b': its estimate of region b\.0 "):
        estimate(Odd(), region)


def test_refusals_must_be_texts(region: Region) -> None:
    class Odd(Backend):
        name = "b"

        def refuses(self, node: Any) -> Any:
            return False

    with pytest.raises(BackendError) as error:
        refusal_of(Odd(), region.body.nodes[0])
    assert str(error.value) == "backend 'b': it refuses Relu with False; a text or None is expected"


def test_a_pass_may_not_change_what_goes_in_and_out(region: Region) -> None:
    def forget(graph: Graph) -> Graph:
        return graph.replace(outputs=(), nodes=())

    def stumble(graph: Graph) -> Graph:
        raise KeyError("x")

    for rewriting, message in {
        forget: "backend 'b': its pass forget changed the inputs or outputs of the graph, which must stay",
        stumble: "backend 'b': its pass stumble failed with KeyError: 'x'",
    }.items():

        class Passing(Backend):
            name = "b"
            passes: ClassVar[Any] = {Phase.REGION: [rewriting]}

        with pytest.raises(BackendError) as error:
            run_passes(Passing(), Phase.REGION, region.body)
        assert str(error.value) == message
        assert run_passes(Passing(), Phase.BEFORE_PARTITION, region.body) is region.body


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        ("(%x: float32[2,3], %w: float32[3,5]) -> (%y) { %y: float32[2,5] = MatMul(%x, %w) }", 2 * 2 * 3 * 5),
        ("(%x: float32[2,3], %w: float32[5,3]) -> (%y) { %y: float32[2,5] = Gemm(%x, %w) {transB=1} }", 60),
        (
            "(%x: float32[1,4,8,8], %w: float32[6,4,3,3]) -> (%y) { %y: float32[1,6,6,6] = Conv(%x, %w) }",
            2 * 6 * 36 * 4 * 9,
        ),
        (
            "(%x: float32[1,4,8,8], %w: float32[4,1,3,3]) -> (%y) { %y: float32[1,4,6,6] = Conv(%x, %w) {group=4} }",
            2 * 4 * 36 * 9,
        ),
        (
            "(%x: float32[1,4,4,4], %w: float32[4,6,2,2]) -> (%y) "
            "{ %y: float32[1,6,8,8] = ConvTranspose(%x, %w) {strides=[2,2]} }",
            2 * 4 * 16 * 6 * 4,
        ),
        (
            "(%x: float32[1,4,8,8]) -> (%y) { %y: float32[1,4,4,4] = MaxPool(%x) {kernel_shape=[2,2], strides=[2,2]} }",
            256,
        ),
        ("(%x: float32[4,6]) -> (%y) { %y: float32[6,4] = Transpose(%x) {perm=[1,0]} }", 0),
        ("(%x: float32[4,6]) -> (%y) { %y: float32[4,6] = Relu(%x) }", 24),
    ],
)
def test_operations_are_counted_as_by_hand(read_graph: Read, text: str, operations: int) -> None:
    (node,) = read_graph(f"graph {text}").nodes
    assert work_of(node).operations == operations


def test_a_roofline_takes_the_slower_of_arithmetic_and_memory(region: Region) -> None:
    class Declared(Backend):
        name = "b"
        figures: Any = Figures({"float32": 6.0, "*": 1e9}, bandwidth=96.0, launch=0.25)

    assert estimate(Declared(), region) == Cost(1.0, 0.25)
