"""What reports and figures are asked for. They return the content of a file or of a folder, which is written here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from .errors import UserError
from .progress import SILENT, Steps
from .specs import did_you_mean
from .store.files import disk_errors, make_folder, write_atomic
from .texts import utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .costing import Cost
    from .plugins import Plugins
    from .selecting import Selected
    from .store import RunDirectory

FIGURE_FORMATS = (".svg", ".pdf", ".png", ".html")
"""Endings of the files that figures are written to."""
FOLDER = "/"
"""Stands among the formats of a report that can be a folder of files."""
_MARK = ".adaptbench-report"
"""File in a folder that a report was written to: it may be replaced."""

Files: TypeAlias = "Iterable[tuple[str, str | bytes]]"
"""The files of a folder: each a path below it, with ``/`` between its parts, and its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """What a report is made of.

    Attributes:
        runs: Some reports, such as a published table computed again, need none.
        form: Ending of the file in small letters, such as ``.html``; ``/`` for a folder.
        progress: Is told how far the report is.
    """

    runs: tuple[RunDirectory, ...]
    plugins: Plugins
    form: str
    progress: Steps = SILENT


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRequest(ReportRequest):
    """What a figure is made of: cells of runs, or costs of architectures.

    Attributes:
        task: Only this task; ``None`` for all.
        models: Only these, as specs with or without a budget; none for all.
        sample: Id of the sample, for figures of one.
        costs: What ``adaptbench cost --out`` draws.
        title: Of the drawing of costs.
        selection: What ``adaptbench select --figure`` draws.
    """

    task: str | None = None
    models: tuple[str, ...] = ()
    sample: str | None = None
    costs: tuple[Cost, ...] = ()
    title: str = ""
    selection: Selected | None = None


def file_form(out: Path, formats: Sequence[str], what: str) -> str:
    """Return the ending of a file in small letters; `FOLDER` if it is a folder or has none, and that is a format.

    Raises:
        UserError: It is not one of ``formats``.
    """
    form = out.suffix.lower()
    if FOLDER in formats and (not form or out.is_dir()):
        return FOLDER
    if form in formats:
        return form
    problem = f"{what} is not written as {form!r}{did_you_mean(form, formats)}" if form else "the file has no ending"
    named = ["a folder" if one == FOLDER else one for one in formats]
    raise UserError(problem, where=str(out), todo=f"use one of {', '.join(named)}")


def write_report(out: Path, form: str, content: str | bytes | Files) -> None:
    """Write what a report returned in a form that `file_form` gave: a file, or the files of a folder."""
    if form != FOLDER:
        write_content(out, content)
    elif isinstance(content, str | bytes):
        raise UserError("it returned one content for a folder", where=str(out), todo="return paths with contents")
    else:
        _write_folder(out.resolve(), content)


def write_content(out: Path, content: object) -> None:
    """Write what a report or figure returned: a whole file, or none and a `UserError`."""
    write_atomic(out, _bytes(out, content))


def _bytes(out: Path, content: object) -> bytes:
    if not isinstance(content, str | bytes):
        raise UserError(f"it returned a {type(content).__name__}", where=str(out), todo="return text or bytes")
    return utf8(content) if isinstance(content, str) else content


def _write_folder(out: Path, files: Files) -> None:
    """Write a whole folder in place of what a report wrote there before, file by file; or none and a `UserError`."""
    if out.exists() and not (out.is_dir() and ((out / _MARK).is_file() or not any(out.iterdir()))):
        raise UserError("it exists, and no report wrote it", where=str(out), todo="name a new or an empty folder")
    draft, old = out.with_name(f".{out.name}.tmp"), out.with_name(f".{out.name}.old")
    with disk_errors(out):
        for left in filter(Path.exists, (draft, old)):
            shutil.rmtree(left)
        try:
            for name, content in files:
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise UserError(f"it returned the path {name!r}", where=str(out), todo="return paths below it")
                write_atomic(draft / name, _bytes(out / name, content), durable=False)
            write_atomic(make_folder(draft) / _MARK, b"A report replaces this folder as a whole.\n")
            if out.exists():
                out.replace(old)
            draft.replace(out)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
