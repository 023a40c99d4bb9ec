"""The frame of a chart: which values its axes span, and where in it the points and their names stand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import wording
from .axes import KINDS
from .labels import Box, Side, Spot, place

if TYPE_CHECKING:
    from .axes import Plot

WIDTH, HEIGHT = 440, 250
"""Of the plot, in pixels, without its axes."""
NARROW = 250
"""Its width on a phone."""
_WIDE_SPREAD = 5
"""From this ratio of the dearest to the cheapest on, the axis is logarithmic."""
_LONGEST_NAME, _LONGEST_NARROW = 26, 18


@dataclass(frozen=True, slots=True)
class Frame:
    """Both axes of a chart.

    Attributes:
        title: Of the horizontal axis.
        unit: What a cost is divided by, so that it is in the unit that ``title`` names.
        left: Lowest cost that is shown, in that unit; the highest is ``right``.
        ticks: Where the horizontal axis has its ticks; ``None`` leaves it to the library.
        bottom: Lowest score that is shown; the highest is ``top``.
        upwards: Higher scores are better; otherwise the axis is turned, for up is better in every chart.
    """

    title: str
    unit: float
    left: float
    right: float
    log: bool
    ticks: list[float] | None
    bottom: float
    top: float
    upwards: bool

    def cost(self, value: float) -> float:
        """A cost in the unit of the axis, moved to the edge if it lies outside."""
        return min(max(value / self.unit, self.left), self.right)

    def x(self, cost: float, width: int = WIDTH) -> float:
        """Where a cost is, in pixels from the left."""
        here, low, high = self.cost(cost), self.left, self.right
        if self.log:
            here, low, high = math.log10(here), math.log10(low), math.log10(high)
        return width * (here - low) / (high - low)

    def y(self, score: float) -> float:
        """Where a score is, in pixels from the top."""
        share = (score - self.bottom) / (self.top - self.bottom)
        return HEIGHT * (1 - share if self.upwards else share)


def frame(plot: Plot) -> Frame:
    """Choose the axes of a plot that has points."""
    costs = [point.cost.value for point in plot.points]
    least, most = min(costs), max(costs)
    unit, title = 1.0, plot.axis
    if plot.name != "flops":
        power = wording.exponent(math.sqrt(least * most))
        unit = 10.0**power
        title = title.replace("time per input", f"time per input, {wording.PREFIXES[power]}s", 1)
    least, most = least / unit, most / unit
    log = least > 0 and most / least >= _WIDE_SPREAD
    if log:
        margin = (most / least) ** 0.08
        left, right = least / margin, most * margin
    else:
        margin = 0.08 * (most - least) or 0.5 * most or 1.0
        left, right = max(0.0, least - margin), most + margin
    low, high = min(point.low for point in plot.points), max(point.high for point in plot.points)
    if low == high == 0:
        high = 1.0  # scores that are all 0 go to the bottom, not between -1 and 1
    air = 0.08 * (high - low) or 0.05 * abs(high)
    bottom, top = low - air, high + air
    if plot.section.metric.unit == "%" and low > 0 and high < 100:  # a share has no room beyond its ends
        bottom, top = max(bottom, 0.0), min(top, 100.0)
    upwards = plot.section.metric.better == "higher"
    return Frame(title, unit, left, right, log, _ticks(left, right) if log else None, bottom, top, upwards)


def names(plot: Plot, axes: Frame, width: int = WIDTH) -> dict[str, Side | None]:
    """Where the name of each point stands in a plot of that width; ``None`` where it does not fit."""
    order = sorted(plot.points, key=lambda point: list(KINDS).index(point.kind))
    spots = [Spot(axes.x(p.cost.value, width), axes.y(p.score), short(p.standing.name, width)) for p in order]
    lines = []
    for point, spot in zip(order, spots, strict=True):
        upper, lower = sorted((axes.y(point.low), axes.y(point.high)))
        lines.append(Box(axes.x(point.cost.low, width), spot.y, axes.x(point.cost.high, width), spot.y))
        lines.append(Box(spot.x, upper, spot.x, lower))
    steps = sorted((spot for spot, point in zip(spots, order, strict=True) if point.kind == "frontier"))
    for step, (x, y, _) in zip(steps, [*steps[1:], Spot(width, steps[-1].y, "")] if steps else (), strict=True):
        lines.append(Box(step.x, step.y, x, step.y))
        lines.append(Box(x, min(y, step.y), x, max(y, step.y)))
    chosen = place(spots, lines, width, HEIGHT)
    return {point.standing.name: side for point, side in zip(order, chosen, strict=True)}


def short(name: str, width: int = WIDTH) -> str:
    """A name that is no longer than a label may be in a plot of that width."""
    return wording.shown(name, _LONGEST_NAME if width == WIDTH else _LONGEST_NARROW)


def _ticks(left: float, right: float) -> list[float]:
    """Round values on a logarithmic axis: powers of ten, with 2 and 5 between them if they are few."""
    powers = range(math.floor(math.log10(left)), math.ceil(math.log10(right)) + 1)
    steps = (1, 2, 5) if len(powers) <= 3 else (1,)
    return [step * 10.0**power for power in powers for step in steps if left <= step * 10.0**power <= right]
