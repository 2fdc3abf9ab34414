"""How an executable is called: arrays in, arrays out, and what it says of arrays that do not fit."""

from __future__ import annotations

import pickle
import re
import threading

import ml_dtypes
import numpy as np
import pytest
from heddle.core.errors import ArtifactError, DeviceError, InputError
from heddle.core.runtime import builtin

X = np.arange(16, dtype=np.float32)


@pytest.fixture(params=["entry", "queue"])
def either(request, monkeypatch):
    """Runs a test with the code that Python calls, and again as where objects do not lie as that expects."""
    if request.param == "queue":
        monkeypatch.setattr(builtin, "possible", lambda: False)


@pytest.mark.usefixtures("either")
class TestArguments:
    def test_by_position_and_by_name(self, add):
        exe = add()
        for y in (exe(X, 2 * X), exe(X, b=2 * X), exe(b=2 * X, a=X)):
            assert np.array_equal(y["c"], 3 * X)

    def test_any_memory_order(self, add):
        exe = add()
        raw = np.zeros(65, np.uint8)
        unaligned = raw[1:].view(np.float32)
        unaligned[:] = X
        reversed_, strided = X[::-1], np.repeat(X, 2)[::2]
        assert not unaligned.flags.aligned
        assert not strided.flags.c_contiguous
        for x in (reversed_, strided, unaligned):
            assert np.array_equal(exe(x, X)["c"], x + X)
            assert np.array_equal(exe(X, x)["c"], x + X)

    def test_objects_that_are_arrays_of_the_right_type(self, add):
        class Tensor:
            def __array__(self, dtype=None, copy=None):
                return X

        class Sub(np.ndarray):
            pass

        assert np.array_equal(add()(Tensor(), X.view(Sub))["c"], 2 * X)
        assert type(add()(Tensor(), X.view(Sub))["c"]) is np.ndarray

    def test_a_read_only_input(self, add):
        x = X.copy()
        x.flags.writeable = False
        assert np.array_equal(add()(x, x)["c"], 2 * X)

    @pytest.mark.parametrize(
        ("args", "named", "message"),
        [
            ((X,), {}, "missing b; the model takes a: float32[16], b: float32[16]"),
            ((), {}, "missing a, b; the model takes a: float32[16], b: float32[16]"),
            ((X, X, X), {}, "3 inputs were given, the model takes 2 (a: float32[16], b: float32[16])"),
            ((X, X), {"b": X}, "input 'b' was given twice, by position and by name"),
            ((X, X), {"d": X}, "there is no input 'd'; the model takes a: float32[16], b: float32[16]"),
            ((X, X.astype("f8")), {}, "input 'b': float32[16] is expected, float64[16] was given"),
            ((X, X.astype(">f4")), {}, "input 'b': float32[16] is expected, >f4[16] was given"),
            ((X[:3], X), {}, "input 'a': float32[16] is expected, float32[3] was given"),
            ((X.reshape(1, 16), X), {}, "input 'a': float32[16] is expected, float32[1,16] was given"),
            ((X, 1.0), {}, "input 'b': float32[16] is expected, float64[] was given"),
            ((X, [[1], [1, 2]]), {}, "input 'b': float32[16] is expected, list is no array"),
            ((X, None), {}, "input 'b': float32[16] is expected, string[] was given"),
        ],
    )
    def test_what_does_not_fit(self, add, args, named, message):
        exe = add()
        exe(X, X)
        with pytest.raises(InputError) as caught:
            exe(*args, **named)
        assert str(caught.value) == message

    def test_results_are_not_shared(self, add):
        exe = add()
        first = exe(X, X)["c"]
        second = exe(X, -X)["c"]
        assert np.array_equal(first, 2 * X)
        assert not second.any()

    def test_many_threads(self, add):
        exe, wrong = add(), []

        def work(k):
            x = np.full(16, k, np.float32)
            wrong.extend(k for _ in range(300) if not np.array_equal(exe(x, X)["c"], x + X))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


class TestOutputs:
    def test_unpack_index_and_names(self, add):
        y = add()(X, X)
        (c,) = y
        assert c is y[0] is y["c"] is y[-1]
        assert y.keys() == ("c",)
        assert dict(y)["c"] is c
        assert {**y}["c"] is c
        assert "c" in y
        assert "d" not in y
        with pytest.raises(KeyError, match=re.escape("there is no output 'd'; the outputs are c")):
            y["d"]

    def test_pickle(self, add):
        y = pickle.loads(pickle.dumps(add()(X, X)))
        assert np.array_equal(y["c"], 2 * X)


class TestOut:
    def test_one_array_a_list_a_mapping(self, add):
        exe = add()
        for wrap in (lambda c: c, lambda c: [c], lambda c: {"c": c}):
            c = np.empty(16, np.float32)
            y = exe(X, X, out=wrap(c))
            assert y["c"] is c
            assert np.array_equal(c, 2 * X)

    def test_strided_and_overlapping(self, add):
        exe = add()
        wide = np.zeros(32, np.float32)
        exe(X, X, out=wide[::2])
        assert np.array_equal(wide[::2], 2 * X)
        assert not wide[1::2].any()
        x = np.arange(20, dtype=np.float32)
        exe(x[:16].copy(), X, out=x[:16])
        exe(x[:16], X, out=x[2:18])
        assert np.array_equal(x[2:18], 3 * X)

    @pytest.mark.parametrize(
        ("out", "message"),
        [
            (np.empty(15, "f4"), "out: output 'c' needs a writeable float32[16], float32[15] was given"),
            (np.empty(16, "f8"), "out: output 'c' needs a writeable float32[16], float64[16] was given"),
            ([X, X], "out: 2 arrays were given, the model has 1 outputs"),
            ({"d": X}, "out: there is no output 'd'; the outputs are c"),
            ([None], "out: output 'c' needs a writeable float32[16], NoneType was given"),
        ],
    )
    def test_what_does_not_fit(self, add, out, message):
        with pytest.raises(InputError) as caught:
            add()(X, X, out=out)
        assert str(caught.value) == message


