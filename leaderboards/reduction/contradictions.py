"""One method at one budget, as several papers print it: a table's rows, and a drawing."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING, NamedTuple

from .. import vega
from ..figures.panels import Drawing, Panel, series
from .printed import AVERAGE, WHOLE, lines, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..charts import Palette
    from ..vega import Spec

_LINEAGES = ("own", "copied", "re-run", "[?]")
_WIDTH, _ROW = 330, 17
"""Of a panel and the height of a row, in pixels."""
_SPAN = [40, 104]
"""Of every panel, in % of the whole model's score."""


class Said(NamedTuple):
    """What one source prints, as it does so.

    Attributes:
        lineage: See `printed`.
    """

    printed: str
    source: str
    lineage: str

    @property
    def value(self) -> float:
        """The number."""
        return float(self.printed)


class Contradiction(NamedTuple):
    """What several sources print of a method.

    Attributes:
        quantity: A task, named as in the printed tables.
        whole: The whole model's score.
    """

    method: str
    keep: str
    quantity: str
    whole: float
    said: Sequence[Said]

    @property
    def low(self) -> float:
        """The least value."""
        return min(one.value for one in self.said)

    @property
    def high(self) -> float:
        """The greatest value."""
        return max(one.value for one in self.said)

    @property
    def apart(self) -> float:
        """How far they are apart, in % of the whole model's score."""
        return 100 * (self.high - self.low) / self.whole


def contradictions() -> list[Contradiction]:
    """All that is known of LLaVA-1.5-7B, what is farthest apart first."""
    found: dict[tuple[str, str, str], list[Said]] = {}
    for line in lines("contradictions"):
        said = Said(line["value"], line["source"], line["lineage"])
        found.setdefault((line["method"], line["keep"], line["quantity"]), []).append(said)
    every = [Contradiction(*place, _whole(place[2]), said) for place, said in found.items()]
    return sorted(every, key=lambda one: -one.apart)


class Moved(NamedTuple):
    """What running baselines again changes, in % of the whole model's scores, beside what methods are apart.

    Attributes:
        cells: That both lineages have.
        shift: Median change of a cell, from the copied lineage to RESTORE's.
        gap: Median distance of a method from the next best one, at one budget on one task of RESTORE's table.
    """

    cells: int
    shift: float
    gap: float


def moved() -> Moved:
    """Compare the copied lineage with the one that ran all methods again."""
    copied, again = tables()["lineage"], tables()["restore-1"]
    shifts, gaps = [], []
    for column in filter(AVERAGE.__ne__, again.columns):
        scale = 100 / _whole(column)
        for keep in ("192", "128", "64"):
            found = {row.method: value for row in again.rows if row.keep == keep and (value := row.value(column))}
            gaps += [scale * (better - worse) for worse, better in itertools.pairwise(sorted(found.values()))]
            before = {row.method: row.value(column) for row in copied.rows if row.keep == keep}
            both = [(value, before[name]) for name, value in found.items() if name in before]
            shifts += [scale * abs(value - old) for value, old in both if old is not None]
    return Moved(len(shifts), statistics.median(shifts), statistics.median(gaps))


def _whole(quantity: str) -> float:
    """The score of the whole LLaVA-1.5-7B, as the copied lineage has it; of MME's perception, as EADP has it."""
    rows = [tables()[name].whole for name in ("lineage", "eadp-1")]
    return next(value for row in rows if row and (value := row.value(quantity)) is not None)


def drawing() -> Drawing:
    """A panel for each number of tokens, that of the whole model first; a row for each method and task."""
    found: dict[str, list[Contradiction]] = {}
    for one in contradictions():
        found.setdefault(one.keep, []).append(one)
    panels = [_panel(found[keep], keep) for keep in sorted(found, key=int, reverse=True)]
    return Drawing("LLaVA-1.5-7B: one method at one budget, as several papers print it", panels)


def _panel(every: Sequence[Contradiction], keep: str) -> Panel:
    title = "Nothing dropped" if every[0].method == WHOLE else f"{keep} tokens"
    return Panel(title, lambda palette: _chart(every, palette), width=_WIDTH)


def _chart(every: Sequence[Contradiction], palette: Palette) -> Spec:
    values = [
        {
            "row": one.quantity if one.method == WHOLE else f"{one.method}, {one.quantity}",
            "x": 100 * said.value / one.whole,
            "low": 100 * one.low / one.whole,
            "high": 100 * one.high / one.whole,
            "lineage": said.lineage,
            "text": f"{said.source}: {said.printed}",
        }
        for one in every
        for said in one.said
    ]
    rows = list(dict.fromkeys(value["row"] for value in values))
    place = vega.name("row", sort=rows, axis={"title": None, "labelLimit": 200})
    across = {"scale": {"domain": _SPAN, "nice": False}, "axis": {"title": "% of the whole model"}}
    channels = {
        "y": place,
        "color": series("colour", _LINEAGES, "lineage"),
        "shape": series("shape", _LINEAGES, "lineage"),
    }
    parts = [
        vega.mark(
            "rule", {"y": place, "x": vega.number("low", **across), "x2": {"field": "high"}}, color=palette.muted
        ),
        vega.mark(
            "point",
            channels | {"x": vega.number("x", **across), "tooltip": [vega.name("text", title="printed")]},
            size=60,
            filled=True,
            opacity=1,
        ),
    ]
    return vega.layers(parts, _WIDTH, _ROW * len(rows), values)
