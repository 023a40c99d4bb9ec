"""``adaptbench score``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import typer

from ..abilities import Aggregating, Rescorable, SubmissionWriter
from ..contracts import Record
from ..errors import UserError
from ..planning import PlannedTask, Request, plan_tasks
from ..plugins import load_plugins
from ..predictions import predictions_for, some
from ..summary import checked_scores, summarise
from .disagreements import disagreements, form_of, write
from .output import write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ..contracts import Predictions, Task
    from ..registry import Registry
    from ..results import Estimate


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


def score_predictions(asked: Scoring) -> None:
    """Score the outputs of a file by a task's rules; samples without one are counted, never guessed."""
    if asked.disagreements is not None:
        form_of(asked.disagreements)
        asked = replace(asked, rule=_ALL)
    scored: list[dict[str, Any]] = []
    records: dict[str, list[Record]] = {}
    found: Predictions | None = None
    for planned, task in _under_each(_planned(load_plugins(asked.plugins).registry, asked), asked):
        if found is None:
            found = predictions_for(task, asked.predictions)
            if asked.submission is not None:
                if not isinstance(task, SubmissionWriter):
                    raise UserError("no server scores this benchmark", where="--submission", todo="leave it out")
                task.write_submission(found.outputs, asked.submission)
        one, records[planned.card.rule] = _score(planned, task, found)
        scored.append(one)
    told = "" if asked.disagreements is None else _write_disagreements(asked.disagreements, task, records)
    if asked.as_json:
        write_json(scored if asked.rule == _ALL else scored[0])
        return
    _show_scored(asked, scored)
    if told:
        typer.echo(told)


def _write_disagreements(out: Path, task: Task, records: Mapping[str, Sequence[Record]]) -> str:
    """Write the samples that the rules score otherwise, and say how many there are."""
    if len(records) < 2:
        raise UserError("the task has one scoring rule only", where="--disagreements", todo="leave it out")
    rows = disagreements(task, records)
    write(out, rows, list(records))
    return f"{out}: {len(rows):,} of {len(next(iter(records.values()))):,} scored otherwise"


def _show_scored(asked: Scoring, scored: Sequence[Mapping[str, Any]]) -> None:
    typer.echo(f"{asked.task}, rule {', '.join(each['rule'] for each in scored)}")
    write_columns([[key, *(str(each[key]) for each in scored)] for key in _COUNTS])
    for note in scored[0]["notes"]:
        typer.echo(f"  note: {note}")
    units = scored[0]["units"]
    _show([each["metrics"] for each in scored], units)
    if asked.breakdown:
        for axis, names in scored[0]["breakdown"].items():
            for name in names:
                typer.echo(f"{axis} = {name}")
                _show([each["breakdown"][axis].get(name, {}) for each in scored], units)


_ALL = "all"
_COUNTS = ("samples", "matched", "missing", "unmatched", "unparsed", "unscored")


def _planned(registry: Registry, asked: Scoring) -> PlannedTask:
    """The task with the arguments asked for."""
    (planned,) = plan_tasks(registry, Request((), (asked.task,)))
    call = planned.step.call
    rule = {} if asked.rule in (None, _ALL) else {"rule": asked.rule}
    call = replace(call, args=tuple({**dict(call.args), **asked.arguments, **rule}.items()))
    return PlannedTask(replace(planned.step, call=call))


def _under_each(planned: PlannedTask, asked: Scoring) -> Iterator[tuple[PlannedTask, Task]]:
    """The task under each rule asked for. A task that can change its rule reads its data once."""
    step = planned.step
    rules: list[str | None] = list(planned.card.rules) if asked.rule == _ALL else []
    task: Any = None
    for rule in rules or [None]:
        call = step.call if rule is None else replace(step.call, args=(*step.call.args, ("rule", rule)))
        each = PlannedTask(replace(step, call=call))
        if rule is not None and isinstance(task, Rescorable):
            task = task.under(rule)
        else:
            task = step.entry.factory()(**step.entry.bind(call, seed=asked.seed))
        yield each, task


def _score(planned: PlannedTask, task: Task, found: Predictions) -> tuple[dict[str, Any], list[Record]]:
    """What the predictions come to under a task's rule, and the record of each."""
    card = planned.card
    matched = [sample for sample in task.samples if sample.id in found.outputs]
    missing = [sample.id for sample in task.samples if sample.id not in found.outputs]
    records = []
    for sample in matched:
        output = found.outputs[sample.id]
        parsed = task.parse(sample, output)
        scores = checked_scores(card, sample.id, task.score(sample, parsed))
        records.append(Record(sample.id, "", output, parsed, scores, group=sample.group))
    summary = summarise(card, matched, records, task.aggregate if isinstance(task, Aggregating) else None)
    breakdown = {
        axis: {name: _dumped(metrics) for name, metrics in names.items()}
        for axis, names in summary["breakdown"].items()
    }
    told = {
        "task": str(planned.step.call),
        "rule": f"{card.rule}/{card.rule_version}",
        "samples": len(task.samples),
        "matched": len(matched),
        "missing": len(missing),
        "unmatched": len(found.unmatched),
        "unparsed": summary["unparsed"],
        "unscored": summary["unscored"],
        "notes": [*found.notes, *([f"no prediction for {some(missing, card.sample_noun)}"] if missing else [])],
        "metrics": _dumped(summary["metrics"]),
        "breakdown": breakdown,
        "units": {metric.name: metric.unit for metric in card.metrics},
    }
    return told, records


def _dumped(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    return {metric: estimate.model_dump() for metric, estimate in metrics.items()}


def _show(by_rule: Sequence[Mapping[str, Any]], units: Mapping[str, str]) -> None:
    """Write a line a metric, a column a rule."""
    rows = []
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
