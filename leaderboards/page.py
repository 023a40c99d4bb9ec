"""The board as one HTML file that needs no server, no network and, for reading, no JavaScript."""

from __future__ import annotations

import functools
import itertools
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.store.files import write_atomic
from . import views, wording
from .axes import KINDS
from .board import make_board, need
from .charts import page_spec, svg
from .figures.compositional import settings_panel
from .figures.files import page_panel
from .figures.gap import gap_panels
from .figures.mistakes import mistakes_panel
from .figures.pairs import pairs_of
from .figures.pareto import pareto_panel
from .figures.plans import plan_panels
from .offline import environment, inline, policy, text, vega
from .reading import HOW_TO_READ

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ..harness.measure.roofline import Accelerator
    from ..harness.plugins import Plugins
    from ..harness.store import RunDirectory
    from .board import Board
    from .figures.panels import Panel
    from .ranking import Section


def write_html(
    directories: Sequence[RunDirectory], out: Path, plugins: Plugins, hardware: Sequence[Accelerator] = ()
) -> None:
    """Write the page."""
    write_atomic(out, render(make_board(directories, plugins, hardware)).encode())


def render(board: Board) -> str:
    """Return the page."""
    from markupsafe import Markup

    specs: dict[str, Any] = {}
    tasks = [_task(section, f"task-{number}", specs) for number, section in enumerate(board.sections, 1)]
    budgets, composition = _budgets(board, specs), _composition(board, specs)
    scripts = [inline(script) for script in (vega(), _datatables(), text("board.js") + text("charts.js"))]
    template = environment().get_template("board.html.j2")
    html: str = template.render(
        css=Markup(text("board.css")),  # noqa: S704 - our own file
        how=HOW_TO_READ,
        kinds=KINDS,
        page=_page(board) | {"tasks": tasks, "budgets": budgets, "composition": composition},
        policy=policy(scripts),
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - libraries and our own file
        specs=specs,
    )
    return html


def _page(board: Board) -> dict[str, Any]:
    return {
        "title": board.title,
        "facts": views.facts(board),
        "notes": board.notes,
        "overview": views.overview(board),
        "unranked": views.unranked(board),
        "landmarks": views.landmarks(board),
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
        picture = ""
        if view.plot.points:
            specs[view.id] = page_spec(view.plot)
            picture = Markup(svg(specs[view.id]))  # noqa: S704 - the renderer escapes what it is given
        drawn.append({"id": view.id, "title": view.title, "caption": view.caption, "svg": picture})
    seen = {point.kind for view in shown for point in view.plot.points}
    return views.task_table(section) | {"id": anchor, "plots": drawn, "kinds": [kind for kind in KINDS if kind in seen]}


def _budgets(board: Board, specs: dict[str, Any]) -> dict[str, Any]:
    """Curves over budgets, and what ran on each task, of the models at several budgets."""
    numbers = itertools.count(1)

    def views_of(panels: Iterable[Panel]) -> list[dict[str, Any]]:
        return [page_panel(panel, f"budget-{next(numbers)}", specs) for panel in panels]

    curves = views_of(filter(None, map(pareto_panel, board.sections)))
    plans = []
    for section in board.sections:
        panels, left_out = plan_panels(section)
        if panels:
            plans.append({"title": section.title, "panels": views_of(panels), "left_out": wording.listed(left_out)})
    return {"curves": curves, "plans": plans}


def _composition(board: Board, specs: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings, mistakes and gaps of the pairs of simple tasks that the runs asked."""
    pairs = pairs_of(board.sections)
    mistakes = [panel for pair in pairs if (panel := mistakes_panel(pair))]
    panels = [*map(settings_panel, pairs), *gap_panels(pairs), *mistakes]
    return [page_panel(panel, f"composition-{number}", specs) for number, panel in enumerate(panels, 1)]


@functools.cache
def _datatables() -> str:
    """DataTables with jQuery, as itables bundles them, with its exports in ``window.itables``.

    Its style sheet stays out: 100 kB for buttons and panes that the page does not have, and without a dark theme that
    follows the system.
    """
    need("itables")
    from importlib.resources import files

    bundle = (files("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    exports = re.search(r"\bexport\s*\{([^{}]*)\};?", bundle)
    if exports is None:
        raise UserError(
            f"itables {version('itables')} does not bundle DataTables as is known here",
            todo="pip install 'itables>=2.9,<3'",
        )
    names = re.sub(r"(\S+) as (\S+?)(,|$)", r"\2:\1\3", exports[1])
    return f"{bundle[: exports.start()]}window.itables={{{names}}};{bundle[exports.end() :]}"
