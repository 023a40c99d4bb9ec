"""What reports and figures are asked for. Both return the content of a file, which the command writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import UserError
from .specs import did_you_mean
from .store.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .costing import Cost
    from .plugins import Plugins
    from .selecting import Selected
    from .store import RunDirectory

FIGURE_FORMATS = (".svg", ".pdf", ".png", ".html")
"""Endings of the files that figures are written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """What a report is made of.

    Attributes:
        runs: Some reports, such as a published table computed again, need none.
        form: Ending of the file in small letters, such as ``.html``.
    """

    runs: tuple[RunDirectory, ...]
    plugins: Plugins
    form: str


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
    """Return the ending of a file in small letters.

    Raises:
        UserError: It is not one of ``formats``.
    """
    form = out.suffix.lower()
    if form in formats:
        return form
    problem = f"{what} is not written as {form!r}{did_you_mean(form, formats)}" if form else "the file has no ending"
    raise UserError(problem, where=str(out), todo=f"use one of {', '.join(formats)}")


def write_content(out: Path, content: str | bytes) -> None:
    """Write what a report or figure returned: a whole file, or none and a `UserError`."""
    if not isinstance(content, str | bytes):
        raise UserError(f"it returned a {type(content).__name__}", where=str(out), todo="return text or bytes")
    write_atomic(out, content.encode() if isinstance(content, str) else content)
