"""What docs/plugins.md and docs/install.md show works as shown."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Protocol

import adaptbench
import pytest
import yaml
from adaptbench.harness import abilities, contracts, planning

ROOT = Path(adaptbench.__file__).parent
DOCS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def section(title):
    return DOCS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def example(title):
    """File name, code and command of an example."""
    text = section(title)
    name = re.search(r"into `(\w+\.py)`", text)[1]
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    command = re.search(r"^    adaptbench (.*)$", text, re.MULTILINE)[1]
    return name, code, shlex.split(command)


@pytest.mark.parametrize("title", ["A model in twelve lines", "A task in twelve lines"])
class TestTwelveLines:
    def test_are_twelve_lines(self, title):
        code = example(title)[1]
        assert len([line for line in code.splitlines() if line.strip()]) <= 12

    def test_run_as_they_stand(self, cli, tmp_path, title):
        name, code, command = example(title)
        (tmp_path / name).write_text(code)
        done = cli(*command, "--limit", 5, "--json")
        assert done.status == 0, done.err
        (cell,) = json.loads(done.out)["cells"]
        assert 0 <= cell["metrics"]["accuracy"]["value"] <= 1
        assert cell["samples"] == 5

    def test_keep_their_contracts(self, cli, tmp_path, title):
        name, code, _ = example(title)
        (tmp_path / name).write_text(code)
        done = cli("plugin", "check", name)
        assert done.status == 0
        assert all(line.startswith("checking ") for line in done.err.splitlines()), done.err
        assert "FAILED" not in done.out


def members(protocol):
    """Attributes as ``name``, methods as ``name(parameters)``, of a protocol and what it extends."""
    found = set()
    for cls in protocol.__mro__:
        if getattr(cls, "_is_protocol", False) and cls is not Protocol:
            found |= {name for name in cls.__annotations__ if not name.startswith("_")}
            for name, value in vars(cls).items():
                if inspect.isfunction(value) and not name.startswith("_"):
                    parameters = list(inspect.signature(value).parameters.values())[1:]
                    found.add(f"{name}({', '.join(str(p).partition(':')[0] for p in parameters)})")
                elif isinstance(value, property | functools.cached_property):
                    found.add(name)
    return found


def protocols(module):
    return {
        name: cls
        for name, cls in vars(module).items()
        if isinstance(cls, type)
        and getattr(cls, "_is_protocol", False)
        and cls.__module__ == module.__name__
        and not name.startswith("_")
    }


def table(title):
    """The rows of a section's table: each cell as the texts that stand in it as code."""
    rows = re.findall(r"^\| (`.*) \|$", section(title), re.MULTILINE)
    return [[re.findall(r"`([^`]+)`", cell) for cell in row.split(" | ")] for row in rows]


class TestTheContracts:
    def test_of_tasks_have_the_members_that_the_docs_show(self):
        assert {name for (name,), *_ in table("Tasks")} == members(contracts.Task)

    def test_of_inputs_and_samples_have_the_fields_that_the_docs_show(self):
        shown = [text for row in table("Tasks") for text in row[1] if "(" in text]
        for cls in (contracts.Input, contracts.Sample):
            assert f"{cls.__name__}({', '.join(field.name for field in dataclasses.fields(cls))})" in shown

    def test_of_capabilities_have_the_methods_that_the_docs_show(self):
        shown = {name: {text for text in told if "(" in text} for (name,), told, *_ in table("Capabilities")}
        assert shown == {name: members(protocol) for name, protocol in planning.CONTRACTS.items()}

    def test_of_abilities_have_the_members_that_the_docs_show(self):
        shown = {}
        for names, told, _ in table("Optional abilities"):
            each = [told] if len(names) == 1 else [[one] for one in told]
            shown |= {name: set(one) for name, one in zip(names, each, strict=True)}
        declared = {name: members(cls) for name, cls in protocols(abilities).items()}
        assert declared.pop("Episodes") == {"digest", "write(path)"}
        assert shown == declared

    def test_are_named_on_the_page_of_the_architecture(self):
        page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
        line = re.search(r"^  contracts .*what all must be: (.*)$", page, re.MULTILINE)[1]
        assert set(line.split(", ")) == set(protocols(contracts))


def test_the_public_api_is_documented():
    names = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", section("Public API"), re.MULTILINE)))
    assert sorted(names) == sorted(adaptbench.__all__)


def test_the_example_of_loading_models_runs_as_it_stands(capsys):
    code = re.search(r"```python\n(.*?)```", section("Public API"), re.DOTALL)[1]
    exec(code, {})
    shape, answers = capsys.readouterr().out.splitlines()
    assert (shape[:3], answers[:2]) == ("(1,", "['")


def test_every_field_of_every_card_is_documented():
    rows = dict(re.findall(r"^\| (?:`(\w+)`|all) \| (.*) \|$", section("Cards"), re.MULTILINE))
    fields = {card: set(re.findall(r"`([a-z_]+)`", text)) for card, text in rows.items()}
    shared = fields.pop("")
    for card in ("ModelCard", "MethodCard", "TaskCard"):
        assert fields.pop(card) | shared == set(getattr(adaptbench, card).model_fields)
    assert set(adaptbench.Metric.model_fields) <= fields.pop("Metric")
    assert fields == {}


def test_every_registration_is_documented_with_its_signature():
    from inspect import signature

    from adaptbench.harness.registry import Registrar

    calls = dict(re.findall(r"^\| `registry\.(\w+)\((.*?)\)`", section("What the registry takes"), re.MULTILINE))
    for kind in ("model", "method", "task", "suite", "report"):
        parameters = list(signature(getattr(Registrar, kind)).parameters.values())[1:]
        shown = [p.name if p.default is p.empty else f"{p.name}={p.default}" for p in parameters]
        first_by_name = next(i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY)
        assert calls[kind] == ", ".join([*shown[:first_by_name], "*", *shown[first_by_name:]])


def test_every_environment_variable_is_documented():
    used = {
        name
        for path in (ROOT / "harness").rglob("*.py")
        for name in re.findall(r"ADAPTBENCH_[A-Z_]+", path.read_text())
    }
    assert used == set(re.findall(r"^\| `(ADAPTBENCH_[A-Z_]+)`", DOCS, re.MULTILINE))


def test_every_extra_is_documented_with_its_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = dict(
        re.findall(r"^\| `([\w-]+)` \| .* \| (.*) ?\|$", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    )
    assert set(rows) == set(project["optional-dependencies"])
    for extra in ("torch", "gpu", "images", "datasets", "board", "tables"):
        wanted = {re.match(r"[\w-]+", requirement)[0] for requirement in project["optional-dependencies"][extra]}
        shown = {name.strip() for name in rows[extra].split(",")}
        assert {name.removesuffix("-python") for name in wanted} == shown


def test_the_suite_that_ships_runs_what_there_is(cli):
    done = cli("run", "demo", "--dry-run", "--json")
    assert done.status == 0, done.err
    suite = yaml.safe_load((ROOT / "tasks" / "suites" / "demo.yaml").read_text())
    swept = "vit-glyphs+layers"
    assert swept in suite["models"]
    talkers = [model for model in suite["models"] if model.startswith(("says", "tiny-llava"))]
    asked = [task for task in suite["tasks"] if task.startswith("shapes")]
    seeing = len(suite["models"]) - len(talkers) - 1 + len(suite["budgets"])
    shown = len(suite["tasks"]) - len(asked)
    speaking = len(talkers) - 1 + len(suite["budgets"])  # one of them takes budgets
    assert len(json.loads(done.out)["cells"]) == seeing * shown + speaking * len(asked)
