"""Numbers as text: the same on the page, in Markdown and in a chart's tooltip."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.cards import Metric
    from ..harness.results import Estimate
    from ..harness.stats import Tier

MISSING = "–"
PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}


class Cell(NamedTuple):
    """A number in a table.

    Attributes:
        order: What the column is sorted by; an empty text if it is missing.
        hint: Shown when the mouse rests on it.
        note: A second, quiet line.
    """

    text: str
    order: float | str = ""
    best: bool = False
    hint: str = ""
    note: str = ""


class TableRow(NamedTuple):
    """A row of a table of models.

    Attributes:
        aside: It has no rank.
        rank: Shown in a task's table; the overview is only sorted by it.
        reason: The remark that says why it has no rank.
    """

    name: str
    cells: list[Cell]
    aside: bool = False
    rank: Cell = Cell("")
    remarks: Sequence[str] = ()
    reason: str = ""


def scale(metric: Metric) -> int:
    """By what a metric's values are multiplied when they are shown."""
    return 100 if metric.unit == "%" else 1


def estimate(value: Estimate | None, metric: Metric, sign: str = "") -> str:
    """A metric with its interval: ``63.21 ± 0.34``, or with both ends where they are not equally far from it.

    Args:
        value: The metric.
        metric: How it is shown.
        sign: ``+`` to show the sign of a difference.
    """
    if value is None:
        return MISSING
    factor = scale(metric)
    wide, fine = (".2f", ".2f") if metric.unit == "%" else (".4g", ".2g")
    text = f"{factor * value.value:{sign}{wide}}"
    if value.low is None or value.high is None:
        return text
    below, above = (f"{factor * half:{fine}}" for half in (value.value - value.low, value.high - value.value))
    if below == above:
        return f"{text} ± {below}"
    return f"{text} [{factor * value.low:{sign}{wide}}, {factor * value.high:{sign}{wide}}]"


def share(value: Estimate | None) -> str:
    """A share in per cent with the ends of its interval: ``98.0 [96.5, 99.2]``."""
    if value is None:
        return MISSING
    ends = "" if value.low is None or value.high is None else f" [{100 * value.low:.1f}, {100 * value.high:.1f}]"
    return f"{100 * value.value:.1f}{ends}"


def p_value(p: float | None) -> str:
    """A p value: ``0.012``."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def ratio(value: float | None) -> str:
    """A factor in three digits, such as 0.512, with the sign of a product."""
    return MISSING if value is None else f"× {value:.3g}"


def change(value: Estimate | None, metric: Metric) -> str:
    """A difference with its sign and the ends of its interval: ``+1.20 [+0.40, +2.00]``."""
    if value is None:
        return MISSING
    factor, form = scale(metric), "+.2f" if metric.unit == "%" else "+.3g"
    text = f"{factor * value.value:{form}}"
    if value.low is not None and value.high is not None:
        text += f" [{factor * value.low:{form}}, {factor * value.high:{form}}]"
    return text.replace("-", "\N{MINUS SIGN}")


def with_unit(metric: Metric) -> str:
    """A metric's name for a heading: ``accuracy, %``."""
    return f"{metric.name}, {metric.unit}" if metric.unit else metric.name


def tier(ranks: Tier | None) -> str:
    """The ranks that are open: ``1``, or from-to."""
    if ranks is None:
        return MISSING
    return str(ranks.best) if ranks.best == ranks.worst else f"{ranks.best}–{ranks.worst}"


def si(value: float | None, unit: str = "") -> str:
    """A quantity in three digits with its prefix: ``1.05 M``, ``44.0 µs``."""
    if value is None:
        return MISSING
    power = exponent(value)
    return f"{_digits(value / 10**power)} {PREFIXES[power]}{unit}".rstrip()


def si_range(values: Sequence[float], unit: str = "") -> str:
    """The lowest and the highest of some quantities in one prefix."""
    if not values:
        return MISSING
    low, high = (si(bound, unit) for bound in (min(values), max(values)))
    if low == high:
        return low
    (first, *first_unit), (last, *last_unit) = low.split(" "), high.split(" ")
    return f"{first}–{last} {' '.join(last_unit)}".rstrip() if first_unit == last_unit else f"{low} – {high}"


def factor(ratio: float) -> str:
    """How many times as much, in two digits or without decimals: ``0.51``, ``3.2``, ``64``."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def spread(median: float, q1: float, q3: float) -> str:
    """A time with its quartiles, in one unit: ``44.0 µs [25.5, 95.9]``."""
    power = exponent(median)
    low, high = (_digits(quartile / 10**power) for quartile in (q1, q3))
    return f"{si(median, 's')} [{low}, {high}]"


def budgeted(model: str, budget: float) -> str:
    """A model spec with its budget, if that is not the whole."""
    return model if budget == 1 else f"{model}@{budget:g}"


def seeded(task: str, seed: int) -> str:
    """A task with the seed of its samples, if that is not 0."""
    return task if seed == 0 else f"{task}, seed {seed}"


def listed(words: Sequence[str]) -> str:
    """Words in a row: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def shown(name: str, length: int) -> str:
    """A text of at most ``length`` characters, the middle left out."""
    if len(name) <= length:
        return name
    end = length // 2
    return f"{name[: length - end - 1]}…{name[-end:]}"


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 task``, ``1,200 tasks``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def exponent(value: float) -> int:
    """The power of ten of the prefix that shows a value in one to three digits before the point."""
    if value == 0 or not math.isfinite(value):
        return 0
    power = 3 * math.floor(math.log10(abs(float(f"{value:.3g}"))) / 3)
    return min(max(power, min(PREFIXES)), max(PREFIXES))


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.3g}")))))
    return f"{value:.{min(decimals, 3)}f}"
