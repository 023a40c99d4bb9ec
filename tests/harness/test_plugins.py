"""Plugins come in through one door, and a broken one does not affect the others."""

from __future__ import annotations

import logging
import subprocess
import sys
import types
from pathlib import Path

import adaptbench
import pytest
from adaptbench import UserError
from adaptbench.harness import hooks
from adaptbench.harness.plugins import Plugins, load_plugins, plugin_name

GOOD = """
import adaptbench

class Model:
    def embed(self, images):
        return [[1.0] for _ in images]

@adaptbench.hookimpl
def register(registry):
    registry.model("{name}", Model, card=adaptbench.ModelCard(capabilities=("embed",)))
"""
BROKEN = {
    "import": ("import no_such_module_at_all", "ModuleNotFoundError"),
    "syntax": ("def register(:", "SyntaxError"),
    "exception": ("import adaptbench\n@adaptbench.hookimpl\ndef register(registry): 1 / 0", "ZeroDivisionError"),
    "generator": ("raise GeneratorExit", "GeneratorExit"),
    "unshowable": (
        "class Unshowable(Exception):\n  def __str__(self): raise ValueError\nraise Unshowable",
        "Unshowable: its message cannot be shown",
    ),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "exit-in-hook": ("import adaptbench\n@adaptbench.hookimpl\ndef register(registry): raise SystemExit", "SystemExit"),
    "hook": (
        "import adaptbench\n@adaptbench.hookimpl\ndef run_strated(event): pass",
        "there is no hook 'run_strated' (did you mean 'run_started'",
    ),
    "argument": ("import adaptbench\n@adaptbench.hookimpl\ndef register(registri): pass", "registri"),
    "unmarked": ("def register(registry): pass", "it implements no hook; mark a function"),
    "card": (
        "import adaptbench\n@adaptbench.hookimpl\ndef register(registry):\n"
        "  registry.model('x', 'm:f', card=adaptbench.ModelCard(capabilities=('embed',), licens='MIT'))",
        "licens",
    ),
    "card-kind": (
        "import adaptbench\n@adaptbench.hookimpl\ndef register(registry): registry.model('x', 'm:f', card={})",
        "give a ModelCard",
    ),
    "call": ("import adaptbench\n@adaptbench.hookimpl\ndef register(registry): registry.modell('x')", "AttributeError"),
}


@pytest.fixture
def plugin_file(tmp_path):
    def write(name, source):
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        return str(path)

    return write


@pytest.mark.parametrize("kind", BROKEN)
class TestBroken:
    def test_it_is_listed_with_its_traceback_and_the_others_load(self, kind, plugin_file):
        source, reason = BROKEN[kind]
        broken, good = plugin_file("broken", source), plugin_file("good", GOOD.format(name="fine"))
        plugins = load_plugins([broken, good], strict=False)
        state = next(p for p in plugins.loaded if p.name == "broken")
        assert reason in state.error
        assert "\n" not in state.error
        assert "Traceback" in state.traceback
        assert state.names == ()
        assert plugins.registry.broken["broken"] == state.error
        assert plugins.registry.find("model", "fine").owner == "good"
        assert plugins.registry.find("model", "pixels").owner == "models"

    def test_it_is_an_error_when_asked_for_and_the_cause_is_kept(self, kind, plugin_file):
        source, reason = BROKEN[kind]
        with pytest.raises(UserError, match="plugin is broken") as caught:
            load_plugins([plugin_file("broken", source)])
        assert reason in str(caught.value)
        assert caught.value.__cause__ is not None


def test_nothing_of_a_broken_plugin_is_registered(plugin_file):
    path = plugin_file("half", GOOD.format(name="half-made-model") + "    raise ValueError('late')\n")
    plugins = load_plugins([path], strict=False)
    with pytest.raises(
        UserError, match=r"unknown model 'half-made-model'; plugin 'half' failed to load \(ValueError: late\)"
    ):
        plugins.registry.find("model", "half-made-model")


def test_a_broken_plugin_hears_no_events(plugin_file):
    path = plugin_file(
        "deaf",
        "import adaptbench\n@adaptbench.hookimpl\ndef register(registry): 1 / 0\n"
        "@adaptbench.hookimpl\ndef run_started(event): raise RuntimeError",
    )
    assert not load_plugins([path], strict=False).listens("run_started")


def test_a_misspelt_hook_of_one_plugin_is_not_offered_to_the_next(plugin_file):
    first = plugin_file("first", "import adaptbench\n@adaptbench.hookimpl\ndef regster(registry): pass")
    second = plugin_file("second", "import adaptbench\n@adaptbench.hookimpl\ndef regsterr(registry): pass")
    plugins = load_plugins([first, second], strict=False)
    assert "did you mean 'register'?" in plugins.registry.broken["second"]


@pytest.mark.parametrize("source", ["raise KeyboardInterrupt", GOOD.format(name="x") + "    raise KeyboardInterrupt"])
def test_an_interrupt_passes_through(plugin_file, source):
    with pytest.raises(KeyboardInterrupt):
        load_plugins([plugin_file("slow", source)], strict=False)


