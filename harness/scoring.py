"""Outputs scored by a task's rules, without a model: predictions made elsewhere, or those of a run again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .abilities import Aggregating, Remarking, Rescorable, SaysWhatItRead
from .contracts import Record
from .faults import blamed_on
from .planning import PlannedTask, Request, plan_tasks
from .predictions import predictions_for, some, without_collection
from .summary import checked_scores, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from .contracts import Predictions, Task
    from .registry import Registry
    from .results import Estimate

ALL_RULES = "all"
"""Asks for every rule of the task."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What predictions come to.

    Attributes:
        task: Under the last of the rules.
        predictions: As they were read.
        by_rule: One dictionary per rule: ``task``, ``rule``, ``labels`` and ``answers`` (what was read), counts
            of samples, ``metrics``, ``breakdown``, ``units``.
        records: Rule -> the record of each sample that has a prediction.
    """

    task: Task
    predictions: Predictions
    by_rule: list[dict[str, Any]] = field(default_factory=list)
    records: dict[str, list[Record]] = field(default_factory=dict)


@without_collection()
def scores_of(  # noqa: PLR0913 - what is scored, and what is wanted of it
    registry: Registry,
    task: str,
    predictions: Path,
    *,
    rule: str | None = None,
    seed: int = 0,
    arguments: Mapping[str, Any],
    breakdown: bool = True,
) -> Scored:
    """Score the outputs of a file; samples without one are counted, never guessed.

    Args:
        registry: Where the task is looked up.
        task: Task spec.
        predictions: A cell's folder, JSON lines with the fields sample and output, or one of the task's formats.
        rule: A rule of the task, ``all`` of them, or ``None`` for its own.
        seed: Of the task's samples.
        arguments: Further arguments of the task.
        breakdown: Whether subsets are wanted.

    Raises:
        UserError: Task or rule do not exist, or the file cannot be read or answers none of the samples.
    """
    scored: Scored | None = None
    offered = {"seed": seed, "predictions": str(predictions.expanduser())}
    asked = _planned(registry, task, rule, arguments)
    with blamed_on(f"task {asked.step.call}", ""):
        for planned, each in _under_each(asked, rule, offered):
            scored = Scored(each, predictions_for(each, predictions)) if scored is None else replace(scored, task=each)
            told, scored.records[planned.card.rule] = _score(planned, each, scored.predictions, breakdown=breakdown)
            scored.by_rule.append(told)
    assert scored is not None  # noqa: S101 - a task has a rule
    return scored


def _planned(registry: Registry, task: str, rule: str | None, arguments: Mapping[str, Any]) -> PlannedTask:
    """The task with the arguments asked for."""
    (planned,) = plan_tasks(registry, Request((), (task,)))
    call = planned.step.call
    named = {} if rule in (None, ALL_RULES) else {"rule": rule}
    call = replace(call, args=tuple({**dict(call.args), **arguments, **named}.items()))
    return PlannedTask(replace(planned.step, call=call))


def _under_each(
    planned: PlannedTask, wanted: str | None, offered: Mapping[str, Any]
) -> Iterator[tuple[PlannedTask, Task]]:
    """The task under each rule asked for. A task that can change its rule reads its data once.

    Predictions are offered to the task's factory, like the seed: some carry the labels that they are scored by.
    """
    step = planned.step
    rules: list[str | None] = list(planned.card.rules) if wanted == ALL_RULES else []
    task: Any = None
    for rule in rules or [None]:
        call = step.call if rule is None else replace(step.call, args=(*step.call.args, ("rule", rule)))
        each = PlannedTask(replace(step, call=call))
        if rule is not None and isinstance(task, Rescorable):
            task = task.under(rule)
        else:
            task = step.entry.factory()(**step.entry.bind(call, **offered))
        yield each, task


def _score(
    planned: PlannedTask, task: Task, found: Predictions, *, breakdown: bool
) -> tuple[dict[str, Any], list[Record]]:
    """What the predictions come to under a task's rule, and the record of each."""
    card = planned.card
    matched, missing, records = [], [], []
    for sample in task.samples:
        if sample.id not in found.outputs:
            missing.append(sample.id)
            continue
        output = found.outputs[sample.id]
        parsed = task.parse(sample, output)
        scores = checked_scores(card, sample.id, task.score(sample, parsed))
        matched.append(sample)
        records.append(Record(sample.id, "", output, parsed, scores, group=sample.group))
    aggregate = task.aggregate if isinstance(task, Aggregating) else None
    summary = summarise(card, matched, records, aggregate, breakdown=breakdown)
    read_out = [record.parsed for record in records if record.scores]
    remarks = task.remarks(read_out) if isinstance(task, Remarking) else ()
    by_subset = {
        axis: {name: _dumped(metrics) for name, metrics in names.items()}
        for axis, names in summary["breakdown"].items()
    }
    told = {
        "task": str(planned.step.call),
        "rule": f"{card.rule}/{card.rule_version}",
        "labels": task.read if isinstance(task, SaysWhatItRead) else "",
        "answers": found.read,
        "samples": len(task.samples),
        "matched": len(matched),
        "missing": len(missing),
        "unmatched": len(found.unmatched),
        "unparsed": summary["unparsed"],
        "unscored": summary["unscored"],
        "notes": [
            *found.notes,
            *([f"no prediction for {some(missing, card.sample_noun)}"] if missing else []),
            *remarks,
        ],
        "metrics": _dumped(summary["metrics"]),
        "breakdown": by_subset,
        "units": {metric.name: metric.unit for metric in card.metrics},
    }
    return told, records


def _dumped(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    return {metric: estimate.model_dump() for metric, estimate in metrics.items()}
