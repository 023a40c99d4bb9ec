"""``adaptbench list`` and ``adaptbench plugin list``."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

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
