"""The board as one HTML file that needs no server, no network and, for reading, no JavaScript."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.store.files import write_atomic
from . import views
from .axes import KINDS
from .board import make_board, need
from .charts import page_spec, svg
from .reading import HOW_TO_READ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.plugins import Plugins
    from ..harness.store import RunDirectory
    from .board import Board
    from .ranking import Section

_TEMPLATES = Path(__file__).parent / "templates"


def write_html(directories: Sequence[RunDirectory], out: Path, plugins: Plugins) -> None:
    """Write the page."""
    write_atomic(out, render(make_board(directories, plugins)).encode())


def render(board: Board) -> str:
    """Return the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    specs: dict[str, Any] = {}
    tasks = [_task(section, f"task-{number}", specs) for number, section in enumerate(board.sections, 1)]
    scripts = [_inline(script) for script in (_vega(), _datatables(), _text("board.js"))]
    return environment.get_template("board.html.j2").render(
        css=Markup(_text("board.css")),  # noqa: S704 - our own file
        how=HOW_TO_READ,
        kinds=KINDS,
        page=_page(board) | {"tasks": tasks},
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - libraries and our own file
        specs=specs,
    )


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


def _policy(scripts: Sequence[str]) -> str:
    """Nothing may be fetched, and no script may run but those of this file."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@functools.cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed, as they come with vl-convert; the module sets ``window.vegaEmbed``."""
    bundle: str = need("vl_convert").javascript_bundle()
    return bundle


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


def _inline(script: str) -> str:
    """A script that ends where its element ends, with the line ends that a browser hashes."""
    return re.sub(r"</(?=script)", r"<\\/", script.replace("\r\n", "\n").replace("\r", "\n"), flags=re.IGNORECASE)


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
