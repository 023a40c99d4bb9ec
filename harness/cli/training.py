"""``adaptbench train``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..errors import UserError
from ..faults import blamed_on
from ..plugins import besides, load_plugins
from ..specs import Call, parse_call
from .output import echo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..specs import Value


def train_recipe(spec: str, out: Path, options: Sequence[str], extra: Sequence[str]) -> None:
    """Run a recipe, or go on with it, and say where the model is.

    Args:
        spec: The recipe, with arguments in parentheses or not.
        out: Folder.
        options: More of its arguments: ``--name value`` or ``--name=value``.
        extra: Plugins.
    """
    there = next(path for path in (out.expanduser(), *out.expanduser().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"{there} is a file", where="--out", todo="name a folder")
    call = parse_call(spec, "recipe")
    entry = load_plugins(extra).registry.find("recipe", call.name)
    given = dict(call.args)
    for name, value in _pairs(options, f"recipe {call.name}"):
        if name in given:
            raise UserError(f"argument {name!r} is given twice", where=f"recipe {call.name}", todo="give it once")
        given[name] = value
    call = Call(call.name, call.target, tuple(given.items()))
    arguments = entry.bind(call)
    with blamed_on(f"recipe {call}", str(out)), besides(extra):
        entry.factory()(out.expanduser(), **arguments)
    echo(str(out))


def _pairs(options: Sequence[str], where: str) -> list[tuple[str, Value]]:
    """Read options as names and values."""
    pairs, rest = [], list(options)
    while rest:
        option = rest.pop(0)
        name, equals, value = option.removeprefix("--").partition("=")
        if not option.startswith("--") or not name:
            raise UserError(f"{option!r} has no name", where=where, todo="write --name value")
        if not equals and not rest:
            raise UserError(f"{option} has no value", where=where, todo=f"write {option} VALUE")
        pairs.append((name.replace("-", "_"), _value(value if equals else rest.pop(0))))
    return pairs


def _value(text: str) -> Value:
    """Read a number, true, false or null; the rest is text."""
    try:
        value: Value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return value if value is None or isinstance(value, bool | int | float | str) else text
