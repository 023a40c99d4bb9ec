"""``adaptbench train``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ..faults import blamed_on
from ..plugins import load_plugins
from ..specs import parse_call

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def train_recipe(spec: str, out: Path, extra: Sequence[str]) -> None:
    """Run a recipe, or go on with it, and say where the model is."""
    call = parse_call(spec)
    entry = load_plugins(extra).registry.find("recipe", call.name)
    arguments = entry.bind(call)
    with blamed_on(f"recipe {call}", str(out)):
        entry.factory()(out.expanduser(), **arguments)
    typer.echo(str(out))
