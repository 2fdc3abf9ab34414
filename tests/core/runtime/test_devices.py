"""Several devices: who waits for whom, what is copied, what overlaps, what happens when one fails or hangs."""

from __future__ import annotations

import json
import logging
import time
from itertools import pairwise

import numpy as np
import pytest
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime.devices import open_device

X = np.arange(4, dtype=np.float32)
NEGATE = "float *a = in[0], *b = out[0]; for (int i = 0; i < 4; i++) b[i] = -a[i];"


def test_values_pass_between_host_and_device(make, device):
    steps = [make.c("a", "b", NEGATE), make.toy("b@dram", "c@dram", "i[0] * 3"), make.c("c", "d", NEGATE)]
    exe = make.executable(make.schedule("a", "d", steps), devices={"toy": device})
    assert np.array_equal(exe(X)["d"], 3 * X)
    assert device.log == ["host->dram", "dram->host"]


def test_neighbours_on_one_device_copy_nothing_between_them(make, device):
    steps = [
        make.toy("a@dram", "b@dram/blocked", "i[0] + 1"),
        make.toy("b@dram/blocked", "c@dram/blocked", "i[0] * 2"),
        make.toy("c@dram/blocked a@dram", "d@dram", "i[0] - i[1]"),
    ]
    exe = make.executable(make.schedule("a", "d", steps), devices={"toy": device})
    assert np.array_equal(exe(X)["d"], X + 2)
    assert device.log == ["host->dram", "dram->host"]


def test_a_layout_needs_both_sides(make, device):
    steps = [make.toy("a@dram", "b@dram/blocked", "i[0]"), make.c("b", "c", NEGATE)]
    with pytest.raises(ArtifactError) as caught:
        make.executable(make.schedule("a", "c", steps), devices={"toy": device})(X)
    assert str(caught.value) == (
        "region 'r0' of backend 'toy backend': port 'b' has the layout 'blocked' where the other side of the edge is"
        " dense; both sides must declare the same layout and memory"
    )


def test_a_memory_that_is_not_there(make, device):
    with pytest.raises(ArtifactError) as caught:
        make.executable(make.schedule("a", "b", [make.toy("a@sram", "b", "i[0]")]), devices={"toy": device})(X)
    assert str(caught.value) == (
        "region 'r0' of backend 'toy backend': port 'a' lies in 'sram', device 'toy' has dram, host"
    )


def test_device_memory_is_shared_by_lives_and_reused_by_calls(make, device):
    names = "abcdefgh"
    steps = [make.toy(f"{a}@dram", f"{b}@dram", "i[0] + 1") for a, b in pairwise(names)]
    exe = make.executable(make.schedule("a", "h", steps), devices={"toy": device})
    for _ in range(3):
        assert np.array_equal(exe(X)["h"], X + 7)
    assert device.peak == 2 * 16
    exe.close()
    assert device.used == 0
    assert not device.closed  # it is the caller's


def test_independent_branches_overlap(make):
    left, right = make.Toy("left"), make.Toy("right")
    steps = [
        make.toy("a", "b", "i[0] + 1", 0.15, "left"),
        make.toy("a", "c", "i[0] * 2", 0.15, "right"),
        make.toy("b c", "d", "i[0] + i[1]", 0.0, "left"),
    ]
    exe = make.executable(make.schedule("a", "d", steps), devices={"left": left, "right": right})
    assert np.array_equal(exe(X)["d"], 3 * X + 1)
    (start, _), (_, end) = right.spans[0], left.spans[0]
    assert start < end


def test_a_stream_fills_both_devices_and_keeps_order(make):
    left, right = make.Toy("left"), make.Toy("right")
    steps = [make.toy("a", "b", "i[0] + 1", 0.05, "left"), make.toy("b", "c", "i[0] * 2", 0.05, "right")]
    exe = make.executable(make.schedule("a", "c", steps), devices={"left": left, "right": right})
    exe.prepare()
    start = time.monotonic()
    outputs = list(exe.stream(X + k for k in range(8)))
    took = time.monotonic() - start
    assert [y["c"].tolist() for y in outputs] == [((X + k + 1) * 2).tolist() for k in range(8)]
    assert took < 8 * 0.1 * 0.85
    overlaps = sum(a < d and c < b for (a, b), (c, d) in zip(left.spans[1:], right.spans, strict=False))
    assert overlaps >= 5


