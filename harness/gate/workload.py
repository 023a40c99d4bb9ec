"""What is timed of a cell: its model answering its first batch, from loaded inputs to answers.

A generator may remember what it computed of an image or a prefix, and would be asked the same again. So one that can is
also timed at its whole prefill, which shares nothing: a call is that prefill, and then the answers.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING

from ..abilities import Prefilling
from ..answering import ask_at_once, asked_for
from ..errors import BadSample, UserError
from ..faults import blamed_on
from ..identity import BoundModel
from ..planning import Request, plan
from ..progress import describe
from ..samples import ChosenSamples, SampleLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..identity import Settings
    from ..planning import PlannedCell
    from ..registry import Registry
    from ..results import CellId


def planned(registry: Registry, cell: CellId) -> PlannedCell:
    """Plan one cell as this side's code has it.

    Raises:
        UserError: This side knows no such model or task.
    """
    request = Request((cell.model,), (cell.task,), (cell.budget,) if cell.budget != 1 else (), (cell.seed,))
    (found,) = plan(registry, request).cells
    return found


def workload(cell: PlannedCell, settings: Settings) -> Callable[[], object]:
    """Load a cell's model and its first batch, and return what is timed: a call that has the one answer the other.

    Raises:
        UserError: The model replays stored answers, no input can be read, or loading fails.
    """
    where = describe(cell.id)
    if cell.model.card.replays:
        raise UserError("its answers were given elsewhere: there is nothing to time", where=where)
    with blamed_on(f"task {cell.task.step.call}", where):
        step = cell.task.step
        task = step.entry.factory()(**step.entry.bind(step.call, seed=cell.seed))
        loaded = []
        for item in ChosenSamples.of(task, cell.seed, SampleLimit()).inputs(settings.batch_size):
            with suppress(BadSample):
                loaded.append(item.own())
    if not loaded:
        raise UserError("none of its first inputs can be read", where=where, todo="fix the task's data")
    with blamed_on(f"model {cell.model.spec}", where):
        model = asked_for(BoundModel.of(cell, settings).load(), task)
        ask = functools.partial(ask_at_once, model, cell.task.card.capability, loaded)
        steps: list[Callable[[], object]] = [ask]
        if cell.task.card.capability == "generate" and isinstance(model, Prefilling):
            steps.insert(0, model.prefill(loaded))

    def call() -> None:
        with blamed_on(f"model {cell.model.spec}", where):
            for step in steps:
                step()

    return call
