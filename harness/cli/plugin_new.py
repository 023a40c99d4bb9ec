"""``adaptbench plugin new``."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from ..errors import UserError
from ..store.files import make_folder, write_atomic

_FILES = {
    "pyproject.toml": "pyproject.toml.j2",
    "README.md": "README.md.j2",
    "{package}/__init__.py": "plugin.py.j2",
    "tests/test_{package}.py": "test_plugin.py.j2",
}


def write_package(name: str, folder: Path) -> Path:
    """Write a plugin package with a model, a task and a test, and return its folder."""
    from jinja2 import Environment, StrictUndefined

    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9]*([-_][a-zA-Z0-9]+)*", name):
        raise UserError(f"{name!r} is no name for a package", todo="use letters, digits and '-', as in my-models")
    root = folder / name
    package = name.replace("-", "_").lower()
    if root.exists():
        raise UserError("it exists already", where=str(root), todo="choose another name or --in another folder")
    if keyword.iskeyword(package) or find_spec(package) is not None:
        raise UserError(f"Python has a module or a word {package!r} already", todo="choose another name")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - Python and TOML
    templates = resources.files("adaptbench.harness.scaffold")
    for path, template in _FILES.items():
        text = environment.from_string((templates / template).read_text("utf-8")).render(name=name, package=package)
        target = root / path.format(package=package)
        make_folder(target.parent)
        write_atomic(target, text.encode())
    return root