def test_a_file_that_failed_leaves_no_module_behind(plugin_file):
    before = set(sys.modules)
    load_plugins([plugin_file("broken", "1 / 0")], strict=False)
    assert not [name for name in set(sys.modules) - before if "broken" in name]


class TestConflicts:
    def test_both_owners_are_named(self, plugin_file):
        one, two = (plugin_file(owner, GOOD.format(name="same")) for owner in ("one", "two"))
        plugins = load_plugins([one, two], strict=False)
        assert "model 'same' of plugin 'two' is registered by plugin 'one'" in plugins.registry.broken["two"]
        assert plugins.registry.find("model", "same").owner == "one"

    def test_override_replaces_a_built_in(self, plugin_file):
        source = (
            GOOD.format(name="pixels")
            .replace("embed',))", "embed',))")
            .replace('("embed",)))', '("embed",)), override=True)')
        )
        plugins = load_plugins([plugin_file("mine", source)])
        assert plugins.registry.find("model", "pixels").owner == "mine"
        assert plugins.registry.find("model", "hog").owner == "models"

    def test_two_plugins_of_one_name_are_told_apart_by_where_they_are(self, plugin_file, tmp_path):
        path = plugin_file("models", GOOD.format(name="x"))
        plugins = load_plugins([path], strict=False)
        state = plugins.loaded[-1]
        assert "plugin 'models' of adaptbench.models.builtin has that name already" in state.error
        assert plugins.registry.find("model", "pixels").owner == "models"

    def test_the_same_plugin_twice_stays_loaded_once(self, plugin_file):
        path = plugin_file("mine", GOOD.format(name="x"))
        plugins = load_plugins([path, path], strict=False)
        assert plugins.registry.find("model", "x").owner == "mine"
        assert [plugin.name for plugin in plugins.loaded].count("mine") == 1


class TestSources:
    def test_a_module_by_name(self, tmp_path, monkeypatch):
        (tmp_path / "a_plugin_module.py").write_text(GOOD.format(name="from-module"))
        monkeypatch.syspath_prepend(tmp_path)
        plugins = load_plugins(["a_plugin_module"])
        assert plugins.loaded[-1].names == ("model from-module",)

    def test_an_object_and_a_module_object(self):
        class Watching:
            @adaptbench.hookimpl
            def run_started(self, event): ...

        module = types.ModuleType("made_here")
        exec(GOOD.format(name="made"), module.__dict__)
        plugins = load_plugins([Watching(), module])
        assert plugins.listens("run_started")
        assert plugins.registry.find("model", "made").owner == "made_here"

    def test_a_path_object(self, plugin_file):
        plugins = load_plugins([Path(plugin_file("mine", GOOD.format(name="x")))])
        assert plugins.loaded[-1].name == "mine"

    @pytest.mark.parametrize("missing", ["no/such/plugin.py", "no_such_plugin.py", "./folder/"])
    def test_a_file_that_is_not_there(self, missing):
        with pytest.raises(UserError, match="no such plugin file"):
            load_plugins([missing])

    def test_a_folder_does_not_hide_a_module_of_its_name(self, tmp_path, monkeypatch):
        (tmp_path / "shadowed_plugin.py").write_text(GOOD.format(name="x"))
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "elsewhere" / "shadowed_plugin").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert load_plugins(["shadowed_plugin"]).loaded[-1].names == ("model x",)

    def test_names(self, plugin_file):
        assert plugin_name("some/file.py") == "file"
        assert plugin_name("package.module") == "package.module"
        assert plugin_name(types.ModuleType("module")) == "module"
        assert plugin_name(object()) == "object"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Distributions with an entry point, as pip leaves them: name -> source of the plugin's module."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, source, group="adaptbench"):
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


