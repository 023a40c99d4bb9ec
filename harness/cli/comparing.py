"""``adaptbench compare``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UserError
from ..outputs import ReportRequest, file_form, write_content
from ..plugins import load_plugins
from ..specs import parse_call
from ..store import RunDirectory
from .output import echo, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_REPORT = "comparison"


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What ``adaptbench compare`` is asked for.

    Attributes:
        sides: One or two of ``RUN`` and ``RUN#SPEC``: the baseline's first.
        baseline: Model spec of the baseline, if its side names none; empty for the whole run.
        candidate: Likewise.
        outs: Files to write; default the terminal.
        samples: Samples that flipped to show, of each direction.
    """

    sides: Sequence[str]
    baseline: str = ""
    candidate: str = ""
    outs: Sequence[Path] = ()
    samples: int = 10
    plugins: Sequence[str] = ()
    as_json: bool = False


def compare_sides(asked: CompareOptions) -> None:
    """Write a comparison to each file, or show it."""
    plugins = load_plugins(asked.plugins)
    entry = plugins.registry.find("report", _REPORT)
    for out in asked.outs:
        file_form(out, entry.card.formats, "a comparison")
    named = [side.partition("#")[::2] for side in asked.sides]
    runs = tuple(RunDirectory.existing(path) for path, _ in named)
    models = {
        option: _one(option, given, spec)
        for option, given, (_, spec) in (
            ("baseline", asked.baseline, named[0]),
            ("candidate", asked.candidate, named[-1] if len(named) > 1 else ("", "")),
        )
    }
    arguments = entry.bind(parse_call(_REPORT), samples=asked.samples, **models)

    def content(form: str) -> str | bytes:
        made: str | bytes = entry.make(ReportRequest(runs=runs, plugins=plugins, form=form), **arguments)
        return made

    for out in asked.outs:
        write_content(out, content(out.suffix.lower()))
    if not asked.outs:
        echo(content(".json" if asked.as_json else ".txt"), nl=False)
    elif asked.as_json:
        write_json([str(out) for out in asked.outs])
    else:
        echo("\n".join(map(str, asked.outs)))


def _one(option: str, given: str, named: str) -> str:
    """The model that is meant, by its option or after ``#``."""
    if given and named:
        raise UserError(f"the model is named twice: {named} and {given}", where=f"--{option}", todo="name it once")
    return given or named
