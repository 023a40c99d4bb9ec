"""The board as one HTML file that needs no server, no network and, for reading, no JavaScript."""

from __future__ import annotations

import functools
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.faults import blamed_on
from . import views
from .axes import KINDS
from .board import folder_of
from .charts import page_spec, svg
from .figures.files import page_panel
from .offline import environment, inline, policy, text, vega
from .reading import HOW_TO_READ
from .samples import browse

if TYPE_CHECKING:
    from ..harness.registry import Entry, Registry
    from .board import Board
    from .ranking import Section

_ROOM = 250_000
"""Characters of a task's samples in a page that holds all it shows."""
_UNSCRIPTED = 3
"""Samples that can be read without scripts."""


def render(board: Board, registry: Registry) -> str:
    """Return the page, with the panels of every figure in the registry that has some."""
    from markupsafe import Markup

    specs: dict[str, Any] = {}
    samples: dict[str, Any] = {}
    tasks = [
        _task(section, f"task-{number}", specs) | {"samples": _samples(section, f"task-{number}", registry, samples)}
        for number, section in enumerate(board.sections, 1)
    ]
    figures = _figures(board, registry, specs)
    scripts = [
        inline(script) for script in (vega(), _datatables(), text("board.js") + text("charts.js") + text("samples.js"))
    ]
    template = environment().get_template("board.html.j2")
    html: str = template.render(
        css=Markup(text("board.css")),  # noqa: S704 - our own file
        how=HOW_TO_READ,
        kinds=KINDS,
        page=_page(board) | {"tasks": tasks, "figures": figures},
        policy=policy(scripts, images=True),
        samples=samples,
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - libraries and our own file
        specs=specs,
    )
    return html


def _page(board: Board) -> dict[str, Any]:
    return {
        "title": board.title,
        "facts": views.facts(board),
        "notes": board.notes,
        "summaries": views.summaries(board),
        "overviews": views.overviews(board),
        "unranked": views.unranked(board),
        "baselines": views.baselines(board),
        "runs": [views.run_view(run, board.sections) for run in board.runs],
        "version": version("adaptbench"),
        **views.card_views(board),
    }


def _task(section: Section, anchor: str, specs: dict[str, Any]) -> dict[str, Any]:
    """The view of a task; the specifications of its charts are added to ``specs``."""
    from markupsafe import Markup

    drawn = []
    shown = views.plot_views(section, anchor)
    for view in shown:
        image = ""
        if view.plot.points:
            specs[view.id] = page_spec(view.plot)
            image = Markup(svg(specs[view.id]))  # noqa: S704 - the renderer escapes what it is given
        drawn.append({"id": view.id, "title": view.title, "caption": view.caption, "svg": image})
    seen = {point.kind for view in shown for point in view.plot.points}
    return views.task_table(section) | {"id": anchor, "plots": drawn, "kinds": [kind for kind in KINDS if kind in seen]}


def _samples(section: Section, anchor: str, registry: Registry, samples: dict[str, Any]) -> dict[str, Any]:
    """The view of a task's samples: the first ones to be read without scripts; all are added to ``samples``."""
    found = browse(section, registry, _ROOM)
    samples[anchor] = found.view()
    count = len(found.items)
    title = f"Samples: all {count:,}" if count == found.total else f"Samples: the first {count:,} of {found.total:,}"
    return {"title": title, "note": found.note, "models": found.models, "first": found.items[:_UNSCRIPTED]}


def _figures(board: Board, registry: Registry, specs: dict[str, Any]) -> list[dict[str, Any]]:
    """The sections of panels, by their headings, and the figures of each by their names."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for entry in registry.entries("figure"):
        if entry.panels is not None and any((view := _figure(entry.name, entry.panels, board, specs)).values()):
            sections.setdefault(entry.card.section, []).append(view | {"name": entry.name, "card": entry.card})
    return [
        {"id": f"figures-{number}", "title": title, "figures": sections[title]}
        for number, title in enumerate(sorted(sections), 1)
    ]


def _figure(name: str, panels: Entry, board: Board, specs: dict[str, Any]) -> dict[str, Any]:
    """The views of a figure's panels by fold, or why it has none."""
    own: dict[str, Any] = {}
    folds: dict[str, list[dict[str, Any]]] = {}
    try:
        with blamed_on("what makes its panels", f"figure {name!r} of plugin {panels.owner!r}"):
            for number, panel in enumerate(panels.factory()(board), 1):
                folds.setdefault(panel.fold, []).append(page_panel(panel, f"figure-{name}-{number}", own))
    except UserError as error:
        return {"folds": {}, "fault": f"{error.where}: {error.what}"}
    specs |= own
    return {"folds": folds, "fault": ""}


@functools.cache
def _datatables() -> str:
    """DataTables with jQuery, as itables bundles them, with its exports in ``window.itables``.

    Its style sheet stays out: 100 kB for buttons and panes that the page does not have, and without a dark theme that
    follows the system.
    """
    bundle = (folder_of("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    exports = re.search(r"\bexport\s*\{([^{}]*)\};?", bundle)
    if exports is None:
        raise UserError(
            f"itables {version('itables')} does not bundle DataTables as is known here",
            todo="pip install 'itables>=2.9,<3'",
        )
    names = re.sub(r"(\S+) as (\S+?)(,|$)", r"\2:\1\3", exports[1])
    return f"{bundle[: exports.start()]}window.itables={{{names}}};{bundle[exports.end() :]}"