def test_a_stream_takes_arrays_tuples_and_names_and_may_be_left(make, device):
    exe = make.executable(make.schedule("a", "b", [make.toy("a", "b", "i[0] + 1")]), devices={"toy": device})
    items = [X, (X,), [X], {"a": X}]
    assert all(np.array_equal(y["b"], X + 1) for y in exe.stream(items))
    for y in exe.stream(X + k for k in range(100)):
        assert np.array_equal(y["b"], X + 1)
        break
    assert np.array_equal(exe(X)["b"], X + 1)


def test_a_fault_names_region_backend_device_and_nodes(make, device):
    steps = [make.toy("a", "b", "fail", nodes=("conv1", "relu1")), make.toy("b", "c", "i[0]")]
    exe = make.executable(make.schedule("a", "c", steps), devices={"toy": device})
    for _ in range(2):
        with pytest.raises(DeviceError) as caught:
            exe(X)
        assert str(caught.value) == "region 'r0' of backend 'toy backend' on device 'toy': parity error in bank 3"
        assert caught.value.__notes__ == ["the region computes the ONNX nodes conv1, relu1"]


def test_a_fault_in_a_stream_comes_at_its_turn(make, device):
    exe = make.executable(make.schedule("a", "b", [make.toy("a", "b", "i[0] + 1")]), devices={"toy": device})
    seen = []

    def inputs():
        for k in range(6):
            device.faulty = k == 3
            yield X + k
            time.sleep(0.03)

    with pytest.raises(DeviceError, match="parity error"):
        seen.extend(exe.stream(inputs(), depth=1))
    assert len(seen) == 3


def test_a_fault_is_survived_on_the_host(make, device, caplog):
    fallback = make.c("b", "c", "float *a = in[0], *b = out[0]; for (int i = 0; i < 4; i++) b[i] = 3 * a[i];")
    steps = [
        make.toy("a@dram", "b@dram", "i[0] + 1"),
        make.step(make.toy("b@dram", "c@dram", "fail", nodes=("conv1",)), "bad", fallback),
        make.toy("c@dram", "d@dram", "i[0] - 1"),
    ]
    exe = make.executable(make.schedule("a", "d", steps), devices={"toy": device})
    with caplog.at_level(logging.WARNING, "heddle"):
        assert np.array_equal(exe(X)["d"], 3 * (X + 1) - 1)
    assert [(fault.name, fault.fault) for fault in exe.faults] == [("bad", "parity error in bank 3")]
    assert caplog.messages == [
        "region 'bad' of backend 'toy backend' on device 'toy': parity error in bank 3;"
        " the region runs again on the host"
    ]


def test_a_hanging_device_is_given_up_and_may_come_back(make, device):
    plan = make.schedule("a", "b", [make.toy("a", "b", "i[0] + 1")])
    exe = make.executable(plan, devices={"toy": device}, timeout=0.2)
    assert np.array_equal(exe(X)["b"], X + 1)
    device.hang.set()
    with pytest.raises(DeviceError) as caught:
        exe(X)
    where = "region 'r0' of backend 'toy backend' on device 'toy'"
    assert str(caught.value) == f"{where}: no answer after 0.2 s; a longer timeout may be set"
    with pytest.raises(DeviceError) as caught:
        exe(X)
    assert str(caught.value) == f"{where}: the device is stuck: no answer after 0.2 s"
    device.hang.clear()
    device.release.set()
    deadline = time.monotonic() + 5
    while exe._engine.queues["toy"].stuck and time.monotonic() < deadline:
        time.sleep(0.01)
    assert np.array_equal(exe(X)["b"], X + 1)


def test_a_hang_is_survived_on_the_host(make, device):
    plan = make.schedule("a", "b", [make.step(make.toy("a", "b", "-i[0]"), "slow", make.c("a", "b", NEGATE))])
    exe = make.executable(plan, devices={"toy": device}, timeout=0.2)
    device.hang.set()
    try:
        assert np.array_equal(exe(X)["b"], -X)
        assert np.array_equal(exe(X)["b"], -X)
    finally:
        device.release.set()
    assert {fault.fault for fault in exe.faults} == {"no answer after 0.2 s"}


