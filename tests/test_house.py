"""The rules of the house, where no linter keeps them."""

from __future__ import annotations

import ast
import functools
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import adaptbench
import grimp

ROOT = Path(adaptbench.__file__).parent
TOP = ("adapters", "harness", "leaderboards", "models", "tasks")
FILES = [ROOT / "__init__.py", *sorted(path for top in TOP for path in (ROOT / top).rglob("*.py"))]
RUFF = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def named(path):
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def calls(path):
    """Names of what a file calls, as far as they stand there: ``time.perf_counter``."""
    return {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}


@functools.cache
def imports(path):
    """Modules that a file imports, and what it takes from them."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found += [f"{node.module}.{name.name}" for name in node.names]
    return found


def public(node, inside=()):
    """The public modules, classes and functions of a file, as (name, node)."""
    if isinstance(node, ast.Module):
        yield "module", node
    for child in node.body:
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)) and not child.name.startswith("_"):
            yield ".".join([*inside, child.name]), child
            if isinstance(child, ast.ClassDef):
                yield from public(child, (*inside, child.name))


def test_there_are_files_to_look_at():
    assert len(FILES) > 50


def test_files_have_at_most_500_lines():
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > 500} == {}


def test_functions_have_at_most_60_lines():
    long = {}
    for path in FILES:
        # The options of a command are its parameters; the function itself is one call.
        body = named(path) in {"harness/cli/app.py", "harness/cli/run_command.py"}
        for node in ast.walk(tree(path)):
            if isinstance(node, FUNCTIONS):
                lines = node.end_lineno - (node.body[0] if body else node).lineno + (not body)
                long |= {f"{named(path)}: {node.name}": lines} if lines > 60 else {}
    assert long == {}


def test_no_clock_but_the_measuring_one_tells_times():
    clocks = {
        f"time.{name}{ns}" for name in ("time", "perf_counter", "monotonic", "process_time") for ns in ("", "_ns")
    }
    others = [path for path in FILES if not named(path).startswith("harness/measure/")]
    used = {named(path): (calls(path) | set(imports(path))) & clocks for path in others}
    assert {name: found for name, found in used.items() if found} == {}


def test_nothing_is_unpickled_or_evaluated():
    loads = {"pickle.load", "pickle.loads", "torch.load"}
    used = {}
    for path in FILES:
        modules = {name.partition(".")[0] for name in imports(path)} & {"pickle", "marshal", "shelve", "dill"}
        used[named(path)] = modules | calls(path) & ({"eval", "exec", "compile", "__import__"} | loads)
    # Published caches are pickles; an allow-list says what they may ask for.
    assert {name: found for name, found in used.items() if found} == {"tasks/fewshot/old_pickles.py": {"pickle"}}


def test_the_package_is_imported_relatively():
    own = {named(path): [name for name in imports(path) if name.partition(".")[0] == "adaptbench"] for path in FILES}
    assert {name: found for name, found in own.items() if found} == {}


def test_the_engine_asks_for_abilities_by_their_protocols():
    """What models and tasks may do is declared in harness/abilities.py; other things are known by these names."""
    others = {"problem", "problem_mark", "ctx", "is_flag", "shape", "in_features", "sched_getaffinity", "getloadavg"}
    probed = [
        f"{named(path)}: {ast.unparse(node)}"
        for path in FILES
        if named(path).startswith("harness/")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "hasattr"}
        for name in node.args[1:2]
        if isinstance(name, ast.Constant) and not name.value.startswith("__") and name.value not in others
    ]
    assert probed == []


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("adaptbench", cache_dir=None)
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


def test_public_names_have_docstrings():
    found = [(f"{named(path)}: {name}", node) for path in FILES for name, node in public(tree(path))]
    bare = [name for name, node in found if ast.get_docstring(node) is None]
    assert len(bare) <= 0.05 * len(found), bare


def test_folders_nest_two_deep_at_most():
    deep = [named(path) for path in FILES if len(path.relative_to(ROOT).parts) > 3]
    assert deep == []


def test_ruff_keeps_the_other_rules_for_the_library():
    # Annotations, broad excepts, unsafe calls and asserts, prints, docstrings.
    assert set(RUFF["lint"]["select"]) >= {"ANN", "BLE", "S", "T20", "D", "PL"}
    given_up = {"ANN", "BLE", "S", "T20", "D"}
    assert [rule for rule in RUFF["lint"]["ignore"] if rule in given_up] == []
    for files, rules in RUFF["lint"]["per-file-ignores"].items():
        if not files.startswith(("tests/", "ci/")):
            assert set(rules) & (given_up - {"BLE"}) == set(), files


def test_test_files_have_names_of_their_own():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
