"""The samples of a task with every model's answer: question, images, raw output, parsed answer, truth, score.

What was asked is read from the task, which is built again for it; records hold only a digest of it, which is compared.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.asked import what_is_asked
from ..harness.errors import UserError
from ..harness.figures import load_task_of
from ..harness.samples import sample_digests
from ..harness.texts import printable
from . import wording
from .offline import data_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL.Image import Image

    from ..harness.contracts import Json, Record, Sample, Task
    from ..harness.registry import Registry
    from .ranking import Section, Standing

_LONGEST = 2_000
"""Characters of a text that are shown."""
_LEAST = 3
"""Samples that are read, however long."""
_BATCH = 64
"""Samples whose questions are looked up together."""
_MOST_CELLS = 100
"""Cells whose answers are shown: more are no longer read beside each other, and their files are all open at once."""
_IMAGES = 4
"""Images of a sample that are shown."""
_EPISODES = "embed"
"""Capability whose samples ask no question: an episode compares the vectors of many images."""
RIGHT, WRONG, UNPARSED, UNSCORED = "rwun"
"""What became of an answer, a letter in `Answered.fates`."""


class Asked(NamedTuple):
    """What a sample asks: texts, and URLs of images."""

    question: str
    truth: str
    images: list[str]


_NOT_ASKED = Asked("", "", [])


class Answered(NamedTuple):
    """A sample with the answers to it.

    Attributes:
        item: Its id, what it asks, and per model output, parsed answer and score as texts; a parsed answer that is the
            output is ``None``.
        fates: A letter for each model.
        differs: Whether what was parsed differs from model to model.
        size: Characters of the item.
    """

    item: dict[str, Any]
    fates: str
    differs: bool
    size: int


class Samples:
    """The samples of a task with the answers of all cells that were asked the same, read one after the other.

    Args:
        section: The task.
        registry: The task is built from it again.
        show: Gives the URL of an image.

    Attributes:
        models: Names of the cells that answered them.
        total: How many there are.
        note: Why questions are not shown, and whose answers are; empty if all are.
    """

    def __init__(self, section: Section, registry: Registry, show: Callable[[Image], str] = data_url) -> None:
        every = _same_samples(section)
        self._section, self._cells = section, every[:_MOST_CELLS]
        self._asked, unasked = _questions(section, self._cells[0], registry, show)
        few = "" if len(every) <= _MOST_CELLS else f"Answers of the {_MOST_CELLS} best of {len(every):,} cells."
        self.note = " ".join(filter(None, (unasked, few)))
        self.models = [printable(cell.name) for cell in self._cells]
        self.total = max(cell.row.result.samples for cell in self._cells)

    def __iter__(self) -> Iterator[Answered]:
        together = zip(*(cell.row.journal.records() for cell in self._cells), strict=False)
        while batch := list(itertools.islice(together, _BATCH)):
            asked = self._asked.of([records[0] for records in batch]) if self._asked else itertools.repeat(_NOT_ASKED)
            yield from map(self._answered, asked, batch)

    def _answered(self, asked: Asked, records: Sequence[Record]) -> Answered:
        answers = [_answer(self._section, record) for record in records]
        texts = itertools.chain([*asked.images, asked.question, asked.truth], *answers)
        return Answered(
            {"id": _text(records[0].sample), **asked._asdict(), "answers": answers},
            "".join(_fate(self._section, record) for record in records),
            len({json.dumps(record.parsed, sort_keys=True) for record in records}) > 1,
            sum(len(text or "") for text in texts),
        )

    def first(self, room: int) -> list[Answered]:
        """The first ones that fit into that many characters; three in any case."""
        found: list[Answered] = []
        for answered in self:
            if room < 0 and len(found) >= _LEAST:
                break
            found.append(answered)
            room -= answered.size
        return found


def index(models: Sequence[str], fates: Sequence[str], differ: Sequence[bool]) -> dict[str, Any]:
    """What the filters of the page need to know of samples.

    Args:
        models: Names.
        fates: Per sample a letter for each model.
        differ: Per sample whether models disagree.
    """
    by_model = ["".join(own) for own in zip(*fates, strict=True)]
    return {"models": models, "fates": by_model, "disagree": "".join("-d"[differs] for differs in differ)}


def _same_samples(section: Section) -> Sequence[Standing]:
    """The cells of a section that were asked the same samples as its first one."""
    first = section.standings[0].row.result
    return [
        s for s in section.standings if s.row.result.samples_digest == first.samples_digest and s.row.result.samples
    ]


class _Task:
    """A task that was built again."""

    def __init__(self, task: Task, show: Callable[[Image], str]) -> None:
        self._task, self._show = task, show
        self._samples = {sample.id: sample for sample in task.samples}

    def of(self, records: Sequence[Record]) -> Iterator[Asked]:
        """What each record is the answer to, as far as that is still asked."""
        samples = [sample for record in records if (sample := self._samples.get(record.sample))]
        digests = dict(zip((sample.id for sample in samples), sample_digests(self._task, samples), strict=True))
        for record in records:
            if digests.get(record.sample) == record.input:
                yield _asked(self._task, self._samples[record.sample], self._show)
            else:
                yield Asked("(not what was asked in the run)", "", [])


def _questions(
    section: Section, cell: Standing, registry: Registry, show: Callable[[Image], str]
) -> tuple[_Task | None, str]:
    """The task, or why it is not there."""
    if section.card.capability == _EPISODES:
        return None, ""
    try:
        return _Task(load_task_of(registry, cell.row.stored), show), ""
    except UserError as error:
        return None, f"Questions are not shown: {error}."


def _asked(task: Task, sample: Sample, show: Callable[[Image], str]) -> Asked:
    shown = what_is_asked(task, sample, _IMAGES)
    return Asked(_text(shown.text), _text(sample.target), [show(image) for _, image in shown.images])


def _answer(section: Section, record: Record) -> list[str | None]:
    """Output, parsed answer and score."""
    parsed = None if record.parsed == record.output else _text(record.parsed)
    return [_text(record.output), parsed, _score(section, record)]


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
        return printable(f"not scored: {record.fault}") if record.fault else "not scored"
    factor, unit = wording.scale(section.metric), section.metric.unit
    shown = {name: value for name, value in record.scores.items() if name == section.metric.name} or record.scores
    return printable(", ".join(f"{name} {factor * value:.4g} {unit}".rstrip() for name, value in shown.items()))


def _text(value: Json) -> str:
    """A value as text, cut where it is long, with what no page may hold replaced."""
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value = "\n".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"
    return printable(cut)
