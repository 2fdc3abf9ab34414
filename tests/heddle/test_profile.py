"""The profile of a run on the accelerator: layers on the timeline, the roofline, the page."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from typer.testing import CliRunner

from heddle.cli import app

MODEL = Path(__file__).parents[2] / "heddle" / "demo" / "mnist_int8.onnx"


def test_layers_are_on_the_timeline_and_under_the_roof(tmp_path: Path) -> None:
    trace, svg, html = tmp_path / "t.json", tmp_path / "r.svg", tmp_path / "r.html"
    done = CliRunner().invoke(
        app, ["profile", str(MODEL), "--trace", str(trace), "--roofline", str(svg), "--report", str(html)]
    )
    assert done.exit_code == 0, done.output
    events = json.loads(trace.read_text())["traceEvents"]
    layers = [event for event in events if event["ph"] == "X" and event["tid"] == 1000]
    steps = [event for event in events if event["ph"] == "X" and event["pid"] == layers[0]["pid"]]
    whole = [event for event in steps if event["tid"] != 1000]
    assert any("Convolution28" in event["args"]["nodes"] for event in layers)
    assert all(layer["ts"] >= whole[0]["ts"] for layer in layers)
    spent = sum(event["dur"] for event in layers)
    tracks = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name" and e["pid"] == 1}
    there, back = (
        [e for e in events if e["ph"] == "X" and e["pid"] == 1 and e["tid"] == tracks[f"copies {way} vta"]]
        for way in ("to", "from")
    )
    sizes = [[e["args"]["bytes"] for e in copies] for copies in (there, back)]
    assert all(each[::2] == each[1::2] for each in sizes), "to the device, then into its layout; and back"
    assert (sizes[0][0], sizes[1][-1]) == (28 * 28, 10)
    assert there[1]["ts"] + there[1]["dur"] <= back[0]["ts"]
    assert abs(spent - sum(event["dur"] for event in whole)) <= 0.01 * spent
    dots = [each for each in ElementTree.parse(svg).iter() if each.tag.endswith("circle")]
    assert len(dots) == sum(event["args"]["macs"] > 0 for event in layers)
    assert "Convolution28" in html.read_text()
    assert "<svg" in html.read_text()


def test_layers_are_counted_at_rtl(tmp_path: Path) -> None:
    spent = {}
    for option in ("--count", "--backends=vta,host"):
        trace = tmp_path / f"{option}.json"
        done = CliRunner().invoke(app, ["profile", str(MODEL), option, "--trace", str(trace)])
        assert done.exit_code == 0, done.output
        events = json.loads(trace.read_text())["traceEvents"]
        layers = [event["args"] for event in events if event["ph"] == "X" and event["tid"] == 1000]
        spent[option] = sum(layer["cycles"] for layer in layers), sum(layer["array"] for layer in layers)
    (counted, array), (predicted, same) = spent.values()
    assert array == same
    assert 0.9 * predicted < counted < 1.1 * predicted


def test_a_model_on_the_host_has_no_roofline(tmp_path: Path) -> None:
    arguments = ["profile", str(MODEL), "--backends", "host", "--report", str(tmp_path / "r.html")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "nothing of it runs on the accelerator" in str(done.exception)
