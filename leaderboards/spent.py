"""What the cells of a task spent: the table of budgets, what was used of them, and predicted times."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..harness.cards import Metric
from . import wording
from .wording import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..harness.results import CellResult, Estimate, Range, Spending
    from .collect import Row
    from .ranking import Section

_ACCOUNTS = {"units": "units", "flops": "FLOPs"}
_PER_CENT = Metric(name="", unit="%")
_RANGES = {"visual_tokens": "visual tokens", "blocks": "blocks", "heads": "heads"}
_CAPTION = (
    "One answer's prefill. The budget is a share of the same model's prefill with every switch on, its token selection "
    "included. Success is the share of answers within it, utilisation the mean share of it that was used. Units are "
    "the switches: blocks, or groups of heads and MLP channels; the dissertation's success and utilisation are of "
    "these. FLOPs are the language model's with what no switch turns off, by which a plan that uses up its units is a "
    "little beyond its budget: success may be 0 there and the budget kept in units, and utilisation says how far. "
    "± is the half-width of a 95 % interval, brackets are a 95 % Wilson interval."
)
_ON_TOP = "latency token, scheduler and head come on top of the units"
_PREDICTED = (
    " Predicted: time of the language model's blocks that ran and of its head, by their roofline, in float16. It says "
    "how models relate, and is not to be compared with a measured time."
)


class SpentTable(NamedTuple):
    """The table of one task.

    Attributes:
        heads: Of each column, what it is, and how it is given.
        rows: Model -> its numbers.
    """

    caption: str
    heads: list[tuple[str, str]]
    rows: list[tuple[str, list[Cell]]]


def spent_table(section: Section) -> SpentTable | None:
    """Return the table of the cells that tell what they spent; ``None`` if there are none."""
    told = [(standing, standing.row.result.spending) for standing in section.standings]
    found = [(standing, spending) for standing, spending in told if spending]
    if not found:
        return None
    chips = list(dict.fromkeys(chip for standing, _ in found for chip in standing.row.predicted))
    accounts = [name for name in _ACCOUNTS if any(name in spending.accounts for _, spending in found)]
    heads = [("budget", "%"), ("FLOPs", "language model"), ("FLOPs", "% of the whole")]
    heads += [(what, f"{_ACCOUNTS[name]}, %") for name in accounts for what in ("success", "utilisation")]
    heads += [*((name, "mean (range)") for name in _RANGES.values()), *((f"predicted, {chip}", "") for chip in chips)]
    rows = [(standing.name, _cells(standing.row, spending, accounts, chips)) for standing, spending in found]
    return SpentTable(_CAPTION + (_PREDICTED if chips else ""), heads, rows)


def spent_columns(row: Row) -> dict[str, float | None]:
    """Return the same as columns for programs: shares in [0, 1], times in seconds."""
    return dict(_columns(row))


def _cells(row: Row, spending: Spending, accounts: list[str], chips: list[str]) -> list[Cell]:
    budget = row.result.cell.budget
    cells = [
        Cell(f"{100 * budget:g}", budget),
        _quantity(_language_flops(row.result)),
        _share(_estimate(spending, "flops", "share")),
    ]
    for name in accounts:
        hint = _ON_TOP if name == "flops" and "units" in spending.accounts else ""
        cells.append(_success(_estimate(spending, name, "success"), hint))
        cells.append(_share(_estimate(spending, name, "utilisation")))
    cells += [_range(getattr(spending, name)) for name in _RANGES]
    return [*cells, *(_quantity(row.predicted.get(chip), "s") for chip in chips)]


def _estimate(spending: Spending | None, name: str, what: str) -> Estimate | None:
    """An estimate of an accounting, if the cell has it."""
    account = spending.accounts.get(name) if spending else None
    return None if account is None else getattr(account, what)


def _language_flops(result: CellResult) -> float | None:
    """FLOPs of the language model for one answer, on the mean."""
    if result.spending is None or "flops" not in result.spending.accounts:
        return None
    return result.costs["language_flops"].value / result.costs["answers"].value


def _quantity(value: float | None, unit: str = "") -> Cell:
    return Cell(wording.si(value, unit), "" if value is None else value)


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
    text = f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return Cell(text, found.value, hint="; ".join(filter(None, (found.method, hint))))


def _range(found: Range | None) -> Cell:
    if found is None:
        return Cell(wording.MISSING)
    ends = "" if found.least == found.most else f" ({found.least:.4g}–{found.most:.4g})"
    return Cell(f"{found.mean:.4g}{ends}", found.mean)


def _columns(row: Row) -> Iterator[tuple[str, float | None]]:
    spending = row.result.spending
    yield "language_flops", _language_flops(row.result)
    for name in _ACCOUNTS:
        for what in ("success", "share", "utilisation"):
            found = _estimate(spending, name, what)
            for end in ("value", "low", "high"):
                key = f"{what}_{name}" if end == "value" else f"{what}_{name}_{end}"
                yield key, getattr(found, end, None)
    for name in _RANGES:
        found = getattr(spending, name, None)
        for end in ("mean", "least", "most"):
            yield f"{name}_{end}", getattr(found, end, None)
    for chip, time in row.predicted.items():
        yield f"predicted_prefill_{chip}", time
