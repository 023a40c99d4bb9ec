"""A figure as a file: SVG, PDF, PNG, or a page that holds all it shows."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from ..charts import FILE, still, styled, svg
from ..offline import environment, inline, policy, text, vega
from .panels import chart, page_spec

if TYPE_CHECKING:
    from ..vega import Spec
    from .panels import Drawing, Panel

_GAP = 36
_HEADING = 8
"""Width of a letter of the title, in pixels."""


def render(drawing: Drawing, form: str) -> str | bytes:
    """Return a figure as a file of that ending. Nothing is loaded from the network."""
    return page(drawing) if form == ".html" else still(image(drawing), form)


def image(drawing: Drawing) -> Spec:
    """One specification with all panels, for print."""
    drawn, panels, columns = [], drawing.panels, drawing.columns
    apart = {"resolve": {"scale": dict.fromkeys(("color", "shape", "opacity", "yOffset"), "independent")}}
    for i in range(0, len(panels), columns):
        row = [chart(panel, FILE, titled=True) for panel in panels[i : i + columns]]
        drawn.append({"hconcat": row, "spacing": _GAP, **apart})
    width = max(sum(panel.width for panel in panels[i : i + columns]) for i in range(0, len(panels), columns))
    heading = textwrap.wrap(drawing.title, width // _HEADING, break_on_hyphens=False)
    title = {"text": heading, "fontSize": 16, "anchor": "start", "offset": 16}
    return styled({"vconcat": drawn, "spacing": _GAP, "title": title, "padding": 16, **apart}, FILE)


def page(drawing: Drawing, template: str = "figure.html.j2", **values: Any) -> str:
    """The figure as a page; ``values`` are for a template of its own."""
    from markupsafe import Markup

    specs: dict[str, Any] = {}
    shown = [page_panel(panel, f"panel-{number}", specs) for number, panel in enumerate(drawing.panels, 1)]
    scripts = [inline(script) for script in (vega(), text("charts.js"))] if specs else []
    html: str = environment().get_template(template).render(
        css=Markup(text("board.css")),  # noqa: S704 - our own file
        title=drawing.title,
        small=drawing.columns > 3,
        panels=shown,
        policy=policy(scripts, images=True),
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - libraries and our own file
        specs=specs,
        **values,
    )  # fmt: skip
    return html


def page_panel(panel: Panel, anchor: str, specs: dict[str, Any], *, still: bool = True) -> dict[str, Any]:
    """What a template needs of a panel; if it answers the mouse, its specification is added to ``specs``.

    Args:
        panel: The panel.
        anchor: What its element is named by.
        specs: Of the page.
        still: Draw it for readers without scripts, too.
    """
    from markupsafe import Markup

    spec = page_spec(panel)
    if panel.grows:
        specs[anchor] = spec
    drawn = Markup(svg(spec)) if still or not panel.grows else ""  # noqa: S704 - the renderer escapes what it is given
    return {"id": anchor if panel.grows else "", "title": panel.title, "caption": panel.caption, "svg": drawn}
