"""``adaptbench list`` and ``adaptbench plugin list``."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from adaptbench.harness import plugins
from adaptbench.harness.cli import listing
from adaptbench.harness.plugins import load_plugins

_spec = importlib.util.spec_from_file_location("golden_texts", Path(__file__).with_name("test_cli_help.py"))
_golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_golden)

PLUGIN = """
import adaptbench

@adaptbench.hookimpl
def register(registry):
    registry.model("mine", "nowhere:Model", card=adaptbench.ModelCard(summary="My own", capabilities=("embed",)))
    registry.task("ask", "nowhere:t", card=adaptbench.TaskCard(capability="generate"), args={"k": 1})
"""


def test_the_whole_list(cli):
    done = cli("list")
    assert (done.status, done.err) == (0, "")
    _golden.same_as_golden("list", done.out)


@pytest.mark.parametrize("kind", ["model", "method", "task", "suite", "report", "figure", "architecture"])
def test_one_kind_in_singular_or_plural(cli, kind):
    one, many = cli("list", kind), cli("list", f"{kind}s")
    assert one == many
    assert one.out.splitlines()[0] == f"{kind}s"
    assert one.out.partition("\n\n")[0] in cli("list", "all").out


def test_json_is_the_same_list_with_the_cards(cli):
    rows = json.loads(cli("list", "--json").out)
    pixels = next(row for row in rows if row["kind"] == "model" and row["name"] == "pixels")
    assert pixels["plugin"] == "models"
    assert pixels["card"]["capabilities"] == ["embed"]
    suite = next(row for row in rows if row["kind"] == "suite" and row["name"] == "demo")
    assert (suite["card"], suite["summary"].split()[0]) == (None, "Few-shot")
    text = cli("list").out
    assert all(f"  {row['name']}" in text for row in rows)


def test_a_plugin_adds_to_it_though_its_modules_do_not_exist(cli, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    done = cli("list", "models", "--plugin", "mine.py")
    assert ["mine", "embed", "My", "own"] in [line.split() for line in done.out.splitlines()]
    rows = json.loads(cli("list", "tasks", "--plugin", "mine.py", "--json").out)
    assert {"k": 1} in [row["arguments"] for row in rows if row["name"] == "ask"]


class TestWhatIsRemembered:
    @pytest.fixture(autouse=True)
    def apart(self, monkeypatch, tmp_path):
        monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
        monkeypatch.setattr(sys, "dont_write_bytecode", False)
        monkeypatch.setattr(listing, "_REMEMBERED", tmp_path / "listing.json")

    @pytest.fixture
    def loads(self, monkeypatch):
        """How often plugins were loaded."""
        loaded = []
        monkeypatch.setattr(plugins, "load_plugins", lambda *given: loaded.append(given) or load_plugins(*given))
        return loaded

    @pytest.mark.parametrize("arguments", [(), ("models",), ("--json",), ("suites", "--json")])
    def test_is_listed_again_without_loading_plugins(self, cli, loads, arguments):
        first, again = cli("list", *arguments), cli("list", *arguments)
        assert first == again
        assert len(loads) == 1

    def test_is_forgotten_when_something_is_installed(self, cli, loads, monkeypatch, tmp_path):
        cli("list")
        monkeypatch.syspath_prepend(tmp_path)
        cli("list")
        assert len(loads) == 2

    def test_is_forgotten_when_a_file_of_the_package_changes(self, cli, loads, monkeypatch):
        cli("list")
        monkeypatch.setattr(listing, "installed", lambda: "another")
        cli("list")
        assert len(loads) == 2

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stamp": 1}', b"\xff"])
    def test_is_listed_anew_if_it_cannot_be_read(self, cli, content):
        whole = cli("list")
        listing._REMEMBERED.write_bytes(content)
        assert cli("list") == whole

    def test_has_nothing_of_other_plugins(self, cli, tmp_path):
        (tmp_path / "mine.py").write_text(PLUGIN)
        assert "My own" in cli("list", "--plugin", "mine.py").out
        assert not listing._REMEMBERED.exists()
        whole = cli("list").out
        assert "My own" not in whole
        assert "My own" in cli("list", "--plugin", "mine.py").out

    def test_an_unwritable_place_does_no_harm(self, cli, monkeypatch, tmp_path):
        monkeypatch.setattr(listing, "_REMEMBERED", tmp_path / "nowhere" / "listing.json")
        assert cli("list").status == 0


def test_suites_are_listed_with_their_descriptions(cli, tmp_path):
    assert "offline on the CPU in minutes." in cli("list", "suites").out
    (tmp_path / "torn.yaml").write_text("name: torn")
    (tmp_path / "mine.py").write_text(f'{PLUGIN}    registry.suite("torn", "{tmp_path / "torn.yaml"}")\n')
    done = cli("list", "suites", "--plugin", "mine.py")
    assert (done.status, done.err) == (0, "")
    (line,) = [line for line in done.out.splitlines() if line.startswith("  torn")]
    assert "torn.yaml: models: Field required" in line


def test_plugin_list_shows_origin_version_and_names(cli, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    done = cli("plugin", "list", "--plugin", "mine.py")
    assert done.status == 0
    assert "models 0.1.0  [ok]  adaptbench.models.builtin\n" in done.out
    assert "mine  [ok]  mine.py\n  model mine\n  task ask\n" in done.out


def test_plugin_list_shows_a_broken_one_with_its_traceback(cli, tmp_path):
    (tmp_path / "broken.py").write_text("def boom():\n    return 1 / 0\nboom()\n")
    done = cli("plugin", "list", "--plugin", "broken.py")
    assert done.status == 0
    text = done.out.partition("broken  [broken]  broken.py")[2]
    assert "Traceback (most recent call last)" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "models 0.1.0  [ok]" in done.out
    rows = json.loads(cli("plugin", "list", "--plugin", "broken.py", "--json").out)
    broken = next(row for row in rows if row["name"] == "broken")
    assert broken["error"] == "ZeroDivisionError: division by zero"
    assert "boom()" in broken["traceback"]
    assert broken["names"] == []


def test_list_says_that_an_installed_plugin_is_broken_and_goes_on(shell, tmp_path):
    info = tmp_path / "site" / "half_broken-1.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "half_broken.py").write_text("raise SystemExit(7)")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half-broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[adaptbench]\nhalf-broken = half_broken\n")
    done = shell("list", "models", PYTHONPATH=str(tmp_path / "site"), ADAPTBENCH_PLUGINS="half-broken")
    assert done.status == 0
    assert "pixels" in done.out
    assert done.err == "plugin 'half-broken' is broken; `adaptbench plugin list` shows why\n"


def test_control_characters_of_a_summary_are_shown(cli, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN.replace("My own", "\\x1b[31mred\\n"))
    done = cli("list", "models", "--plugin", "mine.py")
    assert "\x1b" not in done.out
    assert "\\x1b[31mred\\n" in done.out
