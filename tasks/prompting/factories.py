"""Prompt tasks by name: the data sets of the dissertation, and the generated ones."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ...harness.errors import UserError
from ..dice import Dice
from .data_sets import DATA_SETS
from .reading import examples
from .sampling import few_shot
from .task import Example, PromptTask, Verbalised, prompt_card
from .words_tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.cards import TaskCard
    from .words_tasks import WordsTask

Part: TypeAlias = Literal["test", "train", "dev"]
"""The whole test split, or k samples of each class of the training split for training or for development."""
_TRAIN, _TEST = 200, 100
"""Sentences of each class of a generated task."""


def data_set_card(name: str) -> TaskCard:
    """Return the card of a data set's task."""
    found = DATA_SETS[name]
    return prompt_card(f"{found.title} by a prompt with one mask", found.measure, len(found.words), source=found.hub)


def data_set_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    name: str, *, data: str = "", part: str = "test", split: str = "", k: int = 16, revision: str = "", seed: int = 13
) -> PromptTask:
    """Return the task of a data set.

    Args:
        name: One of `DATA_SETS`.
        data: Instead of the hub: a file, a folder with files ``train.*`` and ``dev.*`` or ``test.*``, a data set on
            disk, or another id on the hub.
        part: See `Part`.
        split: Of the test split, instead of the usual one.
        k: Samples of each class that ``train`` and ``dev`` have.
        revision: Of a data set on the hub.
        seed: Of the samples; those of papers are 13, 21, 42, 87 and 100. The test split has no draw.

    Raises:
        UserError: There is no such part.
    """
    found = DATA_SETS[name]
    asked = Verbalised(found.template, tuple(found.words.values()), found.first_limit, found.max_tokens)
    where = f"task prompt-{name}"
    _check(part, where)

    def read() -> Sequence[Example]:
        if part == "test":
            return examples(found, data, (split,) if split else found.test, revision)
        return _drawn(examples(found, data, ("train",), revision), part, k, seed, where)

    return PromptTask(read, asked, data_set_card(name))


def words_card(name: str) -> TaskCard:
    """Return the card of a generated task."""
    task = TASKS[name]
    return prompt_card(
        f"{task.summary} (generated, group {task.group})",
        classes=len(task.words),
        licence="Apache-2.0",
        source="adaptbench.tasks.prompting.words_tasks",
    )


def words_task(name: str, *, part: str = "test", k: int = 16, seed: int = 13) -> PromptTask:
    """Return a generated task. Its sentences are always the same; none is in both the training and the test split.

    Args:
        name: One of `TASKS`.
        part: See `Part`.
        k: Samples of each class that ``train`` and ``dev`` have.
        seed: Of the samples.

    Raises:
        UserError: There is no such part.
    """
    where = f"task words-{name}"
    _check(part, where)

    def read() -> Sequence[Example]:
        train, test = _generated(name)
        return test if part == "test" else _drawn(train, part, k, seed, where)

    task = TASKS[name]
    return PromptTask(read, Verbalised(task.template, task.words), words_card(name))


def _check(part: str, where: str) -> None:
    if part not in get_args(Part):
        raise UserError(f"no part {part!r}", where=where, todo=f"choose part= from {', '.join(get_args(Part))}")


def _drawn(rows: Sequence[Example], part: str, k: int, seed: int, where: str) -> Sequence[Example]:
    train, dev = few_shot([row.label for row in rows], k, seed, where)
    return [rows[place] for place in (train if part == "train" else dev)]


@functools.cache
def _generated(name: str) -> tuple[list[Example], list[Example]]:
    """The training and the test split of a generated task, the classes in turn."""
    task: WordsTask = TASKS[name]
    dice, seen = Dice(list(TASKS).index(name), 2), set[tuple[str, ...]]()
    rows = []
    for number in range((_TRAIN + _TEST) * len(task.words)):
        label = number % len(task.words)
        while (sentences := task.draw(dice, label)) in seen:
            pass
        seen.add(sentences)
        rows.append(Example(f"{number:05d}", sentences, label))
    cut = _TRAIN * len(task.words)
    return rows[:cut], rows[cut:]