def test_a_full_device_says_so(make):
    device = make.Toy(capacity=8)
    exe = make.executable(make.schedule("a", "b", [make.toy("a@dram", "b@dram", "i[0]")]), devices={"toy": device})
    with pytest.raises(DeviceError, match="toy: 16 bytes do not fit the 8 that are free"):
        exe(X)


def test_intermediates(make, device):
    more = [make.toy("b@dram", "c@dram", "i[0] * 3"), make.toy("c@dram", "d@dram", "i[0] + 1")]
    exe = make.executable(make.schedule("a", "d", [make.c("a", "b", NEGATE), *more]), devices={"toy": device})
    seen = exe.intermediates(X)
    assert {name: array.tolist() for name, array in seen.items()} == {
        "b": (-X).tolist(),
        "c": (-3 * X).tolist(),
        "d": (1 - 3 * X).tolist(),
    }


def test_profile_keeps_wall_and_modelled_time_apart(make, device, tmp_path):
    steps = [make.c("a", "b", NEGATE, nodes=("neg",)), make.toy("b@dram", "c@dram", "i[0] * 3", 0.01, nodes=("mul",))]
    exe = make.executable(make.schedule("a", "c", steps), devices={"toy": device})
    profile = exe.profile(X, repeat=2)
    assert [(s.name, s.device, s.modelled, dict(s.counters), s.nodes) for s in profile.steps] == [
        ("r0", "host", None, {}, ("neg",)),
        ("r1", "toy", 1e-3, {"cycles": 1000}, ("mul",)),
    ] * 2
    assert all(s.wall >= 0.01 for s in profile.steps if s.device == "toy")
    assert len(profile.calls) == 2
    profile.to_perfetto(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert sorted(processes.values()) == ["modelled time of toy", "wall time"]
    slices = [(processes[e["pid"]], e["name"], e["dur"]) for e in events if e["ph"] == "X"]
    assert [s[1] for s in slices if s[0] == "wall time"] == ["r0", "r1", "b", "c"] * 2
    assert [s for s in slices if s[0] != "wall time"] == [("modelled time of toy", "r1", 1000.0)] * 2


def test_profile_has_copies_on_tracks_of_their_own(make, device, tmp_path):
    steps = [make.c("a", "b", NEGATE), make.toy("b@dram", "c@dram", "i[0] * 3", 0.01)]
    profile = make.executable(make.schedule("a", "c", steps), devices={"toy": device}).profile(X)
    assert [[(step.values[t.port], step.direction(t), t.nbytes) for t in step.transfers] for step in profile.steps] == [
        [],
        [("b", "to toy", X.nbytes), ("c", "from toy", X.nbytes)],
    ]
    assert [each["value"] for step in profile.json()["steps"] for each in step["transfers"]] == ["b", "c"]
    profile.to_perfetto(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    tracks = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name" and e["pid"] == 1}
    wall = {e["name"]: e for e in events if e["ph"] == "X" and e["pid"] == 1}
    assert sorted(tracks) == ["copies from toy", "copies to toy", "host", "toy"]
    assert [wall[name]["tid"] for name in "bc"] == [tracks["copies to toy"], tracks["copies from toy"]]
    run = wall["r1"]
    assert run["ts"] <= wall["b"]["ts"] <= wall["b"]["ts"] + wall["b"]["dur"] <= wall["c"]["ts"]
    assert wall["c"]["ts"] - wall["b"]["ts"] >= 1e4, "the device worked in between"
    assert wall["c"]["ts"] + wall["c"]["dur"] <= run["ts"] + run["dur"]


def test_devices_are_found_by_entry_point():
    assert open_device("host").properties().name == "host"
    with pytest.raises(ArtifactError, match=r"device 'abacus' is not installed \(here are: .*host.*\); install"):
        open_device("abacus")
    with pytest.raises(DeviceError, match=r"device 'host' does not take the options \{'sim': 'rtl'\}"):
        open_device("host", {"sim": "rtl"})
