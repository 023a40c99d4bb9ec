"""The board as one HTML file that needs no server, no network and, for reading, no JavaScript; and what a site shares.

A template extends ``layout.html.j2``, which is given a `Frame`: how a page has its style and its scripts.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.faults import blamed_on
from ..harness.progress import SILENT
from . import views
from .axes import KINDS
from .board import folder_of
from .charts import page_spec, svg
from .figures.files import page_panel
from .offline import environment, inline, policy, text, vega
from .reading import HOW_TO_READ
from .samples import Samples, index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.progress import Steps
    from ..harness.registry import Entry, Registry
    from .board import Board
    from .ranking import Section
    from .samples import Answered

_FEW = 4
"""Tasks, up to which their folds are open, and charts are drawn for readers without scripts, too."""
_ROOM = 250_000
"""Characters of a task's samples in a page that holds all it shows."""
_UNSCRIPTED = 3
"""Samples that can be read without scripts."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What pages have around what they show.

    Attributes:
        style: Element of the style sheet.
        scripts: Elements of the scripts.
        policy: The content security policy.
        footer: What the page needs.
    """

    style: str
    scripts: Sequence[str]
    policy: str
    footer: str
    version: str = version("adaptbench")


def render(board: Board, registry: Registry, progress: Steps = SILENT) -> str:
    """Return the page, with the panels of every figure in the registry that has some."""
    from markupsafe import Markup

    specs: dict[str, Any] = {}
    samples: dict[str, Any] = {}
    opened = len(board.sections) <= _FEW
    tasks = [
        task_view(section, f"task-{number}", specs, stills=opened)
        | {"open": opened, "samples": _samples(section, f"task-{number}", registry, samples)}
        for number, section in enumerate(progress.over(board.sections, "tasks"), 1)
    ]
    sources = [inline(script) for script in scripts().values()]
    frame = Frame(
        style=Markup(f"<style>{text('board.css')}</style>"),  # noqa: S704 - our own file
        scripts=[Markup(f'<script type="module">{script}</script>') for script in sources],  # noqa: S704 - likewise
        policy=policy(sources, images=True),
        footer="This file holds all that it shows and asks the network for nothing.",
    )
    figures = figure_views(board, registry, specs)
    page = board_view(board) | {"tasks": tasks, "figures": figures}
    return html("board.html.j2", frame, page=page, site=False, specs=specs, samples=samples)


def html(template: str, frame: Frame, **given: Any) -> str:
    """A page made of a template."""
    page: str = environment().get_template(template).render(frame=frame, how=HOW_TO_READ, kinds=KINDS, **given)
    return page


def scripts() -> dict[str, str]:
    """Vega, DataTables, and what makes them act on a page, by names."""
    own = text("board.js") + text("charts.js") + text("samples.js")
    return {"vega": vega(), "datatables": _datatables(), "board": own}


def board_view(board: Board) -> dict[str, Any]:
    """What is said of all tasks together."""
    return {
        "title": board.title,
        "facts": views.facts(board),
        "notes": board.notes,
        "summaries": views.summaries(board),
        "overviews": views.overviews(board),
        "unranked": views.unranked(board),
        "baselines": views.baselines(board),
        "runs": [views.run_view(run, board.sections) for run in board.runs],
        **views.card_views(board),
    }


def task_view(section: Section, anchor: str, specs: dict[str, Any], *, stills: bool = True) -> dict[str, Any]:
    """The view of a task.

    Args:
        section: The task.
        anchor: What its elements are named by.
        specs: The specifications of its charts are added.
        stills: Draw the charts for readers without scripts, too: it takes longer than all else.
    """
    from markupsafe import Markup

    drawn = []
    shown = views.plot_views(section, anchor)
    for view in shown:
        image, drawable = "", bool(view.plot.points)
        if drawable:
            specs[view.id] = page_spec(view.plot)
            image = Markup(svg(specs[view.id])) if stills else ""  # noqa: S704 - the renderer escapes what it is given
        drawn.append({"id": view.id if drawable else "", "title": view.title, "caption": view.caption, "svg": image})
    seen = {point.kind for view in shown for point in view.plot.points}
    return views.task_table(section) | {"id": anchor, "plots": drawn, "kinds": [kind for kind in KINDS if kind in seen]}


def samples_view(samples: Samples, found: Sequence[Answered], count: int) -> dict[str, Any]:
    """The view of a task's samples, with the first ones to be read without scripts.

    Args:
        samples: All of them.
        found: Some of the first.
        count: How many can be browsed.
    """
    of = f"all {count:,}" if count == samples.total else f"the first {count:,} of {samples.total:,}"
    first = [answered.item for answered in found[:_UNSCRIPTED]]
    return {"title": f"Samples: {of}", "note": samples.note, "models": samples.models, "first": first}


def _samples(section: Section, anchor: str, registry: Registry, browsed: dict[str, Any]) -> dict[str, Any]:
    """The view of the samples that fit into the page, which are added to ``browsed``."""
    samples = Samples(section, registry)
    found = samples.first(_ROOM)
    known = index(samples.models, [one.fates for one in found], [one.differs for one in found])
    browsed[anchor] = known | {"items": [one.item for one in found]}
    return samples_view(samples, found, len(found))


def figure_views(board: Board, registry: Registry, specs: dict[str, Any]) -> list[dict[str, Any]]:
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
                view = page_panel(panel, f"figure-{name}-{number}", own, still=len(board.sections) <= _FEW)
                folds.setdefault(panel.fold, []).append(view)
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
