"""``adaptbench select``."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ..identity import Settings
from ..outputs import FIGURE_FORMATS, FigureRequest, file_form, write_content
from ..plugins import load_plugins
from ..selecting import Asked, Selected, select_tasks
from ..selection import Options
from .output import echo, write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..selecting import Level
    from ..selection.choice import Coverage, Mode
    from ..selection.similarity import Similarity

_SHOWN = 12
"""Candidates that are shown before and after the place where the walk stopped."""


@dataclass(frozen=True, slots=True)
class SelectOptions:
    """What the command line said."""

    targets: tuple[str, ...]
    candidates: tuple[str, ...]
    encoder: str
    out: Path
    level: str
    mode: str
    threshold: float
    min_tasks: int
    max_tasks: int | None
    count: int | None
    similarity: str
    coverage: str
    compare: bool
    figure: Path | None
    seed: int
    batch_size: int | None
    device: str | None
    plugins: tuple[str, ...]
    as_json: bool


def select_command(options: SelectOptions) -> None:
    """Select tasks, say what was selected and why, and write it."""
    asked, plugins = _asked(options), load_plugins(options.plugins)
    form = file_form(options.figure, FIGURE_FORMATS, "a figure") if options.figure else ""
    with _progress() as progress:
        found = select_tasks(plugins.registry, asked, options.out, progress)
    found.write(options.out)
    files = [options.out / "selection.json", options.out / "tasks.json"]
    if options.figure:
        request = FigureRequest(runs=(), plugins=plugins, form=form, selection=found)
        write_content(options.figure, plugins.registry.find("figure", "selection").make(request))
        files.append(options.figure)
    if options.as_json:
        write_json(found.as_json())
        return
    _show(found)
    for file in files:
        echo(str(file))


def _asked(options: SelectOptions) -> Asked:
    default = Settings()
    return Asked(
        targets=options.targets,
        candidates=options.candidates,
        encoder=options.encoder,
        level=cast("Level", options.level),
        options=Options(
            threshold=options.threshold,
            min_tasks=options.min_tasks,
            max_tasks=options.max_tasks,
            mode=cast("Mode", options.mode),
            count=options.count,
            seed=options.seed,
            similarity=cast("Similarity", options.similarity),
            coverage=cast("Coverage", options.coverage),
            plain=options.compare,
        ),
        settings=Settings(options.batch_size or default.batch_size, options.device or default.device),
        seed=options.seed,
    )


def _show(found: Selected) -> None:
    """Write the candidates around the place where the walk stopped, and what they came to."""
    result, asked = found.result, found.asked
    left_out = f"; {found.left_out} that show images of the target are left out" if found.left_out else ""
    echo(f"{len(found.pool)} candidates for {', '.join(asked.targets)}, as {asked.encoder} sees them{left_out}")
    write_columns([["", "similarity", "coverage", "plain" if result.plain else "", ""], *_rows(found)])
    echo(f"Algorithm 1 selects {result.stop}: {result.reason}")
    if asked.options.mode != "selected":
        echo(f"mode {asked.options.mode} chooses {len(result.chosen)}")
    echo(
        f"{found.images} images, {found.target_images} of them the target's; distances along {result.axes} axes, which "
        f"hold {result.kept:.1%} of the variance; condition numbers up to {max(result.conditions):.3g}"
    )
    faulty = [fault for fault in result.plain.faults if fault] if result.plain else []
    if faulty:
        kinds = " and ".join(f"{faulty.count(kind)} {kind}" for kind in dict.fromkeys(faulty))
        echo(f"the plain formula cannot be trusted for {len(faulty)} of {len(found.pool)} prefixes: {kinds}")


def _rows(found: Selected) -> Iterator[list[str]]:
    result = found.result
    for place, position in enumerate(result.order.tolist()):
        if _SHOWN <= place < result.stop - _SHOWN or place >= result.stop + _SHOWN:
            if place in (_SHOWN, result.stop + _SHOWN):
                yield ["...", "", "", "", ""]
            continue
        mark = "*" if position in result.chosen else ""
        plain = ""
        if result.plain is not None:
            fault = result.plain.faults[place]
            plain = f"{result.plain.values[place]:.4g}" + (f" ({fault})" if fault else "")
        numbers = [f"{result.similarities[place]:.4f}", f"{result.coverages[place]:.4g}", plain]
        yield [f"{place + 1}{mark}", *numbers, found.pool[position].name]


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, and nothing in a log."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        bar = bars.add_task("images", total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