class TestEntryPoints:
    def test_an_installed_plugin_is_loaded_with_its_version(self, installed):
        installed("entry-one", GOOD.format(name="installed"))
        plugins = load_plugins()
        state = next(p for p in plugins.loaded if p.name == "entry-one")
        assert (state.version, state.origin, state.names) == ("1.2", "entry_one", ("model installed",))

    def test_one_that_is_on_request_is_loaded_if_it_is_named(self, installed):
        installed("entry-asked", GOOD.format(name="asked"), group="adaptbench.on_request")
        assert "entry-asked" not in [plugin.name for plugin in load_plugins().loaded]
        plugins = load_plugins(["entry-asked"])
        state = plugins.loaded[-1]
        assert (state.name, state.version, state.names) == ("entry-asked", "1.2", ("model asked",))
        assert plugins.names.others == ("entry-asked",)
        plugins.require(["entry-asked"])
        assert plugins.loaded[-1] is state

    def test_one_that_is_loaded_anyway_may_be_named(self, installed, monkeypatch):
        installed("entry-one", GOOD.format(name="installed"))
        plugins = load_plugins(["entry-one"])
        assert [plugin.name for plugin in plugins.loaded].count("entry-one") == 1
        monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
        assert load_plugins(["entry-one"]).registry.find("model", "installed")

    def test_one_that_is_named_and_broken_is_an_error(self, installed):
        installed("entry-broken", "1 / 0")
        with pytest.raises(UserError, match="entry_broken: plugin is broken: ZeroDivisionError"):
            load_plugins(["entry-broken"])

    def test_a_broken_one_is_no_error(self, installed):
        installed("entry-broken", "1 / 0")
        plugins = load_plugins()
        assert "ZeroDivisionError" in plugins.registry.broken["entry-broken"]
        assert plugins.registry.find("model", "pixels")

    def test_built_ins_come_first_whatever_their_names(self, installed):
        installed("aaa", GOOD.format(name="pixels"))
        plugins = load_plugins()
        assert "is registered by plugin 'models'" in plugins.registry.broken["aaa"]

    @pytest.mark.parametrize(
        ("value", "loaded"),
        [
            (None, {"entry-one", "entry-two"}),
            ("", set()),
            ("entry-one", {"entry-one"}),
            (" entry-two , entry-one ", {"entry-one", "entry-two"}),
        ],
    )
    def test_adaptbench_plugins_chooses(self, installed, monkeypatch, value, loaded):
        for name in ("entry-one", "entry-two"):
            installed(name, GOOD.format(name=name))
        if value is None:
            monkeypatch.delenv("ADAPTBENCH_PLUGINS", raising=False)
        else:
            monkeypatch.setenv("ADAPTBENCH_PLUGINS", value)
        names = {plugin.name for plugin in load_plugins().loaded}
        assert names & {"entry-one", "entry-two"} == loaded
        assert {"models", "tasks", "adapters"} <= names

    def test_those_asked_for_are_loaded_whatever_adaptbench_plugins_says(self, installed, monkeypatch):
        for name in ("entry-one", "entry-two"):
            installed(name, GOOD.format(name=name))
        monkeypatch.setenv("ADAPTBENCH_PLUGINS", "entry-two")
        for asked in ((), ("entry-one",)):
            plugins = load_plugins(installed=asked)
            assert plugins.names.installed == asked
            assert {plugin.name for plugin in plugins.loaded} & {"entry-one", "entry-two"} == set(asked)

    def test_adaptbench_plugins_names_what_is_not_there(self, installed, monkeypatch):
        installed("entry-one", GOOD.format(name="x"))
        monkeypatch.setenv("ADAPTBENCH_PLUGINS", "entry-oen")
        with pytest.raises(UserError, match=r"ADAPTBENCH_PLUGINS.*'entry-oen'.*did you mean 'entry-one'"):
            load_plugins()


class TestTrace:
    @pytest.mark.parametrize(("value", "traced"), [("1", True), ("0", False), ("", False)])
    def test_adaptbench_trace_writes_hook_calls(self, monkeypatch, capsys, value, traced):
        monkeypatch.setenv("ADAPTBENCH_TRACE", value)
        load_plugins()
        assert ("register" in capsys.readouterr().err) is traced


class Watcher:
    def __init__(self, error=None):
        self.error, self.heard = error, []

    @adaptbench.hookimpl
    def run_started(self, event):
        self.heard.append(event)
        if self.error is not None:
            raise self.error


class TestEvents:
    @pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), UserError("no")])
    def test_a_failing_watcher_harms_nothing_and_is_logged(self, error, caplog, tmp_path):
        first, failing, last = Watcher(), Watcher(error), Watcher()
        plugins = Plugins()
        for name, watcher in (("first", first), ("failing", failing), ("last", last)):
            plugins.add(name, name, lambda w=watcher: w)
        event = hooks.RunStarted(path=tmp_path, cells=())
        with caplog.at_level(logging.ERROR):
            plugins.fire("run_started", event)
        assert first.heard == failing.heard == last.heard == [event]
        assert "plugin 'failing' failed in hook 'run_started'" in caplog.text

    def test_an_interrupt_in_a_watcher_passes_through(self, tmp_path):
        plugins = Plugins()
        plugins.add("w", "w", lambda: Watcher(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            plugins.fire("run_started", hooks.RunStarted(path=tmp_path, cells=()))


def test_listing_a_thousand_names_imports_none_of_them(plugin_file):
    path = plugin_file(
        "thousand",
        "import adaptbench\n@adaptbench.hookimpl\ndef register(registry):\n"
        "    card = adaptbench.ModelCard(capabilities=('embed',))\n"
        "    for i in range(1000): registry.model(f'm{i}', f'no_such_package.m{i}:make', card=card)\n",
    )
    plugins = load_plugins([path])
    assert len([e for e in plugins.registry.entries("model") if e.owner == "thousand"]) == 1000
    assert plugins.registry.find("model", "m999").card.capabilities == ("embed",)
    with pytest.raises(UserError, match="install what it needs"):
        plugins.registry.find("model", "m999").factory()


def test_loading_all_built_in_plugins_imports_nothing_heavy():
    code = (
        "import sys; from adaptbench.harness.plugins import load_plugins; load_plugins();"
        "heavy = {'torch', 'transformers', 'pandas', 'altair', 'scipy', 'PIL', 'matplotlib', 'sklearn', 'skimage',"
        " 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
