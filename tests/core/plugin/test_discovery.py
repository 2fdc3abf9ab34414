"""Plugins are found lazily, in a fixed order, and a broken one harms nobody else."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from heddle.core.errors import BackendError
from heddle.core.plugin import Plugins, PluginWarning

Install = Callable[..., None]

GOOD = """
    from dataclasses import dataclass
    from heddle.core.pattern import ops, pattern
    from heddle.core.plugin import Backend, hookimpl

    @dataclass(frozen=True)
    class Settings:
        level: int = 1

    @pattern("relu")
    def relu(x):
        return ops.Relu(x)

    class Good(Backend):
        name = "good"
        Options = Settings
        patterns = [relu]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A function that puts a package with a module and entry points onto the path."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def install(package: str, source: str, group: str = "heddle.backends", **points: str) -> None:
        (tmp_path / f"{package}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {package}{target}" for name, target in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))

    yield install
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_looking_around_loads_nothing(install: Install) -> None:
    install("lazy_one", "raise RuntimeError('loaded too early')", lazy=":Lazy")
    plugins = Plugins("")
    assert "lazy" in plugins.names
    assert "lazy_one" not in sys.modules


def test_a_backend_is_made_with_its_options(install: Install) -> None:
    install("good_one", GOOD, good=":Good")
    backend = Plugins("").get("good", {"level": "7"})
    assert (backend.name, backend.options.level) == ("good", 7)


def test_a_broken_plugin_is_told_by_name_and_the_others_work(install: Install) -> None:
    install("good_one", GOOD, good=":Good")
    install("broken_one", "import no_such_module", broken=":Broken")
    plugins = Plugins("")
    assert plugins.get("good").name == "good"
    with pytest.raises(BackendError) as error:
        plugins.get("broken")
    assert str(error.value) == (
        "backend 'broken' (broken_one 1.0) is broken: ModuleNotFoundError: No module named 'no_such_module'"
    )
    status = {status.name: status for status in plugins.statuses()}
    assert status["good"].ok
    assert status["good"].patterns == ("relu",)
    assert [(option.name, option.type, option.default) for option in status["good"].options] == [
        ("level", "an integer", 1)
    ]
    assert not status["broken"].ok
    assert "import no_such_module" in status["broken"].traceback


def test_a_name_brought_twice_is_refused(install: Install) -> None:
    install("good_one", GOOD, good=":Good")
    install("good_two", GOOD, good=":Good")
    plugins = Plugins("")
    with pytest.raises(BackendError) as error:
        plugins.get("good")
    assert str(error.value) == (
        "backend 'good' is brought by good_one 1.0 and good_two 1.0; a name must be unique, remove one of them"
    )
    assert [status.ok for status in plugins.statuses() if status.name == "good"] == [False, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('name = "good"', 'name = "good"\n        api = 2'),
            "is made for API level 2, this Heddle has level 1; upgrade Heddle",
        ),
        (
            ('name = "good"', 'name = "good"\n        api = 0'),
            "is made for API level 0, this Heddle supports 1 to 1; upgrade the plugin",
        ),
        (('name = "good"', 'name = "well"'), "its class names itself 'well'; entry point and class must agree"),
        (("class Good(Backend)", "class Good"), "a subclass of Backend is expected"),
    ],
)
def test_a_class_that_does_not_fit_is_refused(install: Install, change: tuple[str, str], message: str) -> None:
    install("good_one", GOOD.replace(*change), good=":Good")
    with pytest.raises(BackendError) as error:
        Plugins("").get("good")
    assert message in str(error.value)


def test_an_unknown_backend_is_met_with_what_was_probably_meant() -> None:
    with pytest.raises(BackendError) as error:
        Plugins("").get("hsot")
    assert str(error.value).startswith("there is no backend 'hsot'; did you mean 'host'? (there are ")


def test_the_environment_names_files_and_modules(install: Install, tmp_path: Path) -> None:
    install("as_module", GOOD)
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(textwrap.dedent(GOOD.replace('"good"', '"mine"')))
    plugins = Plugins(f"as_module, {other}")
    assert {"good", "mine"} <= set(plugins.names)
    assert plugins.get("mine").name == "mine"


def test_a_file_that_is_not_there_is_a_warning_not_an_end(tmp_path: Path) -> None:
    missing = tmp_path / "missing.py"
    with pytest.warns(PluginWarning) as warned:
        plugins = Plugins(str(missing))
    assert "there is no such file; HEDDLE_PLUGINS takes paths of .py files or names of modules" in str(
        warned[0].message
    )
    assert "host" in plugins.names
    assert [status.name for status in plugins.statuses() if not status.ok and status.name == "missing"] == ["missing"]


def test_a_misspelt_hook_is_found(tmp_path: Path) -> None:
    path = tmp_path / "misspelt.py"
    path.write_text("from heddle.core.plugin import hookimpl\n\n@hookimpl\ndef heddle_plan_dnoe(plan): ...\n")
    with pytest.warns(PluginWarning) as warned:
        Plugins(str(path))
    assert "unknown hook 'heddle_plan_dnoe'" in str(warned[0].message)
    assert "heddle_plan_done" in str(warned[0].message)


def test_observers_are_called_and_one_that_raises_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "observers.py"
    path.write_text(
        "from heddle.core.plugin import hookimpl\nseen = []\n\n"
        "@hookimpl\ndef heddle_plan_done(plan):\n    seen.append(plan)\n"
    )
    angry = tmp_path / "angry.py"
    angry.write_text(
        "from heddle.core.plugin import hookimpl\n\n@hookimpl\ndef heddle_plan_done():\n    raise ValueError('no')\n"
    )
    plugins = Plugins(f"{path},{angry}")
    with pytest.warns(PluginWarning, match="heddle_plan_done raised ValueError: no"):
        plugins.announce("heddle_plan_done", plan="a plan")
    assert sys.modules["heddle_plugin_observers"].seen == ["a plan"]


def test_a_module_of_hooks_may_bring_backends(tmp_path: Path) -> None:
    path = tmp_path / "bringer.py"
    path.write_text(
        textwrap.dedent(
            """
            from heddle.core.plugin import Backend, hookimpl

            def make():
                class Made(Backend):
                    name = "made"
                return Made

            @hookimpl
            def heddle_backends():
                return [make()]
            """
        )
    )
    assert Plugins(str(path)).get("made").name == "made"
