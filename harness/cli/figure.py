"""``adaptbench figure``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UserError
from ..outputs import FIGURE_FORMATS, FigureRequest, file_form, write_content
from ..plugins import load_plugins
from ..specs import parse_call
from ..store import RunDirectory
from .output import echo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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
    call, plugins = parse_call(asked.name, "figure"), load_plugins(asked.plugins)
    entry = plugins.registry.find("figure", call.name)
    arguments = entry.bind(call)
    if not asked.runs:
        raise UserError("there is no run to draw", todo="name one or more run directories after the figure")
    if asked.out is None:
        endings = ", ".join(FIGURE_FORMATS)
        raise UserError("there is no file to write", todo=f"give --out FILE, which ends in one of {endings}")
    form = file_form(asked.out, FIGURE_FORMATS, "a figure")
    request = FigureRequest(
        runs=tuple(run for path in asked.runs for run in RunDirectory.within(path)),
        plugins=plugins,
        form=form,
        task=asked.task,
        models=tuple(asked.models),
        sample=asked.sample,
    )
    write_content(asked.out, entry.make(request, **arguments))
    echo(str(asked.out))
