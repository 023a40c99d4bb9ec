"""The samples of a task with every model's answer: question, images, raw output, parsed answer, truth, score.

What was asked is read from the task, which is built again for it; records hold only a digest of it, which is compared.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.asked import what_is_asked
from ..harness.errors import UserError
from ..harness.figures import load_task
from ..harness.samples import sample_digests
from ..harness.texts import printable
from . import wording
from .offline import data_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.contracts import Json, Record, Sample, Task
    from ..harness.registry import Registry
    from .ranking import Section, Standing

_LONGEST = 2_000
"""Characters of a text that are shown."""
_LEAST = 3
"""Samples that are read, however long."""
_IMAGES = 4
"""Images of a sample that are shown."""
_EPISODES = "embed"
"""Capability whose samples ask no question: an episode compares the vectors of many images."""
RIGHT, WRONG, UNPARSED, UNSCORED = "rwun"
"""What became of an answer, a letter in `Browsed.fates`."""


class Asked(NamedTuple):
    """What a sample asks: texts, and images as data URLs."""

    question: str
    truth: str
    images: list[str]


@dataclass(frozen=True, slots=True)
class Browsed:
    """Some samples of a task.

    Attributes:
        models: Names of the cells that answered them.
        items: Per sample its id, what it asks, and per model output, parsed answer and score as texts; a parsed answer
            that is the output is ``None``.
        fates: Per model a letter for each sample.
        disagree: Per sample ``d`` if what was parsed differs from model to model, else ``-``.
        total: Samples of the task.
        note: Why questions are not shown; empty if they are.
    """

    models: list[str]
    items: list[dict[str, Any]]
    fates: list[str]
    disagree: str
    total: int
    note: str

    def view(self) -> dict[str, Any]:
        """The same for the page's script."""
        return {"models": self.models, "items": self.items, "fates": self.fates, "disagree": self.disagree}


def browse(section: Section, registry: Registry, room: float = math.inf) -> Browsed:
    """Read samples of a task with the answers of all cells that were asked the same.

    Args:
        section: The task.
        registry: The task is built from it again.
        room: Characters that they may take; three samples are read in any case.
    """
    cells = _same_samples(section)
    asked, note = _questions(section, cells[0], registry)
    items: list[dict[str, Any]] = []
    fates, disagree = ["" for _ in cells], ""
    journals = [cell.row.journal.records() for cell in cells]
    for records in zip(*journals, strict=False):
        if room < 0 and len(items) >= _LEAST:
            break
        question = asked.of(records[0]) if asked else Asked("", "", [])
        parsed = [json.dumps(record.parsed, sort_keys=True) for record in records]
        disagree += "d" if len(set(parsed)) > 1 else "-"
        letters = [_fate(section, record) for record in records]
        fates = [fate + letter for fate, letter in zip(fates, letters, strict=True)]
        answers = [
            [_text(r.output), None if r.parsed == r.output else _text(r.parsed), _score(section, r)] for r in records
        ]
        items.append({"id": _text(records[0].sample), **question._asdict(), "answers": answers})
        room -= sum(map(len, (*question.images, question.question, question.truth)))
        room -= sum(len(text or "") for answer in answers for text in answer)
    total = max(cell.row.result.samples for cell in cells)
    return Browsed([cell.name for cell in cells], items, fates, disagree, total, note)


def _same_samples(section: Section) -> Sequence[Standing]:
    """The cells of a section that were asked the same samples as its first one."""
    first = section.standings[0].row.result
    return [
        s for s in section.standings if s.row.result.samples_digest == first.samples_digest and s.row.result.samples
    ]


class _Task:
    """A task that was built again."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._samples = {sample.id: sample for sample in task.samples}

    def of(self, record: Record) -> Asked:
        sample = self._samples.get(record.sample)
        if sample is None or sample_digests(self._task, [sample]) != [record.input]:
            return Asked("(not what was asked in the run)", "", [])
        return _asked(self._task, sample)


def _questions(section: Section, cell: Standing, registry: Registry) -> tuple[_Task | None, str]:
    """The task, or why it is not there."""
    if section.card.capability == _EPISODES:
        return None, ""
    try:
        return _Task(load_task(registry, cell.row.result.cell)), ""
    except UserError as error:
        return None, f"Questions are not shown: {error}."


def _asked(task: Task, sample: Sample) -> Asked:
    shown = what_is_asked(task, sample, _IMAGES)
    return Asked(_text(shown.text), _text(sample.target), [data_url(image) for _, image in shown.images])


def _fate(section: Section, record: Record) -> str:
    if record.scores is None:
        return UNSCORED
    if record.parsed is None:
        return UNPARSED
    score, metric = record.scores.get(section.metric.name), section.metric
    full = score is not None and (score >= 1 if metric.better == "higher" else score <= 0)
    return RIGHT if full else WRONG


def _score(section: Section, record: Record) -> str:
    if record.scores is None:
        return f"not scored: {record.fault}" if record.fault else "not scored"
    factor, unit = wording.scale(section.metric), section.metric.unit
    shown = {name: value for name, value in record.scores.items() if name == section.metric.name} or record.scores
    return ", ".join(f"{name} {factor * value:.4g} {unit}".rstrip() for name, value in shown.items())


def _text(value: Json) -> str:
    """A value as text, cut where it is long, with what no page may hold replaced."""
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value = "\n".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"
    return printable(cut)
