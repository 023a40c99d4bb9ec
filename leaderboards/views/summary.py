"""The first screen: which model wins, at what cost, and how sure that is."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

from .. import wording
from ..summary import summarise
from ..task_families import families, first_word
from ..wording import Cell, counted
from .cells import score_cell

if TYPE_CHECKING:
    from ..board import Board
    from ..summary import Line, Price, Summary


_FEW = 3
"""Ranks that are shown one by one."""


def summaries(board: Board) -> list[dict[str, Any]]:
    """What the families of tasks come to, each with how much of what was asked for is done."""
    found, left = [], [miss.cell.task for miss in board.missing]
    for family in families(board.sections):
        word = first_word(family.sections[0].task)
        missing = [task for task in left if first_word(task) == word]
        left = [task for task in left if first_word(task) != word]
        done = sum(len(section.standings) for section in family.sections)
        found.append(_view(summarise(family)) | {"done": _done(done, done + len(missing))})
    if left:
        none = {"tasks": "", "done": _done(0, len(left)), "verdict": "No cell is done.", "rows": []}
        found.append({"title": wording.listed(sorted(set(left))), **none})
    return found


def _view(summary: Summary) -> dict[str, Any]:
    """The first screen's table of a family."""
    family, base = summary.family, summary.base
    tasks = wording.listed([counted(len(summary.tasks), "task")])
    over = "" if len(summary.tasks) == len(family.sections) else f", over {tasks} that these models have all done"
    mean = "" if len(summary.tasks) == 1 else f"; scores are means over {tasks}"
    caption = [f"Compared with {base}, sample by sample" if base else "There is no base to compare with", mean, over]
    heads = ["rank", wording.with_unit(family.metric), "difference", "retained, %", "FLOPs per input", "time per input"]
    cells = [_summary_cells(line, summary) for line in summary.lines]
    told = [any(row[column].text != wording.MISSING for row in cells) for column in range(len(heads))]
    return {
        "title": family.title,
        "tasks": counted(len(family.sections), "task"),
        "verdict": summary.verdict,
        "caption": "".join(caption) + ".",
        "heads": list(compress(heads, told)),
        "rows": [
            {"name": line.name, "roles": _roles(line), "aside": line.baseline, "cells": list(compress(row, told))}
            for line, row in zip(summary.lines, cells, strict=True)
        ],
        "others": summary.others,
    }


def _summary_cells(line: Line, summary: Summary) -> list[Cell]:
    metric, ranks = summary.family.metric, line.ranks
    hint = ", ".join(f"{rank} on {counted(count, 'task')}" for rank, count in ranks.items())
    return [
        Cell(", ".join(_ranks(line)), hint=hint),
        score_cell(line.score, metric)._replace(best="winner" in line.roles),
        Cell(wording.change(line.difference, metric), note=_told_apart(line, len(summary.tasks))),
        Cell(wording.share(line.retained)),
        _price_cell(line.flops, ""),
        _price_cell(line.time, "s"),
    ]


def _ranks(line: Line) -> list[str]:
    """Its rank on each task; once where it is always the same, and from the best to the worst of many."""
    ranks = [standing.rank for standing in line.standings]
    if len(set(ranks)) == 1:
        return ranks[:1]
    tiers = [standing.tier for standing in line.standings if standing.tier]
    if len(ranks) <= _FEW or not tiers:
        return ranks
    return [f"{min(tier.best for tier in tiers)} to {max(tier.worst for tier in tiers)}"]


def _told_apart(line: Line, tasks: int) -> str:
    """Whether a difference is real, by the ranks."""
    if line.told_apart is None:
        return ""
    found = [(word, count) for word, count in zip(("better", "worse"), line.told_apart, strict=True) if count]
    said = [word if tasks == 1 else f"{word} on {count} of {tasks}" for word, count in found]
    return wording.listed(said) or "not told apart"


def _price_cell(price: Price | None, unit: str) -> Cell:
    if price is None:
        return Cell(wording.MISSING)
    ratio = "" if price.ratio is None else f"{wording.factor(price.ratio)} × base"
    return Cell(wording.si(price.value, unit), price.value, note=ratio)


def _roles(line: Line) -> list[str]:
    on = wording.listed(line.frontier)
    return [f"frontier: {on}" if role == "frontier" else role for role in line.roles]


def _done(done: int, asked: int) -> str:
    return f"{done:,} of {counted(asked, 'cell')}"
