"""``adaptbench figure``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from ..errors import UserError
from ..figures import FigureRequest
from ..plugins import load_plugins
from ..specs import parse_call
from ..store import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FORMATS = (".svg", ".pdf", ".png", ".html")


@dataclass(frozen=True, slots=True)
class FigureOptions:
    """What ``adaptbench figure`` is asked for; see `FigureRequest`."""

    name: str
    runs: Sequence[Path]
    out: Path | None
    task: str | None = None
    models: Sequence[str] = ()
    sample: str | None = None
    plugins: Sequence[str] = ()


def draw_figure(asked: FigureOptions) -> None:
    """Draw a figure of runs and say where it is."""
    if not asked.name:
        raise UserError("there is no figure to draw", todo="name one; `adaptbench figure --list` shows them")
    call, plugins = parse_call(asked.name), load_plugins(asked.plugins)
    entry = plugins.registry.find("figure", call.name)
    arguments = entry.bind(call)
    if not asked.runs:
        raise UserError("there is no run to draw", todo="name one or more run directories after the figure")
    formats = ", ".join(_FORMATS)
    if asked.out is None:
        raise UserError("there is no file to write", todo=f"give --out FILE, which ends in one of {formats}")
    if asked.out.suffix.lower() not in _FORMATS:
        raise UserError(f"a figure is not written as {asked.out.name!r}", where="--out", todo=f"use one of {formats}")
    request = FigureRequest(
        runs=tuple(RunDirectory.existing(path) for path in asked.runs),
        plugins=plugins,
        out=asked.out,
        task=asked.task,
        models=tuple(asked.models),
        sample=asked.sample,
    )
    entry.factory()(request, **arguments)
    typer.echo(str(asked.out))
