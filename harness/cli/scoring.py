"""``adaptbench score``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import typer

from ..contracts import Record
from ..errors import UserError
from ..identity import sample_digests
from ..planning import Request, plan_tasks
from ..plugins import load_plugins
from ..summary import summarise
from .output import write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ..cards import Metric
    from ..contracts import Json, Sample, Task
    from ..results import Estimate


def score_predictions(name: str, predictions: Path, seed: int, extra: Sequence[str], *, as_json: bool) -> None:
    """Score the outputs of a file with a task's rule; samples without one are counted, never guessed."""
    planned = plan_tasks(load_plugins(extra).registry, Request((), (name,)))[0]
    path = predictions / "records.jsonl" if predictions.is_dir() else predictions
    outputs = read_outputs(path)
    step = planned.step
    task: Task = step.entry.factory()(**step.entry.bind(step.call, seed=seed))
    matched = _matched(task, outputs, path)
    records = []
    for sample in matched:
        output = outputs[sample.id].output
        parsed = task.parse(output)
        records.append(Record(sample.id, "", output, parsed, task.score(sample, parsed)))
    summary = summarise(planned.card, matched, records)
    counts = {
        "samples": len(task.samples),
        "matched": len(matched),
        "missing": len(task.samples) - len(matched),
        "unmatched": len(outputs) - len(matched),
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
        if metric.name in summary["metrics"]:
            typer.echo(f"  {_shown(metric, summary['metrics'][metric.name])}")


def _shown(metric: Metric, estimate: Estimate) -> str:
    scale = 100 if metric.unit == "%" else 1
    ends = ""
    if estimate.low is not None and estimate.high is not None:
        ends = f" [{scale * estimate.low:.2f}, {scale * estimate.high:.2f}]"
    return f"{metric.name}  {scale * estimate.value:.2f}{ends} {metric.unit}  ({estimate.method})"


class Output(NamedTuple):
    """A raw output, and the hash of the inputs that it answers where the file states it."""

    output: Json
    input: str


def _matched(task: Task, outputs: Mapping[str, Output], path: Path) -> list[Sample]:
    """The samples that have an output, after a look whether the output is about the same inputs."""
    matched = [sample for sample in task.samples if sample.id in outputs]
    todo = "check task and seed"
    if not matched:
        raise UserError(f"none of its {len(outputs)} outputs is for a sample of this task", where=str(path), todo=todo)
    if any(outputs[sample.id].input for sample in matched):
        for sample, content in zip(matched, sample_digests(task, matched), strict=True):
            if outputs[sample.id].input not in ("", content):
                raise UserError(
                    f"the output of sample {sample.id!r} is about other inputs than this task's",
                    where=str(path),
                    todo=todo,
                )
    return matched


def read_outputs(path: Path) -> dict[str, Output]:
    """Read JSON lines with the fields ``sample`` and ``output``, such as a cell's records.

    A field ``input`` is kept; others are ignored.

    Raises:
        UserError: A line is not such an object, or a sample stands there twice.
    """
    outputs: dict[str, Output] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"cannot read it: {error.strerror}", where=str(path), todo="give a file of JSON lines"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError("not UTF-8 text", where=str(path), todo="give a file of JSON lines") from error
    for number, line in enumerate(text.split("\n"), 1):  # a JSON text may hold other characters that end lines
        if line.strip():
            sample, output = _output(line, where=f"{path}, line {number}")
            if sample in outputs:
                raise UserError(
                    f"sample {sample!r} stands there twice", where=f"{path}, line {number}", todo="keep one of them"
                )
            outputs[sample] = output
    return outputs


def _output(line: str, where: str) -> tuple[str, Output]:
    try:
        row = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=where, todo="write one object a line") from error
    if not isinstance(row, dict) or not isinstance(row.get("sample"), str) or "output" not in row:
        raise UserError(
            "not an object with the fields sample and output", where=where, todo="write one such object a line"
        )
    return row["sample"], Output(row["output"], str(row.get("input", "")))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number that JSON has")
