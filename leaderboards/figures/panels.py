"""What a figure is made of: panels that are drawn for a page or for a file, and what they have in common."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .. import vega
from ..charts import PAGE, styled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..charts import Palette
    from ..vega import Spec

SERIES = ("#2f7fc1", "#d9731a", "#2b9a6b", "#b3589a", "#9a8417", "#c84b4b", "#4d9fb5", "#7d6bc4")
"""Colours of lines: each has a contrast of 3 or more to white and to the page's dark paper."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left")
"""Marks of lines, for eyes that do not tell the colours apart."""
_HEADING, _CAPTION = 8, 6
"""Width of a letter of a title and of a caption, in pixels."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of a figure.

    Attributes:
        draw: Makes the chart, without its title, in the colours of a palette: a Vega-Lite specification, or an Altair
            chart.
        width: In pixels, without the axes.
        grows: On a page it takes the width that there is; for charts of one view.
        fold: Heading of the fold on the board that holds it; empty for none.
    """

    title: str
    draw: Callable[[Palette], Any]
    caption: str = ""
    width: int = 440
    grows: bool = True
    fold: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure: its panels, in rows of ``columns`` where it is written as an image."""

    title: str
    panels: Sequence[Panel]
    columns: int = 2


def chart(panel: Panel, palette: Palette, *, titled: bool) -> Spec:
    """The chart of a panel; on a page its title and caption stand outside."""
    drawn = vega.plain(panel.draw(palette))
    if not (titled and panel.title):
        return drawn
    heading, caption = (
        _wrapped(text, panel.width // letter) for text, letter in ((panel.title, _HEADING), (panel.caption, _CAPTION))
    )
    below = {"subtitle": caption, "subtitleColor": palette.muted, "subtitlePadding": 4} if caption else {}
    return drawn | {"title": {"text": heading, **below}}


def _wrapped(text: str, width: int) -> list[str]:
    """Cut a text into lines, between words and between the parts of a model spec."""
    gap = "\N{ZERO WIDTH SPACE} "
    apart = re.sub(r"(?<=\S)(?=\+\w)|(?<=\w,)(?=\w)", gap, text)
    lines = textwrap.wrap(apart, width, break_on_hyphens=False)
    return [line.replace(gap, "").removesuffix(gap.strip()) for line in lines]


def page_spec(panel: Panel) -> Spec:
    """The specification of a panel for a page, in the page's colours."""
    return styled(chart(panel, PAGE, titled=False), PAGE)


def series(kind: Literal["colour", "shape"], names: Sequence[str], field: str = "name", **legend: Any) -> Spec:
    """The channel that gives each line its colour, or its mark; both of one field make one legend.

    When the colours begin again, the marks are one further on, so that the first 64 lines all differ.
    """
    values = SERIES if kind == "colour" else SHAPES
    places = [i if kind == "colour" else i + i // len(SERIES) for i in range(len(names))]
    scale = {"domain": list(names), "range": [values[place % len(values)] for place in places]}
    return vega.name(field, scale=scale, sort=list(names), legend={"symbolOpacity": 1, **legend})
