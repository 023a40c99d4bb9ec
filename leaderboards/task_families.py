"""Families of tasks: what is shown together, since one kind of model does it and one metric scores it."""

from __future__ import annotations

import re
from collections import Counter
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..harness.cards import Metric
    from .ranking import Section

_COLUMNS = 6
"""Tasks beside each other in one table."""


class Family(NamedTuple):
    """Tasks whose names begin with the same word, of one capability and one first metric."""

    title: str
    sections: tuple[Section, ...]

    @property
    def metric(self) -> Metric:
        """The metric that ranks in every one of them."""
        return self.sections[0].metric


class Block(NamedTuple):
    """Tasks that share a table; ``heads`` name them within it."""

    title: str
    heads: list[str]
    sections: list[Section]


def families(sections: Iterable[Section]) -> list[Family]:
    """Group the tasks of a board, in their order."""
    found: dict[tuple[str, str, Metric], list[Section]] = {}
    for section in sections:
        found.setdefault((first_word(section.task), section.card.capability, section.metric), []).append(section)
    titles = [_title(members) for members in found.values()]
    several = Counter(titles)
    return [
        Family(title if several[title] == 1 else f"{title}: {capability}, {metric.name}", tuple(members))
        for title, ((_, capability, metric), members) in zip(titles, found.items(), strict=True)
    ]


def blocks(family: Family) -> list[Block]:
    """The tables of a family: one for each task with several settings, one for all the others, none of them wide."""
    groups: dict[str, list[Section]] = {}
    for section in family.sections:
        groups.setdefault(_name(section.task), []).append(section)
    if len(family.sections) <= _COLUMNS:
        groups = {"": list(family.sections)}
    else:
        single = [members[0] for members in groups.values() if len(members) == 1]
        groups = {name: members for name, members in groups.items() if len(members) > 1}
        groups |= {"": single} if single else {}
    return [
        Block(name, [_setting(section, name) for section in part], part)
        for name, members in groups.items()
        for part in (members[i : i + _COLUMNS] for i in range(0, len(members), _COLUMNS))
    ]


def first_word(task: str) -> str:
    """The word that the names of a family's tasks begin with."""
    return re.split(r"[-_.]", _name(task), maxsplit=1)[0]


def _name(task: str) -> str:
    """A task spec without its target and arguments; any text will do."""
    return re.split(r"[(:@]", task, maxsplit=1)[0]


def _setting(section: Section, name: str) -> str:
    """What tells a task from others of that name: its arguments, as its spec says them."""
    return section.title.removeprefix(name).strip("()") or section.title if name else section.title


def _title(sections: list[Section]) -> str:
    """What the names of tasks have in common at their beginning, word by word."""
    if len(sections) == 1:
        return sections[0].title
    words = [re.split(r"(?<=[-_.])", _name(section.task)) for section in sections]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return "".join(column[0] for column in shared).rstrip("-_.") or sections[0].task
