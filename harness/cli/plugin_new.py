"""``adaptbench plugin new``."""

from __future__ import annotations

import keyword
import re
import shlex
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..errors import UserError
from ..store.files import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KINDS = ("model", "method", "benchmark", "figure")
DEFAULT = ("model", "benchmark")
_EXTRAS = {"method": "torch", "figure": "board"}
"""What a kind needs of AdaptBench's extras."""
_GREYS = range(10, 250, 20)
"""Levels of the images that a new benchmark asks about."""


def write_package(name: str, folder: Path, kinds: Sequence[str] = DEFAULT) -> Path:
    """Write a plugin package with something of each kind and its test, and return its folder.

    Args:
        name: Of the package; its module is called alike.
        folder: Parent folder.
        kinds: Some of `KINDS`.

    Raises:
        UserError: The name cannot be a package's, or is taken.
    """
    from jinja2 import Environment, StrictUndefined

    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9]*([-_][a-zA-Z0-9]+)*", name):
        raise UserError(f"{name!r} cannot name a package", todo="use letters, digits and '-', as in my-models")
    root = folder / name
    package = name.replace("-", "_").lower()
    if root.exists():
        raise UserError("it exists already", where=str(root), todo="choose another name or --in another folder")
    if keyword.iskeyword(package) or find_spec(package) is not None:
        raise UserError(f"Python has a module or a word {package!r} already", todo="choose another name")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - Python and TOML
    templates = resources.files("adaptbench.harness.scaffold")
    extras = ",".join(_EXTRAS[kind] for kind in kinds if kind in _EXTRAS)
    *others, last = (f"a {kind}" for kind in kinds)
    given = {
        "name": name,
        "package": package,
        "kinds": kinds,
        "parts": " and ".join(filter(None, (", ".join(others), last))),
        "levels": _GREYS,
        "extras": f"[{extras}]" if extras else "",
    }
    for path, template in _files(package, kinds).items():
        text = environment.from_string((templates / f"{template}.j2").read_text("utf-8")).render(given, path=path)
        make_folder((root / path).parent)
        write_atomic(root / path, text.encode())
    return root


def next_steps(root: Path) -> list[str]:
    """The commands to type after `write_package` made a folder; its README has more of them."""
    return [
        f"cd {shlex.quote(str(root))}",
        "pip install -e .",
        "python -m pytest",
        f"adaptbench plugin check {root.name}",
    ]


def _files(package: str, kinds: Sequence[str]) -> dict[str, str]:
    """Path in the package -> name of its template."""
    files = {"pyproject.toml": "pyproject.toml", "README.md": "README.md", f"{package}/__init__.py": "init.py"}
    files["tests/test_contracts.py"] = "test_contracts.py"
    for kind in kinds:
        files |= {f"{package}/{kind}.py": f"{kind}.py", f"tests/test_{kind}.py": f"test_{kind}.py"}
    if "benchmark" in kinds:
        files |= {f"{package}/data/grey-{level}.pgm": "grey.pgm" for level in _GREYS}
        files |= {f"{package}/data/questions.csv": "questions.csv", "tests/answers.jsonl": "answers.jsonl"}
    return files
