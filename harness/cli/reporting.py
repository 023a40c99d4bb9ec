"""``adaptbench report``."""

from __future__ import annotations

import gc
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..hashing import canonical_json, sha256_hex
from ..outputs import FOLDER, ReportRequest, file_form, write_report
from ..plugins import PluginNames, load_plugins
from ..progress import SILENT, StepBars
from ..specs import parse_call
from ..stamps import installed
from ..store import RunDirectory
from ..unchanged import is_written, note_written, records_size, run_content
from .output import echo, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..plugins import Plugins
    from ..registry import Entry, Registry

_BOARD = "leaderboard"
"""The report that is meant if none is named; with a baseline it is the comparison."""
_COMPARISON = "comparison"
_LARGE = 100_000_000
"""Bytes of records from which on a report is a folder if it can be one and no file is named: some 100,000 records."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What ``adaptbench report`` is asked for.

    Attributes:
        outs: Files or folders to write; default RUN/REPORT.html, of a large run RUN/REPORT/, and without a run the
            terminal.
        name: The report with its arguments; empty for the leaderboard, or for what writes an ending that it lacks.
        baseline: Model spec that every other model is compared with.
        hardware: Accelerators to predict the time of prefills for.
    """

    runs: Sequence[Path]
    outs: Sequence[Path] = ()
    name: str = ""
    baseline: str = ""
    hardware: Sequence[str] = ()
    plugins: Sequence[str] = ()
    as_json: bool = False


def write_reports(asked: ReportOptions) -> None:
    """Write a report to each file or folder and say where they are."""
    plugins = load_plugins(asked.plugins)
    if asked.baseline and not asked.name:
        asked = replace(asked, name=_COMPARISON)
    usual = plugins.registry.find("report", parse_call(asked.name or _BOARD).name)
    runs = tuple(run for path in asked.runs for run in RunDirectory.within(path))
    outs = asked.outs or [_usual_out(usual, asked, runs)]
    stamps = {out: _stamp(plugins, runs, asked, out) for out in outs}
    changed = [out for out in outs if not (stamps[out] and is_written(out, runs, stamps[out]))]
    writers = [_writer(plugins.registry, asked, out) for out in changed]
    for out, (entry, arguments, form) in zip(changed, writers, strict=True):
        with ExitStack() as stack:
            gc.disable()  # what is read stays to the end: to look for garbage among it takes as long as all else
            stack.callback(gc.enable)
            told = sys.stderr.isatty() and not asked.as_json
            progress = stack.enter_context(StepBars()) if told else SILENT
            request = ReportRequest(runs=runs, plugins=plugins, form=form, progress=progress)
            content = entry.make(request, **arguments)
            if asked.runs or asked.outs:
                write_report(out, form, content)
        if not (asked.runs or asked.outs):
            echo(content, nl=False)
            return
        if stamps[out]:
            note_written(out, runs, stamps[out])
    written = [str(out / "index.html" if (out / "index.html").is_file() else out) for out in outs]
    if asked.as_json:
        write_json(written)
    else:
        echo("\n".join(written))


def _usual_out(entry: Entry, asked: ReportOptions, runs: Sequence[RunDirectory]) -> Path:
    """Where a report goes if no file is named; without a run only the ending counts, since it goes to the terminal."""
    formats = entry.card.formats
    if not runs:
        return Path(f"{entry.name}{'.json' if asked.as_json and '.json' in formats else '.md'}")
    large = FOLDER in formats and sum(map(records_size, runs)) >= _LARGE
    return asked.runs[0] / f"{entry.name}{'' if large else formats[0]}"


def _stamp(plugins: Plugins, runs: Sequence[RunDirectory], asked: ReportOptions, out: Path) -> str:
    """What a file is made of, for it not to be made again; empty if that cannot be told.

    Other reports may read more than the runs, and plugins anything.
    """
    board = plugins.registry.find("report", _BOARD)
    own = parse_call(asked.name or _BOARD).name == _BOARD and (out.suffix.lower() or FOLDER) in board.card.formats
    if not (runs and own) or plugins.names != PluginNames():
        return ""
    options = [asked.name, list(asked.hardware)]
    return sha256_hex(canonical_json([installed(), [run_content(run) for run in runs], options]))


def _writer(registry: Registry, asked: ReportOptions, out: Path) -> tuple[Entry, dict[str, Any], str]:
    """The report that a file is written by, its arguments, and its form."""
    if asked.name:
        entry = registry.find("report", parse_call(asked.name).name)
        form = file_form(out, entry.card.formats, f"the report {entry.name!r}")
    else:
        every = sorted(registry.entries("report"), key=lambda entry: entry.name != _BOARD)
        form = file_form(out, list(dict.fromkeys(f for entry in every for f in entry.card.formats)), "a report")
        entry = next(entry for entry in every if form in entry.card.formats)
    if asked.hardware and "hardware" not in entry.takes():
        raise UserError(f"the report {entry.name!r} has no predicted times", todo="leave --hardware out")
    if asked.baseline and "baseline" not in entry.takes():
        raise UserError(f"the report {entry.name!r} compares with no baseline", todo="leave --baseline or --table out")
    given = {"hardware": tuple(asked.hardware), "baseline": asked.baseline}
    offered = {name: value for name, value in given.items() if value}
    return entry, entry.bind(parse_call(asked.name or entry.name), **offered), form
