"""What is installed is what is in the tree, and works from anywhere."""

from __future__ import annotations

import json
import tarfile
import tomllib
import zipfile
from pathlib import Path

import adaptbench
import pytest

ROOT = Path(adaptbench.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOP = ("adapters", "harness", "leaderboards", "models", "tasks")
RUN = ("run", "--model", "pixels", "--task", "digits-5way-1shot(episodes=20)", "--out", "runs/x", "--json")


def shipped_files():
    """Every file of the package's folders, as a path below ``adaptbench/``."""
    files = {ROOT / "__init__.py", ROOT / "__main__.py", ROOT / "py.typed"}
    for top in TOP:
        files |= {path for path in (ROOT / top).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    return {path.relative_to(ROOT).as_posix() for path in files if not path.name.startswith(".")}


def test_the_packages_in_pyproject_are_the_folders():
    folders = {"adaptbench"}
    for top in TOP:
        for init in (ROOT / top).rglob("__init__.py"):
            folders.add(".".join(["adaptbench", *init.parent.relative_to(ROOT).parts]))
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(folders)


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        names = archive.namelist()
    inside = {name.removeprefix("adaptbench/") for name in names if name.startswith("adaptbench/")}
    assert inside == shipped_files()
    others = {name for name in names if not name.startswith("adaptbench/")}
    assert all(name.startswith("adaptbench-0.1.0.dist-info/") for name in others)
    assert "adaptbench-0.1.0.dist-info/licenses/LICENSE" in others


def test_the_sdist_can_be_built_from(distributions):
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert shipped_files() <= names
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


@pytest.fixture(params=["installed", "editable"])
def environment(request):
    return request.getfixturevalue(request.param)


class TestFromOutside:
    def test_it_is_the_installed_package_that_is_used(self, installed, editable, tree):
        where = "import adaptbench; print(adaptbench.__file__)"
        assert Path(installed.run("python", "-c", where).strip()).parent == installed.site / "adaptbench"
        assert Path(editable.run("python", "-c", where).strip()).parent == tree

    def test_the_version(self, environment):
        assert environment.run("adaptbench", "--version") == "adaptbench 0.1.0\n"
        assert environment.run("python", "-c", "import adaptbench; print(adaptbench.__version__)") == "0.1.0\n"

    def test_list(self, environment):
        rows = json.loads(environment.run("adaptbench", "list", "--json"))
        names = {(row["kind"], row["name"]) for row in rows}
        assert {("model", "pixels"), ("task", "digits"), ("suite", "demo"), ("report", "leaderboard")} <= names

    def test_run_and_report_with_the_templates_of_the_wheel(self, installed):
        (cell,) = json.loads(installed.run("adaptbench", *RUN))["cells"]
        assert 0.5 < cell["metrics"]["accuracy"]["value"] <= 1
        installed.run("adaptbench", "report", "runs/x", "--out", "board.html")
        assert "pixels" in (installed.work / "board.html").read_text()

    def test_the_shipped_suite_is_found_and_planned(self, environment):
        cells = json.loads(environment.run("adaptbench", "run", "demo", "--dry-run", "--json"))["cells"]
        assert {"pixels", "constant", "random"} <= {cell["model"] for cell in cells}

    def test_the_templates_of_a_new_plugin_are_there(self, environment):
        name = "fresh-things"
        if not (environment.work / name).exists():
            assert environment.run("adaptbench", "plugin", "new", name).splitlines()[0] == name
        assert (environment.work / name / "fresh_things" / "__init__.py").is_file()

    def test_it_says_that_it_is_typed(self, installed):
        assert (installed.site / "adaptbench" / "py.typed").is_file()

    def test_wheel_and_editable_give_the_same_figures(self, installed, editable):
        one, two = (json.loads(e.run("adaptbench", *RUN))["cells"][0] for e in (installed, editable))
        assert one["metrics"] == two["metrics"]
        assert one["records_sha256"] == two["records_sha256"]


def test_all_is_the_sum_of_the_extras_for_users():
    extras = PROJECT["project"]["optional-dependencies"]
    users = [name for name in extras if name not in ("all", "dev", "bench", "mlflow", "ray", "wandb")]
    assert extras["all"] == [f"adaptbench[{','.join(users)}]"]


def test_the_public_api_is_what_it_says():
    assert sorted(adaptbench.__all__) == adaptbench.__all__
    for name in adaptbench.__all__:
        assert getattr(adaptbench, name) is not None
    assert set(adaptbench.__all__) <= set(dir(adaptbench))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = adaptbench.nothing
