"""``adaptbench report``."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING

import typer

from ..errors import UserError
from ..plugins import load_plugins
from ..store import RunDirectory
from .output import write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..plugins import Plugins


def write_reports(
    runs: Sequence[Path], outs: Sequence[Path], extra: Sequence[str], hardware: Sequence[str] = (), *, as_json: bool
) -> None:
    """Write each file in the format that its ending names, with predicted times for some hardware."""
    plugins = load_plugins(extra)
    directories = _directories(runs)
    targets = outs or [runs[0] / "leaderboard.html"]
    writers = []
    for out in targets:
        if not out.suffix:
            known = ", ".join(entry.name for entry in plugins.registry.entries("report"))
            raise UserError(
                "the file name has no ending to tell the format by", where=str(out), todo=f"use one of {known}"
            )
        writers.append(_writer(plugins, out, hardware))
    for out, write in zip(targets, writers, strict=True):
        write(directories, out, plugins)
    _say(targets, as_json=as_json)


def write_table(
    name: str,
    runs: Sequence[Path],
    outs: Sequence[Path],
    extra: Sequence[str],
    hardware: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Write another table than the board to each file, in the format that its ending names."""
    if hardware:
        raise UserError(f"the table {name!r} has no predicted times", todo="leave --hardware out, or --table")
    plugins = load_plugins(extra)
    write = plugins.registry.find("table", name).factory()
    directories = _directories(runs)
    targets = outs or [runs[0] / f"{name}.html"]
    for out in targets:
        write(directories, out, plugins)
    _say(targets, as_json=as_json)


def _directories(runs: Sequence[Path]) -> list[RunDirectory]:
    if not runs:
        raise UserError(
            "there is no run to report on", todo="name one or more run directories; see `adaptbench report --help`"
        )
    return [RunDirectory.existing(path) for path in runs]


def _say(targets: Sequence[Path], *, as_json: bool) -> None:
    """Say what was written."""
    if as_json:
        write_json([str(out) for out in targets])
        return
    for out in targets:
        typer.echo(str(out))


def _writer(plugins: Plugins, out: Path, hardware: Sequence[str]) -> Callable[..., None]:
    """What writes a file of this ending."""
    write: Callable[..., None] = plugins.registry.find("report", out.suffix.lower()).factory()
    if not hardware:
        return write
    from ..measure.roofline import find_accelerator

    if "hardware" not in inspect.signature(write).parameters:
        raise UserError(
            f"a {out.suffix} report has no predicted times", where=str(out), todo="leave --hardware out, or write .html"
        )
    return functools.partial(write, hardware=[find_accelerator(name) for name in dict.fromkeys(hardware)])


def show_published(name: str, extra: Sequence[str], *, as_json: bool) -> None:
    """Write a published table with what is computed again beside it."""
    registry = load_plugins(extra).registry
    rows = registry.find("comparison", name).factory()(registry)
    if as_json:
        write_json(rows)
        return
    write_columns([list(rows[0]), *([str(value) for value in row.values()] for row in rows)])
