"""The file of a compiled model: what goes in comes out, the same bytes each time, and nothing damaged is read."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import zipfile
from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest
from heddle.core.errors import ArtifactError, HeddleError
from heddle.core.runtime import storage
from heddle.core.runtime.executable import load
from heddle.core.runtime.file import VERSION, Saved, is_compiled, read_file, write_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

X = np.arange(4, dtype=np.float32)
SCALE = "for (int i = 0; i < 4; i++) ((float *)out[0])[i] = ((float *)in[0])[i] * ((float *)k[0])[i];"


@pytest.fixture
def exe(make, device):
    weight = np.array([1, 2, 3, 4], np.float32)
    odd = {
        "half": np.array([1.5, 2], ml_dtypes.bfloat16),
        "nibble": np.array([1, -2, 3], ml_dtypes.int4),
        "flag": np.array(True),
        "none": np.zeros((0, 3), np.int64),
        "w": weight.copy(),
    }
    meta = {"faults": ["no"], "t": [1, {"x": None}]}
    steps = [
        make.step(make.c("a", "b", SCALE, constants={"w": weight}, meta=meta, nodes=("n",)), "first"),
        make.step(
            make.toy("b@dram", "c@dram", "i[0] * k['w']", constants=odd, workspace=5),
            "second",
            make.c("b", "c", SCALE, constants=odd | {"a": weight}),
        ),
    ]
    plan = make.schedule("a", "c k", steps, constants={"k": weight + 1})
    return make.executable(plan, devices={"toy": device})


def same(left: Saved, right: Saved) -> bool:
    """Equality of everything, arrays by their bits."""

    def plain(value):
        if isinstance(value, np.ndarray):
            return (str(value.dtype), value.shape, value.tobytes())
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        return plain(vars(value)) if hasattr(value, "__dataclass_fields__") else value

    return plain(left) == plain(right)


def saved(exe):
    return Saved(exe.name, exe.inputs, exe.outputs, exe.programs)


def test_what_goes_in_comes_out(exe, device, tmp_path):
    path = tmp_path / "model.heddle"
    exe.save(path)
    assert same(read_file(path), saved(exe))
    loaded = load(path, devices={"toy": device})
    for name, array in exe(X).items():
        assert np.array_equal(array, loaded(X)[name])


def test_each_array_is_stored_once_mapped_and_aligned(exe, tmp_path):
    path = tmp_path / "model.heddle"
    exe.save(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        (tmp_path / "w.safetensors").write_bytes(archive.read("weights.safetensors"))
    from safetensors.numpy import load_file

    tensors = load_file(tmp_path / "w.safetensors")
    assert sum(np.array_equal(t, [1, 2, 3, 4]) for t in tensors.values() if t.dtype == np.float32) == 1
    assert any(t.dtype == ml_dtypes.bfloat16 for t in tensors.values())
    (schedule,) = read_file(path).programs
    for step in schedule.steps:
        for array in step.artifact.constants.values():
            assert array.ctypes.data % 64 == 0
            assert not array.flags.writeable
            assert storage.placed(array) is array


def test_the_same_bytes_each_time(exe, tmp_path):
    (tmp_path / "folder").mkdir()
    exe.save(tmp_path / "a.heddle")
    write_file(read_file(tmp_path / "a.heddle"), tmp_path / "folder" / "b.heddle")
    assert (tmp_path / "a.heddle").read_bytes() == (tmp_path / "folder" / "b.heddle").read_bytes()


def test_written_whole_or_not_at_all(exe, tmp_path):
    path = tmp_path / "model.heddle"
    path.write_text("old")
    exe.schedules[0].steps[0].artifact.constants["w2"] = np.array(["text"], object)
    with pytest.raises(ArtifactError, match="a constant of strings cannot be saved"):
        exe.save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["model.heddle"]
    del exe.schedules[0].steps[0].artifact.constants["w2"]
    with pytest.raises(ArtifactError, match="cannot be written: No such file or directory"):
        exe.save(tmp_path / "nowhere" / "model.heddle")


def test_permissions_follow_the_umask(exe, tmp_path):
    exe.save(tmp_path / "model.heddle")
    (tmp_path / "other").write_text("")
    modes = [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("model.heddle", "other")]
    assert modes[0] == modes[1]


def test_no_mutated_byte_goes_unseen(exe, tmp_path):
    path = tmp_path / "model.heddle"
    exe.save(path)
    whole = path.read_bytes()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(whole) - 1), st.integers(1, 255))
    def flip(at, bits):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :])
        with pytest.raises(ArtifactError):
            read_file(path)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(whole) - 1))
    def cut(size):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtifactError):
            read_file(path)

    flip()
    cut()
    path.write_bytes(whole)
    assert is_compiled(path)
    read_file(path)


def reseal(path, change):
    """Change the manifest and seal the file again, as a hostile or mistaken writer would."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.comment = f"heddle {VERSION} sha256 ".encode() + b"0" * 64
    data = path.read_bytes()[:-64]
    path.write_bytes(data + hashlib.sha256(data).hexdigest().encode())


def _leaves(value, path=()):
    if isinstance(value, dict | list):
        yield path
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path


@pytest.mark.parametrize("bad", [None, -1, "x", [], {}, 10**12, [[1]], 2.5])
def test_no_sealed_nonsense_crashes_the_reader(exe, tmp_path, bad):
    path = tmp_path / "model.heddle"
    exe.save(path)
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    good = path.read_bytes()
    for where in _leaves(manifest):
        if not where or where[0] in ("format", "version") or "meta" in where:
            continue

        def change(manifest, where=where):
            at = manifest
            for key in where[:-1]:
                at = at[key]
            at[where[-1]] = bad

        path.write_bytes(good)
        reseal(path, change)
        with suppress(ArtifactError):  # any other exception fails the test
            read_file(path)


def test_what_is_no_file_of_ours(exe, tmp_path):
    path = tmp_path / "model.heddle"
    for data, message in (
        (b"", "the file is empty, not a compiled model"),
        (b"\x08\x07 onnx", "this is not a compiled model: the seal at its end is missing; compile the model again"),
        (b"PK\3\4 zip", "this is a damaged file: the seal at its end is missing; compile the model again"),
    ):
        path.write_bytes(data)
        with pytest.raises(ArtifactError) as caught:
            read_file(path)
        assert str(caught.value) == f"{path}: {message}"
        assert not is_compiled(path)
    exe.save(path)
    data = path.read_bytes().replace(b"heddle 2 sha256", b"heddle 3 sha256")
    path.write_bytes(data)
    with pytest.raises(ArtifactError) as caught:
        read_file(path)
    what = "the file has format 3, this Heddle reads up to 2; upgrade Heddle or compile again"
    assert str(caught.value) == f"{path}: {what}"
    with pytest.raises(ArtifactError, match="cannot be read: No such file"):
        read_file(tmp_path / "missing")


def test_a_device_that_is_not_installed(exe, tmp_path):
    exe.save(tmp_path / "model.heddle")
    with pytest.raises(HeddleError, match="device 'toy' is not installed"):
        load(tmp_path / "model.heddle")


def test_loads_without_compiler_or_onnx(add, tmp_path):
    add().save(tmp_path / "model.heddle")
    program = """
import sys
import numpy as np
import heddle
y = heddle.load(sys.argv[1])(np.ones(16, np.float32), np.ones(16, np.float32))
assert (y["c"] == 2).all()
heavy = ["onnx", "llvmlite", "scipy", "pluggy", "typer", "rich"] + ["heddle.core." + n for n in ("ir", "ops", "plugin")]
print([name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "model.heddle"], capture_output=True, text=True, check=False
    )
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
