"""The overview: models x tasks, with what each model costs over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .. import wording
from ..ranking import commonest
from ..task_families import blocks, families
from ..wording import Cell, TableRow
from .cells import score_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.results import FlopCount, Timing
    from ..board import Board
    from ..ranking import Section, Standing
    from ..task_families import Block, Family


class _Usual(NamedTuple):
    """How most costs of a family were found: only these share a column of the overview."""

    convention: tuple[str, str, str] | None
    way: str
    machine: str
    device: str
    inputs: int

    def timed(self, timing: Timing) -> bool:
        """Whether a time is one of these."""
        return self[1:] == (timing.way, timing.machine, timing.device, timing.inputs)

    def counted(self, count: FlopCount) -> bool:
        """Whether a count is one of these."""
        return self.convention == count.convention()


def overviews(board: Board) -> list[dict[str, Any]]:
    """The families of tasks, each as models x tasks, with what each model costs over all of them."""
    return [_overview(family) for family in families(board.sections)]


def _overview(family: Family) -> dict[str, Any]:
    found, usual, parts = _found(family), _usual(family), blocks(family)
    place = f", times of {usual.way}, {usual.machine}, {usual.device}" if usual.machine else ""
    unranked = any(standing.reason not in ("", s.partial) for s in family.sections for standing in s.standings)
    caption = [
        "Bold: no other model of the task is significantly better.",
        "* Not ranked on that task." if unranked else "",
        f"Costs are ranges over the tasks{place}.",
        "Ordered by mean rank, baselines last.",
    ]
    return {
        "title": family.title,
        "caption": " ".join(filter(None, caption)),
        "tables": [
            {
                "title": block.title,
                "heads": [(head, wording.with_unit(family.metric)) for head in block.heads],
                "costs": [] if number else ["FLOPs per input", "time per input", "parameters", "peak memory"],
                "rows": _rows(found, block, None if number else usual),
            }
            for number, block in enumerate(parts)
        ],
    }


def _found(family: Family) -> dict[str, dict[str, Standing]]:
    """Label -> task -> the cell; the comparable one if there are several."""
    found: dict[str, dict[str, Standing]] = {}
    for section in family.sections:
        for standing in section.standings:
            own = found.setdefault(standing.row.label, {})
            known = own.get(section.title)
            if known is None or (standing.comparable and not known.comparable):
                own[section.title] = standing
    return found


def _rows(found: Mapping[str, Mapping[str, Standing]], block: Block, usual: _Usual | None) -> list[TableRow]:
    rows = [_row(label, own, block, usual) for label, own in found.items()]
    kept = [row for row in rows if usual or any(cell.order != "" for cell in row.cells)]
    return sorted(kept, key=lambda row: (row.aside, row.rank.order))


def _usual(family: Family) -> _Usual:
    rows = [standing.row for section in family.sections for standing in section.standings]
    convention = commonest(row.result.flops.convention() for row in rows if row.result.flops)
    timings = [row.timing for row in rows if row.timing]
    place = commonest((timing.way, timing.machine, timing.device, timing.inputs) for timing in timings)
    return _Usual(convention, *(place or ("", "", "", 0)))


def _row(label: str, own: Mapping[str, Standing], block: Block, usual: _Usual | None) -> TableRow:
    """A model on the tasks of a block, with its costs over the family if ``usual`` says which may be compared."""
    cells = [_score(section, own.get(section.title)) for section in block.sections]
    tiers = [standing.tier for standing in own.values() if standing.tier]
    middle = sum(tier.best + tier.worst for tier in tiers) / (2 * len(tiers)) if tiers else float("inf")
    costs = _costs(list(own.values()), usual) if usual else []
    return TableRow(label, cells + costs, not tiers, Cell("", middle))


def _costs(own: Sequence[Standing], usual: _Usual) -> list[Cell]:
    results = [standing.row.result for standing in own]
    counts = [r.flops.value for r in results if r.flops and usual.counted(r.flops)]
    timings = [s.row.timing for s in own if s.row.timing and usual.timed(s.row.timing)]
    uncounted = next((r.flops_missing for r in results if r.flops is None), "counted under another convention")
    elsewhere = "timed otherwise" if any(s.row.timing for s in own) else "not timed"
    return [
        _range(counts, hint=uncounted),
        _range([timing.median / timing.inputs for timing in timings], "s", hint=elsewhere),
        _range([r.parameters for r in results if r.parameters is not None]),
        _range([timing.peak_memory for timing in timings if timing.peak_memory is not None], "B"),
    ]


def _score(section: Section, standing: Standing | None) -> Cell:
    if standing is None:
        return Cell(wording.MISSING, hint="no complete cell")
    metric = standing.row.result.task_card.metrics[0]
    cell = score_cell(standing.headline, metric)
    mark = "" if standing.reason in ("", section.partial) else " *"
    best = standing.tier is not None and standing.tier.best == 1
    return cell._replace(text=cell.text + mark, best=best, hint=standing.reason or cell.hint)


def _range(values: Sequence[float], unit: str = "", hint: str = "") -> Cell:
    return Cell(wording.si_range(values, unit), min(values) if values else "", hint="" if values else hint)