class TestOddModels:
    def test_outputs_that_are_inputs_constants_or_the_same_value(self, make):
        negate = make.c("a", "n", "float *a = in[0], *n = out[0]; for (int i = 0; i < 4; i++) n[i] = -a[i];")
        seven = np.full(4, 7, np.float32)
        plan = make.schedule("a", "n a2 k n2", [negate], results=("n", "a", "k", "n"), constants={"k": seven})
        x = np.arange(4, dtype=np.float32)
        y = make.executable(plan)(x)
        assert [list(v) for v in y] == [list(-x), list(x), [7] * 4, list(-x)]
        y["a2"][:] = y["k"][:] = y["n"][:] = 0
        assert list(x) == [0, 1, 2, 3]
        assert list(seven) == [7] * 4
        assert list(y["n2"]) == list(-x)

    def test_no_inputs_no_steps_and_no_elements(self, make):
        give = make.c("", "n:int64[]", "*(int64_t *)out[0] = 42;")
        assert make.executable(make.schedule("", "n:int64[]", [give]))()["n"] == 42
        x = np.arange(4, dtype=np.float32)
        assert np.array_equal(make.executable(make.schedule("a", "b", [], results=("a",)))(x)["b"], x)
        none = make.c("a:float32[0,3]", "b:float32[3,0]", "")
        exe = make.executable(make.schedule("a:float32[0,3]", "b:float32[3,0]", [none]))
        assert exe(np.empty((0, 3), np.float32))["b"].shape == (3, 0)

    def test_an_input_named_out(self, make):
        copy = make.c("out", "y", "for (int i = 0; i < 4; i++) ((float *)out[0])[i] = ((float *)in[0])[i];")
        x = np.ones(4, np.float32)
        assert np.array_equal(make.executable(make.schedule("out", "y", [copy]))(x)["y"], x)

    def test_types_of_ml_dtypes(self, make):
        code = "for (int i = 0; i < 4; i++) ((uint16_t *)out[0])[i] = ((uint16_t *)in[0])[i];"
        copy = make.c("a:bfloat16[4]", "b:bfloat16[4]", code)
        x = np.arange(4, dtype=ml_dtypes.bfloat16)
        y = make.executable(make.schedule("a:bfloat16[4]", "b:bfloat16[4]", [copy]))(x)["b"]
        assert y.dtype == x.dtype
        assert np.array_equal(x, y)

    def test_closed(self, add):
        exe = add()
        exe(X, X)
        exe.close()
        with pytest.raises(DeviceError, match=r"<Executable toy\(a: float32\[16\], b: float32\[16\]\)> is closed"):
            exe(X, X)


class TestSymbols:
    def build(self, make, compiled, **more):
        def specialise(shapes):
            compiled.append(dict(shapes))
            n = shapes["a"][0]
            text = f"float *a = in[0], *b = in[1], *c = out[0]; for (int i = 0; i < {n}; i++) c[i] = a[i] * b[i];"
            type = f"float32[{n}]"
            return make.schedule(f"a:{type} b:{type}", f"c:{type}", [make.c(f"a:{type} b:{type}", f"c:{type}", text)])

        inputs, outputs = [make.spec("a:float32[N]"), make.spec("b:float32[N]")], [make.spec("c:float32[N]")]
        from heddle.core.runtime.executable import Executable

        return Executable("dyn", inputs, outputs, specialise=specialise, **more)

    def test_compiles_once_for_each_set_of_shapes(self, make):
        compiled = []
        exe = self.build(make, compiled)
        for n in (3, 5, 3, 5, 3):
            x = np.arange(n, dtype=np.float32)
            assert np.array_equal(exe(x, x)["c"], x * x)
        assert compiled == [{"a": (3,), "b": (3,)}, {"a": (5,), "b": (5,)}]

    def test_one_symbol_has_one_size(self, make):
        exe = self.build(make, [])
        with pytest.raises(InputError) as caught:
            exe(np.ones(3, np.float32), np.ones(4, np.float32))
        assert str(caught.value) == ("input 'b': dimension N is 4 here and 3 in 'a'; it must be the same everywhere")

    def test_a_loaded_file_has_only_what_was_compiled(self, make, tmp_path):
        from heddle.core.runtime.executable import load

        exe = self.build(make, [])
        x = np.arange(3, dtype=np.float32)
        exe(x, x)
        exe.save(tmp_path / "m.heddle")
        loaded = load(tmp_path / "m.heddle")
        assert np.array_equal(loaded(x, x)["c"], x * x)
        x = np.arange(4, dtype=np.float32)
        with pytest.raises(ArtifactError) as caught:
            loaded(x, x)
        assert str(caught.value) == (
            "dyn: the input shapes a: [4], b: [4] are not compiled (a: float32[3], b: float32[3] is), and a loaded"
            " file has no compiler; compile the model for these shapes"
        )
