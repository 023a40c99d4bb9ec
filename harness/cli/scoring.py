"""``adaptbench score``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..abilities import SubmissionWriter
from ..errors import UserError
from ..plugins import load_plugins
from ..predictions import without_collection
from ..scoring import ALL_RULES, scores_of
from .disagreements import disagreements, form_of, write
from .output import say, write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ..scoring import Scored


@dataclass(frozen=True, slots=True)
class Scoring:
    """What ``adaptbench score`` is asked for.

    Attributes:
        task: Task spec.
        predictions: File or folder.
        arguments: Further arguments of the task: ``annotations``, ``questions``.
        rule: A rule of the task, ``all`` of them, or none for its own.
        breakdown: Also show the scores of every subset.
        submission: Where to write the official file of a benchmark that a server scores.
        disagreements: Where to write the samples that the rules score otherwise; asks for all rules.
    """

    task: str
    predictions: Path
    arguments: Mapping[str, str]
    seed: int = 0
    rule: str | None = None
    breakdown: bool = False
    submission: Path | None = None
    disagreements: Path | None = None
    plugins: Sequence[str] = ()
    as_json: bool = False


@without_collection()
def score_predictions(asked: Scoring) -> None:
    """Score the outputs of a file by a task's rules; samples without one are counted, never guessed."""
    if asked.disagreements is not None:
        form_of(asked.disagreements)
        asked = replace(asked, rule=ALL_RULES)
    registry = load_plugins(asked.plugins).registry
    found = scores_of(
        registry,
        asked.task,
        asked.predictions,
        rule=asked.rule,
        seed=asked.seed,
        arguments=asked.arguments,
        breakdown=asked.breakdown or asked.as_json,
    )
    told: list[str] = []
    if asked.submission is not None:
        if not isinstance(found.task, SubmissionWriter):
            raise UserError("no server scores this benchmark", where="--submission", todo="leave it out")
        found.task.write_submission(found.predictions.outputs, asked.submission)
        told.append(f"{asked.submission}: what the benchmark's server takes")
    scored = found.by_rule
    if asked.disagreements is not None:
        told.append(_write_disagreements(asked.disagreements, found))
    if asked.as_json:
        write_json(scored if asked.rule == ALL_RULES else scored[0])
        return
    _show_scored(asked, scored)
    for line in told:
        say(line)


def _write_disagreements(out: Path, found: Scored) -> str:
    """Write the samples that the rules score otherwise, and say how many there are."""
    if len(found.records) < 2:
        raise UserError("the task has one scoring rule only", where="--disagreements", todo="leave it out")
    rows = disagreements(found.task, found.records)
    write(out, rows, list(found.records))
    return f"{out}: {len(rows):,} of {len(next(iter(found.records.values()))):,} scored otherwise"


def _show_scored(asked: Scoring, scored: Sequence[Mapping[str, Any]]) -> None:
    rules = [each["rule"] for each in scored]
    say(f"{asked.task}, rule {', '.join(rules)}")
    write_columns([[key, scored[0][key]] for key in ("labels", "answers") if scored[0][key]])
    header = [["", *rules]] if len(rules) > 1 else []
    write_columns([*header, *([key, *(str(each[key]) for each in scored)] for key in _COUNTS)])
    for note in scored[0]["notes"]:
        say(f"  note: {note}")
    units = scored[0]["units"]
    _show([each["metrics"] for each in scored], units, rules)
    if asked.breakdown:
        for axis, names in scored[0]["breakdown"].items():
            for name in names:
                say(f"{axis} = {name}")
                _show([each["breakdown"][axis].get(name, {}) for each in scored], units, rules)


_COUNTS = ("samples", "matched", "missing", "unmatched", "unparsed", "unscored")


def _show(by_rule: Sequence[Mapping[str, Any]], units: Mapping[str, str], rules: Sequence[str]) -> None:
    """Write a line a metric, a column a rule; several rules have a header."""
    rows = [["", *rules, "unit", "interval"]] if len(rules) > 1 else []
    for name in dict.fromkeys(name for metrics in by_rule for name in metrics):
        found = [metrics.get(name) for metrics in by_rule]
        method = next(estimate["method"] for estimate in found if estimate)
        shown = ("-" if estimate is None else _figure(estimate, units[name]) for estimate in found)
        rows.append([name, *shown, units[name], f"({method})"])
    write_columns(rows)


def _figure(estimate: Mapping[str, Any], unit: str) -> str:
    scale = 100 if unit == "%" else 1
    ends = ""
    if estimate["low"] is not None and estimate["high"] is not None:
        ends = f" [{scale * estimate['low']:.2f}, {scale * estimate['high']:.2f}]"
    return f"{scale * estimate['value']:.2f}{ends}"
