"""Explanations: every node has its place and its reasons, and what they say would help does help."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from heddle.core.frontend import import_model
from heddle.core.ir import Graph
from heddle.core.passes import optimize
from heddle.core.pattern import (
    Pattern,
    among,
    any_of,
    const,
    dim,
    each,
    equals,
    maybe_const,
    ops,
    optional,
    pattern,
)
from heddle.core.plugin import Backend, Figures, Link
from heddle.partition import Demands, Plan, explain, page, plan

Read = Callable[..., Graph]
Make = Callable[..., Backend]

MODELS = Path(__file__).parent.parent / "models"
FAST = Figures({"*": 1e12}, 1e11, launch=1e-6, memory="far", link=Link(1e-6, 1e10))
SLOW = Figures({"*": 1e9}, 1e10, launch=1e-6)


@pytest.fixture
def conv2d() -> Pattern:
    @pattern("conv2d", conditions=[dim("w", 1).multiple_of(4)])
    def conv2d(x):
        node = ops.Conv(x, const("w"), maybe_const("b"), group=1, dilations=each(equals(1)), strides=each(among(1, 2)))
        return optional(any_of("Relu"))(node)

    return conv2d


NET = """graph "net" (%x: float32[1,8,16,16]) -> (%y) {{
  const %u: float32[16,8,3,3]
  const %v: float32[16,16,3,3]
  %a: float32[1,16,14,14] = Conv(%x, %u) "first"
  %r: float32[1,16,14,14] = Relu(%a) "second"
  %s: float32[1,16,14,14] = Softmax(%r) "third"
  %y: float32[1,16,{n},{n}] = Conv(%s, %v) {{dilations=[{d},{d}]}} "fourth"
}}"""


def test_an_explanation_reads_like_this(read_graph: Read, backend: Make, conv2d: Pattern) -> None:
    backends = [backend("acc", conv2d, figures=FAST), backend("host", figures=SLOW, takes_all=True)]
    made = plan(read_graph(NET.format(d=2, n=10)), backends)
    assert (
        str(explain(made, backends))
        == """\
plan by order: 2 regions; 2 nodes on acc, 2 nodes on host; predicted 511 us
  acc.0: %x -> %r: Conv, Relu; 5.65 us
  host.1: %r -> %y: Softmax, Conv; 506 us
work: 47% on acc, 53% on host
%a Conv "first": acc.0 by acc.conv2d, 371 ns, 47.1% of the work
    host could take it in 453 us
%r Relu "second": acc.0 by acc.conv2d, 206 ns, 0.3% of the work
    host could take it in 4.14 us
%s Softmax "third": host.1, 43.9 us, 4.6% of the work
    acc refused %s (Softmax "third"): no pattern of it has Softmax; it has Conv, Relu
%y Conv "fourth": host.1, 461 us, 48.0% of the work
    acc.conv2d refused %y (Conv "fourth"): dilations=[2,2], takes 1 in each place \
