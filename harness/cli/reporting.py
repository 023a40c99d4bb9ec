"""``adaptbench report``."""

from __future__ import annotations

import gc
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UserError
from ..hashing import canonical_json, sha256_hex
from ..outputs import FOLDER, ReportRequest, file_form, write_report
from ..plugins import PluginNames, load_plugins
from ..progress import SILENT, StepBars
from ..specs import parse_call
from ..stamps import installed
from ..store import RunDirectory
from ..unchanged import is_written, last_worked_on, note_written, records_size, run_content
from .output import echo, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..plugins import Plugins
    from ..registry import Entry, Registry

_BOARD = "leaderboard"
"""The report that is meant if none is named; with a baseline it is the comparison."""
_COMPARISON = "comparison"
_RUNS = Path("runs")
"""Where `adaptbench run` puts runs."""
_LARGE = 100_000_000
"""Bytes of records from which on a report is a folder if it can be one and no file is named: some 100,000 records."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What ``adaptbench report`` is asked for.

    Attributes:
        runs: Default the latest one, unless a report is named.
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


class _Writer(NamedTuple):
    """A report, its arguments, and the ending of its file or folder."""

    entry: Entry
    arguments: dict[str, Any]
    form: str


def write_reports(asked: ReportOptions) -> None:
    """Write reports to their files or folders and say where they are."""
    plugins = load_plugins(asked.plugins)
    if asked.baseline and not asked.name:
        asked = replace(asked, name=_COMPARISON)
    if not (asked.runs or asked.name):
        asked = replace(asked, runs=_latest())
    runs = tuple(run for path in asked.runs for run in RunDirectory.within(path))
    parts = list(_parts(plugins.registry, asked, runs))
    stamps = [_stamp(plugins, runs, part, part.outs[0]) for part in parts]
    kept = [bool(stamp) and is_written(part.outs[0], runs, stamp) for part, stamp in zip(parts, stamps, strict=True)]
    writers = [None if keep else _writer(plugins.registry, part) for part, keep in zip(parts, kept, strict=True)]
    written = []
    for part, stamp, writer in zip(parts, stamps, writers, strict=True):
        out = part.outs[0]
        if writer:
            content = _made(plugins, runs, writer, told=not asked.as_json)
            if not (asked.runs or asked.outs):
                echo(content, nl=False)
                return
            write_report(out, writer.form, content)
            if stamp:
                note_written(out, runs, stamp)
        written.append(str(out / "index.html" if (out / "index.html").is_file() else out))
        if not asked.as_json:
            echo(written[-1])
    if asked.as_json:
        write_json(written)


def _latest() -> list[Path]:
    """The latest of the runs that are where `adaptbench run` puts them; none if there is none."""
    with suppress(UserError):
        return [last_worked_on(RunDirectory.within(_RUNS)).path]
    return []


def _parts(registry: Registry, asked: ReportOptions, runs: Sequence[RunDirectory]) -> Iterator[ReportOptions]:
    """One for each file: those that are named; else the usual one, with the reports that answer what suites ask."""
    for out in asked.outs:
        yield replace(asked, outs=[out])
    if not asked.outs:
        answers = [] if asked.name else dict.fromkeys(name for run in runs for name in run.reports())
        for part in (asked, *(replace(asked, name=name, hardware=()) for name in answers)):
            entry = registry.find("report", parse_call(part.name or _BOARD, "report").name)
            yield replace(part, outs=[_usual_out(entry, part, runs)])


def _made(plugins: Plugins, runs: tuple[RunDirectory, ...], writer: _Writer, *, told: bool) -> Any:
    """What a report returns."""
    entry, arguments, form = writer
    with ExitStack() as stack:
        gc.disable()  # what is read stays to the end: to look for garbage among it takes as long as all else
        stack.callback(gc.enable)
        progress = stack.enter_context(StepBars()) if told and sys.stderr.isatty() else SILENT
        request = ReportRequest(runs=runs, plugins=plugins, form=form, progress=progress)
        return entry.make(request, **arguments)


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
    own = (
        parse_call(asked.name or _BOARD, "report").name == _BOARD
        and (out.suffix.lower() or FOLDER) in board.card.formats
    )
    if not (runs and own) or plugins.names != PluginNames():
        return ""
    options = [asked.name, list(asked.hardware)]
    return sha256_hex(canonical_json([installed(), [run_content(run) for run in runs], options]))


def _writer(registry: Registry, asked: ReportOptions) -> _Writer:
    """The report that writes the file."""
    out = asked.outs[0]
    if asked.name:
        entry = registry.find("report", parse_call(asked.name, "report").name)
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
    return _Writer(entry, entry.bind(parse_call(asked.name or entry.name, "report"), **offered), form)
