"""The cells of a figure: those of its runs that may be compared, as the request narrows them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.specs import did_you_mean, parse
from ..board import make_board
from ..families import by_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.contracts import Record
    from ...harness.outputs import FigureRequest
    from ...harness.specs import Spec
    from ..ranking import Section, Standing

BUDGETS = "run it at several: adaptbench run ... --budget 0.5 --budget 0.7 --budget 1"


def sections(request: FigureRequest, *, unranked: bool = False) -> list[Section]:
    """The tasks with their comparable cells, of the models that were asked for.

    Args:
        request: What is asked for.
        unranked: Whether all cells of a task are taken if none is ranked, such as those of a few samples: for a figure
            that holds none against another.

    Raises:
        UserError: There is no such task, no such model, or nothing that may be compared.
    """
    found = list(make_board(request.runs, request.plugins).sections)
    if request.task is not None:
        titles = [section.title for section in found]
        found = [section for section in found if request.task in (section.task, section.title)]
        if not found:
            raise unknown("task", request.task, titles)
    wanted = [parse(model) for model in request.models]
    every = [standing for section in found for standing in section.standings]
    for spec in wanted:
        if not any(_is(standing, spec) for standing in every):
            names = {standing.row.label for standing in every} | {standing.row.result.cell.model for standing in every}
            raise unknown("model", str(spec), sorted(names))
    kept: list[Section] = []
    for section in found:
        whole = unranked and not any(standing.tier for standing in section.standings)
        chosen = [one for one in section.standings if whole or one.comparable]
        chosen = [one for one in chosen if not wanted or any(_is(one, spec) for spec in wanted)]
        kept += [replace(section, standings=tuple(chosen))] if chosen else []
    if not kept:
        raise UserError(
            "no cell of these runs may be compared with others", todo="`adaptbench report` says why, cell by cell"
        )
    return kept


def swept(section: Section) -> dict[str, list[Standing]]:
    """The models of a task that were run at several budgets, with their cells by rising budget."""
    return {model: cells for model, cells in by_model(section.standings).items() if len(cells) > 1}


def record(standing: Standing, sample: str | None) -> Record:
    """The record of a sample; of the first one that was answered if none is named.

    Raises:
        UserError: The cell has no such record.
    """
    for found in standing.row.journal.records():
        if found.sample == sample or (sample is None and not found.fault):
            return found
    ids = [found.sample for found in standing.row.journal.records()]
    hint = did_you_mean(sample or "", ids) or (f", its first is {ids[0]!r}" if ids else "")
    raise UserError(f"there is no answered sample {sample!r}{hint}", where=standing.name, todo="give --sample ID")


def one_section(found: Sequence[Section], figure: str) -> Section:
    """The only task.

    Raises:
        UserError: There are several.
    """
    if len(found) == 1:
        return found[0]
    titles = ", ".join(section.title for section in found)
    raise UserError(f"the figure {figure!r} is of one task, and there are {titles}", todo="give --task")


def _is(standing: Standing, spec: Spec) -> bool:
    """Whether a cell is of that model, at that budget if the spec says one."""
    cell = standing.row.result.cell
    return cell.model == str(spec.without_budget()) and spec.budget in (None, cell.budget)


def unknown(kind: str, name: str, known: Sequence[str]) -> UserError:
    """The error for a name that is not known."""
    return UserError(
        f"the runs hold no {kind} {name!r}{did_you_mean(name, known)}", todo=f"they hold {', '.join(known)}"
    )
