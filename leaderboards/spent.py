"""What the cells of a task spent: the table of budgets, what was used of them, and predicted times."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..harness.cards import Metric
from ..harness.specs import parse
from . import wording
from .wording import Cell, TableRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..harness.results import Estimate, Range
    from .ranking import Section, Standing

_PER_CENT = Metric(name="", unit="%")
_RANGES = {"visual_tokens": "visual tokens", "blocks": "blocks", "heads": "heads"}
_CAPTION = "The prefill of one answer; FLOPs are those of the language model, with all that methods add."
_ON_TOP = "latency token, scheduler and head come on top of the units"
_PREDICTED = " Predicted times are rooflines in float16: compare them with each other, not with measured ones."


class SpentTable(NamedTuple):
    """The table of one task.

    Attributes:
        heads: Of each column, what it is, and how it is given.
    """

    caption: str
    heads: list[tuple[str, str]]
    rows: list[TableRow]


def spent_table(section: Section) -> SpentTable | None:
    """Return the table of the cells that tell what they spent; ``None`` if there are none."""
    told = [(standing, standing.row.result.spending) for standing in section.standings]
    found = [(standing, spending) for standing, spending in told if spending]
    if not found:
        return None
    chips = list(dict.fromkeys(chip for standing, _ in found for chip in standing.row.predicted))
    switched = any(spending.units for _, spending in found)
    heads = [("budget", "%"), ("FLOPs", "language model"), ("of the base model", "FLOPs, %")]
    heads += [(f"{section.metric.name} retained", "% of the base model"), ("of the same, all on", "FLOPs, %")]
    heads += [(what, "units, %") for what in ("success", "utilisation") if switched]
    heads += [(what, "FLOPs, %") for what in ("success", "utilisation")]
    heads += [*((name, "mean (range)") for name in _RANGES.values()), *((f"predicted, {chip}", "") for chip in chips)]
    rows, bases = [], base_scores(section)
    for standing, spending in found:
        accounts = [spending.units, spending.flops] if switched else [spending.flops]
        kept, flops, full = retained(standing, bases), spending.language_flops, spending.flops
        cells = [
            Cell(f"{100 * standing.row.result.cell.budget:g}", standing.row.result.cell.budget),
            _quantity(flops.mean if flops else None),
            _per_cent(spending.of_base),
            _per_cent(kept),
            _share(full.of_full if full else None),
        ]
        for account in accounts:
            hint = _ON_TOP if account is spending.flops and spending.units else ""
            cells.append(_success(account.success if account else None, hint))
            cells.append(_share(account.utilisation if account else None))
        cells += [_range(getattr(spending, name)) for name in _RANGES]
        cells += [_quantity(standing.row.predicted.get(chip), "s") for chip in chips]
        rows.append(TableRow(standing.name, cells))
    return SpentTable(_CAPTION + (_PREDICTED if chips else ""), heads, rows)


def base_scores(section: Section) -> dict[str, Estimate]:
    """Model spec -> its score, of what may be compared; none where a lower score is the better one."""
    if section.metric.better != "higher":
        return {}
    comparable = [standing for standing in reversed(section.standings) if standing.comparable and standing.headline]
    return {standing.row.result.cell.model: standing.headline for standing in comparable if standing.headline}


def retained(standing: Standing, bases: Mapping[str, Estimate]) -> float | None:
    """Return a cell's score over that of its base model without any method, on the same samples.

    ``None`` if the base is not among ``bases``, those of its section, or the cell may not be compared with it.
    """
    base = bases.get(str(parse(standing.row.result.cell.model).base))
    if not (bases and base and standing.comparable and standing.headline):
        return None
    return standing.headline.value / base.value if base.value > 0 else None


def spent_columns(standing: Standing, bases: Mapping[str, Estimate]) -> dict[str, float | None]:
    """Return the same as columns for programs: shares in [0, 1], times in seconds."""
    return dict(_columns(standing, bases))


def _quantity(value: float | None, unit: str = "") -> Cell:
    return Cell(wording.si(value, unit), "" if value is None else value)


def _per_cent(share: float | None) -> Cell:
    return Cell(wording.MISSING) if share is None else Cell(f"{100 * share:.1f}", share)


def _share(found: Estimate | None) -> Cell:
    """A share in per cent; what is the same in every sample needs no interval."""
    if found is None:
        return Cell(wording.MISSING)
    text = wording.estimate(found, _PER_CENT).removesuffix(" ± 0.00")
    return Cell(text, found.value, hint=found.method)


def _success(found: Estimate | None, hint: str) -> Cell:
    """A share with the ends of its interval, which is not even about it."""
    if found is None or found.low is None or found.high is None:
        return Cell(wording.MISSING)
    return Cell(wording.share(found), found.value, hint="; ".join(filter(None, (found.method, hint))))


def _range(found: Range | None) -> Cell:
    if found is None:
        return Cell(wording.MISSING)
    ends = "" if found.least == found.most else f" ({found.least:.4g}–{found.most:.4g})"
    return Cell(f"{found.mean:.4g}{ends}", found.mean)


def _columns(standing: Standing, bases: Mapping[str, Estimate]) -> Iterator[tuple[str, float | None]]:
    spending = standing.row.result.spending
    units, flops = (spending.units, spending.flops) if spending else (None, None)
    yield "language_flops", spending.language_flops.mean if spending and spending.language_flops else None
    yield "share_of_base", spending.of_base if spending else None
    yield "retained", retained(standing, bases)
    estimates = {
        "share_of_all_on": flops and flops.of_full,
        "success_units": units and units.success,
        "utilisation_units": units and units.utilisation,
        "success_flops": flops and flops.success,
        "utilisation_flops": flops and flops.utilisation,
    }
    for name, found in estimates.items():
        for end in ("value", "low", "high"):
            yield name if end == "value" else f"{name}_{end}", getattr(found, end, None)
    for name in _RANGES:
        for end in ("mean", "least", "most"):
            yield f"{name}_{end}", getattr(getattr(spending, name, None), end, None)
    for chip, time in standing.row.predicted.items():
        yield f"predicted_prefill_{chip}", time
