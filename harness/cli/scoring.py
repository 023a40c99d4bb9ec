"""``adaptbench score``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from ..contracts import Record
from ..errors import UserError
from ..planning import Request, plan_tasks
from ..plugins import load_plugins
from ..summary import summarise
from .output import write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..contracts import Json, Task


def score_predictions(name: str, predictions: Path, seed: int, extra: Sequence[str], *, as_json: bool) -> None:
    """Score the outputs of a file with a task's rule; samples without one are counted, never guessed."""
    planned = plan_tasks(load_plugins(extra).registry, Request((), (name,)))[0]
    step = planned.step
    task: Task = step.entry.factory()(**step.entry.bind(step.call, seed=seed))
    outputs = read_outputs(predictions / "records.jsonl" if predictions.is_dir() else predictions)
    known = {sample.id: sample for sample in task.samples}
    matched = [sample for sample in task.samples if sample.id in outputs]
    if not matched:
        raise UserError(
            f"none of its {len(outputs)} outputs is for a sample of {name}",
            where=str(predictions),
            todo="check task and seed",
        )
    records = []
    for sample in matched:
        parsed = task.parse(outputs[sample.id])
        records.append(Record(sample.id, "", outputs[sample.id], parsed, task.score(sample, parsed)))
    summary = summarise(planned.card, matched, records)
    counts = {
        "samples": len(known),
        "matched": len(matched),
        "missing": len(known) - len(matched),
        "unmatched": len(outputs.keys() - known.keys()),
        "unparsed": summary["unparsed"],
        "unscored": summary["unscored"],
    }
    rule = f"{planned.card.rule}/{planned.card.rule_version}"
    if as_json:
        metrics = {metric: estimate.model_dump() for metric, estimate in summary["metrics"].items()}
        write_json({"task": str(step.call), "rule": rule, **counts, "metrics": metrics})
        return
    typer.echo(f"{step.call}, rule {rule}")
    write_columns([[key, str(value)] for key, value in counts.items()])
    for metric in planned.card.metrics:
        estimate = summary["metrics"].get(metric.name)
        if estimate is not None:
            scale = 100 if metric.unit == "%" else 1
            ends = "" if estimate.low is None else f" [{scale * estimate.low:.2f}, {scale * (estimate.high or 0):.2f}]"
            typer.echo(f"  {metric.name}  {scale * estimate.value:.2f}{ends} {metric.unit}  ({estimate.method})")


def read_outputs(path: Path) -> dict[str, Json]:
    """Read JSON lines with the fields ``sample`` and ``output``; other fields, such as those of a record, are ignored.

    Raises:
        UserError: A line is not such an object, or a sample stands there twice.
    """
    outputs: dict[str, Any] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read it: {error}", where=str(path), todo="give a file of JSON lines") from error
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"not JSON: {error}", where=where, todo="write one object a line") from error
        if not isinstance(row, dict) or not isinstance(row.get("sample"), str) or "output" not in row:
            raise UserError(
                "not an object with the fields sample and output", where=where, todo="write one such object a line"
            )
        if row["sample"] in outputs:
            raise UserError(f"sample {row['sample']!r} stands there twice", where=where, todo="keep one of them")
        outputs[row["sample"]] = row["output"]
    return outputs
