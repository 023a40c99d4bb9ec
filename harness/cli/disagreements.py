"""Samples that scoring rules score otherwise, as JSON for programs or as a table for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..contracts import Prompt
from ..markdown import markdown_table, plain
from ..outputs import file_form, write_content

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ..contracts import Record, Sample, Task

_FORMATS = (".json", ".md")
_LONGEST = 300


def form_of(out: Path) -> str:
    """Return the ending of the file, or refuse it with a `UserError`."""
    return file_form(out, _FORMATS, "a list of disagreements")


def disagreements(task: Task, by_rule: Mapping[str, Sequence[Record]]) -> list[dict[str, Any]]:
    """Return the samples whose scores are not the same under all rules.

    Args:
        task: Whose samples they are, under any of the rules.
        by_rule: Rule -> its records, of the same samples in the same order.

    Returns:
        One row per sample: its id, question, right answer and output, and per rule what was read and the scores.
    """
    samples = {sample.id: sample for sample in task.samples}
    rows = []
    for records in zip(*by_rule.values(), strict=True):
        if any(record.scores != records[0].scores for record in records):
            sample = samples[records[0].sample]
            rules = {
                rule: {"parsed": record.parsed, "scores": record.scores}
                for rule, record in zip(by_rule, records, strict=True)
            }
            rows.append(
                {
                    "sample": sample.id,
                    "question": _question(task, sample),
                    "expected": sample.target,
                    "output": records[0].output,
                    "rules": rules,
                }
            )
    return rows


def write(out: Path, rows: Sequence[Mapping[str, Any]], rules: Sequence[str]) -> None:
    """Write the rows to a file; its ending chooses the format."""
    if form_of(out) == ".json":
        write_content(out, json.dumps(rows, indent=1) + "\n")
        return
    heads = ["sample", "question", "expected", "output", *rules]
    lines = [
        [*(_text(row[name]) for name in heads[:4]), *(_verdict(row["rules"][rule]) for rule in rules)] for row in rows
    ]
    write_content(out, markdown_table(heads, [[plain(text) for text in line] for line in lines]) + "\n")


def _question(task: Task, sample: Sample) -> str:
    """What was asked, if it is a text."""
    if task.card.capability != "generate":
        return ""
    prompts = [task.inputs[position].load() for position in sample.inputs]
    return "\n".join(dict.fromkeys(prompt.text.strip() for prompt in prompts if isinstance(prompt, Prompt)))


def _verdict(found: Mapping[str, Any]) -> str:
    scores = "not scored" if found["scores"] is None else ", ".join(f"{k} {v:.4g}" for k, v in found["scores"].items())
    return f"{scores}: {_text(found['parsed'])}"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in cut)
