"""Where the time of an answer goes, and the memory of its prefill, as far as cells were timed by stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.results import STAGES
from .. import wording
from ..study import Number, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...harness.results import Timing
    from ..study import Item
    from .lines import Found

ON_TIME = (
    "Time: the vision tower and projector; what the method adds, with the maps that it computes, between tower and "
    "language model and between its blocks; the prefill of the language model on what is left; one more token of each "
    "answer. The first three are parts of the same passes. What acts inside the tower cannot be told from it and is in "
    "its time; images are prepared before."
)


def stage_tables(found: Found) -> list[Table]:
    """A table for each machine, device and size of batch: times elsewhere are not compared."""
    places: dict[str, list[list[Item]]] = {}
    doubts: dict[str, int] = {}
    for task, every in ((task, one.answers(task)) for one in found.families for task in one.tasks):
        for answers in every:
            timing = answers.row.timing
            if timing and timing.stages:
                place = f"{timing.machine}, {timing.device}, {wording.counted(timing.inputs, 'prompt')} at a time"
                row: list[Item] = [task.title, answers.label, *_row(timing)]
                places.setdefault(place, []).append(row)
                doubts[place] = doubts.get(place, 0) + bool(timing.note)
    heads = ("task", "model", "tower", "method", "prefill", "a token", "peak memory")
    return [
        Table("Where the time goes", f"Per prompt: {place}.{_doubtful(doubts[place], len(rows))}", heads, rows)
        for place, rows in places.items()
    ]


def _doubtful(count: int, of: int) -> str:
    return f" {count} of {of} were measured unsteadily, or on a busy or slowed machine." if count else ""


def _row(timing: Timing) -> Iterator[Number]:
    for stage in STAGES:
        spent = timing.stages.get(stage)
        seconds = spent and (one / timing.inputs for one in (spent.median, spent.q1, spent.q3))
        yield Number(wording.spread(*seconds) if seconds else wording.MISSING)
    yield Number(wording.si(timing.peak_memory, "B"))


def stage_values(timing: Timing | None) -> Iterator[tuple[str, float]]:
    """The same for programs: seconds per prompt by stage, and bytes."""
    if timing is None or not timing.stages:
        return
    for stage, spent in timing.stages.items():
        yield f"seconds, {stage}", spent.median / timing.inputs
    if timing.peak_memory is not None:
        yield "peak memory", timing.peak_memory