(to mend it: change dilations from [2,2] to [1,1])
what would help most:
  acc claiming Conv would move 47% to 95% of the work, predicted -89% (511 us to 55.9 us)
  acc.conv2d without its limit on dilations would move 47% to 95% of the work, predicted -89% (511 us to 55.9 us)
  acc claiming Softmax would move 47% to 52% of the work, predicted -9% (511 us to 467 us)"""
    )


def test_what_a_counterfactual_promises_comes_true(read_graph: Read, backend: Make, conv2d: Pattern) -> None:
    @pattern("conv2d")
    def any_conv(x):
        return optional(any_of("Relu"))(ops.Conv(x, const("w"), maybe_const("b")))

    host = backend("host", figures=SLOW, takes_all=True)
    before = [backend("acc", conv2d, figures=FAST), host]
    after = [backend("acc", any_conv, figures=FAST), host]
    graph = read_graph(NET.format(d=2, n=10))
    promised = explain(plan(graph, before), before).counterfactuals[0]
    kept = explain(plan(graph, after), after)
    assert kept.plan.cost.seconds == pytest.approx(promised.seconds_after)
    assert kept.shares["acc"] == pytest.approx(promised.share_after)


def test_changing_exactly_what_the_reason_names_is_enough(read_graph: Read, backend: Make, conv2d: Pattern) -> None:
    backends = [backend("acc", conv2d), backend("host", takes_all=True)]
    made = plan(read_graph(NET.format(d=2, n=10)), backends)
    (refusal,) = [r for r in made.refusals if r.node.name == "fourth"]
    assert refusal.fix == "change dilations from [2,2] to [1,1]"
    mended = plan(read_graph(NET.format(d=1, n=12)), backends)
    assert [node.name for region in mended.regions if region.backend == "acc" for node in region.body.nodes] == [
        "first",
        "second",
        "fourth",
    ]


def test_why_a_node_that_could_go_elsewhere_does_not(read_graph: Read, backend: Make, conv2d: Pattern) -> None:
    host = backend("host", figures=SLOW, takes_all=True)
    slow = backend("acc", conv2d, figures=Figures({"*": 1e6}))
    other = backend("other", conv2d, figures=FAST)
    graph = read_graph(NET.format(d=1, n=12))
    by_order = explain(plan(graph, [slow, other, host]), [slow, other, host]).accounts[0]
    assert [alternative.reason for alternative in by_order.alternatives] == [
        "other.conv2d could take it in 1.58 us; an earlier backend has it",
        "host could take it in 453 us",
    ]
    listed = [slow, host]
    by_cost = explain(plan(graph, listed, "cost"), listed).accounts[0]
    assert by_cost.alternatives[0].reason.endswith("; another placement is cheaper")
    demands = Demands(exclude=(("Conv", "acc"),))
    barred = explain(plan(graph, listed, demands=demands), listed, demands).accounts[0]
    assert barred.alternatives[0].reason == "acc refused %a (Conv \"first\"): kept from acc by 'Conv'"


@pytest.mark.parametrize("model", ["mnist.onnx", "rfb320.onnx"])
@pytest.mark.parametrize("place", ["order", "cost"])
def test_every_node_that_stays_on_the_host_has_a_reason(backend: Make, conv2d: Pattern, model: str, place: str) -> None:
    backends = [backend("acc", conv2d, figures=FAST), backend("host", figures=SLOW, takes_all=True)]
    made = plan(optimize(import_model(str(MODELS / model), None)), backends, place)
    explained = explain(made, backends)
    assert {account.backend for account in explained.accounts} == {"acc", "host"}
    for account in explained.accounts:
        if account.backend == "host":
            (alternative,) = account.alternatives
            assert alternative.seconds is not None or alternative.obstacles
            assert alternative.reason
    assert sum(explained.shares.values()) == pytest.approx(1.0)


@pytest.fixture
def explained(read_graph: Read, backend: Make, conv2d: Pattern) -> tuple[Plan, str]:
    backends = [backend("acc", conv2d, figures=FAST), backend("host", figures=SLOW, takes_all=True)]
    text = NET.format(d=2, n=10).replace('"third"', '"</script><b>third"')
    made = plan(read_graph(text), backends)
    return made, page(explain(made, backends))


def test_the_page_is_whole_and_asks_for_nothing(explained: tuple[Plan, str]) -> None:
    made, text = explained
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert text.count("</script>") == 2
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert [node["name"] for node in data["nodes"]] == ["first", "second", "</script><b>third", "fourth"]
    assert data["edges"] == [["a", "r"], ["r", "s"], ["s", "y"]]
    assert data["plan"] == json.loads(json.dumps(made.to_json()))


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def in_browser(text: str, script: str, folder: Path) -> str:
    """The body of a page in Chromium after a script has acted on it."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    path = folder / "page.html"
    path.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    command = [
        CHROMIUM, f"--user-data-dir={folder / 'profile'}", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
        path.as_uri(),
    ]  # fmt: skip
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return drawn.split("<body>")[1]


def test_a_browser_draws_every_node_and_reacts(explained: tuple[Plan, str], tmp_path: Path) -> None:
    """Nodes have the colour of their backend in the key; a search dims the others; a click tells; the wheel zooms."""
    made, text = explained
    body = in_browser(
        text,
        """
        const rest = stage.getAttribute("transform"), seen = { scales: [] };
        const scale = () => Number(stage.getAttribute("transform").match(/scale\\(([^)]+)\\)/)[1]);
        for (const turn of [0, -120, -120, 120, 120]) {
          if (turn) svg.dispatchEvent(new WheelEvent("wheel", { deltaY: turn, clientX: 50, clientY: 60 }));
          seen.scales.push(scale());
        }
        document.getElementById("fit").click();
        seen.fits = stage.getAttribute("transform") === rest;
        const box = document.getElementById("search");
        box.value = "softmax";
        box.dispatchEvent(new Event("input"));
        boxes.get("s").dispatchEvent(new Event("click"));
        const fill = node => boxes.get(node.result).querySelector("rect").getAttribute("fill");
        seen.fills = data.nodes.map(node => [node.backend, fill(node)]);
        const said = document.createElement("output");
        said.textContent = JSON.stringify(seen);
        document.body.append(said);
        """,
        tmp_path,
    )
    assert body.count('class="node') == 4
    assert body.count('class="node faint"') == 3
    assert "1 of 4 nodes" in body
    assert "no pattern of it has Softmax" in body.split("<aside")[1].split("</aside>")[0]
    said = json.loads(body.split("<output>")[1].split("</output>")[0])
    still, near, nearer, back, again = said["scales"]
    assert nearer > near > still
    assert (back, again) == (pytest.approx(near), pytest.approx(still))
    assert said["fits"] is True
    fills = said["fills"]
    assert [name for name, _ in fills] == [region.backend for region in made.regions for _ in region.body.nodes]
    assert len({colour for _, colour in fills}) == len({name for name, _ in fills}) == 2
    for name, colour in dict(fills).items():
        assert body.count(f'fill="{colour}"') == sum(owner == name for owner, _ in fills)
