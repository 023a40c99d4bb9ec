"""``adaptbench run``."""

from __future__ import annotations

import re
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import UserError
from ..planning import Plan, Request, find_suite, plan
from ..plugins import Plugins, load_plugins
from ..progress import Bars, Lines, Progress, describe, outcome
from ..specs import parse, parse_call
from .output import write_columns, write_json

if TYPE_CHECKING:
    from ..identity import Settings
    from ..runner import RunSpec


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line said."""

    suite: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    budgets: tuple[float, ...]
    seeds: tuple[int, ...]
    out: Path | None
    limit: int | None
    sample: int | None
    batch_size: int | None
    device: str | None
    waive: tuple[str, ...]
    dry_run: bool
    plugins: tuple[str, ...]
    as_json: bool


def run_command(options: RunOptions) -> None:
    """Plan, show the plan, and run it."""
    plugins = load_plugins(options.plugins)
    spec = _spec(plugins, options)
    cells = [cell.id for cell in spec.plan.cells]
    count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
    if options.dry_run:
        if options.as_json:
            write_json({"out": str(spec.out), "cells": [c.model_dump() for c in cells], "left_out": spec.plan.left_out})
        else:
            _show(spec.plan, f"{count} would be run in {spec.out}")
        return
    from ..runner import execute

    if not options.as_json:
        _show(spec.plan, f"{count} in {spec.out}")
    with ExitStack() as stack:
        result = execute(plugins, spec, _progress(stack, len(cells)))
    if options.as_json:
        write_json({"out": str(result.path), "cells": [r.model_dump(mode="json") for r in result.results]})
        return
    write_columns([[describe(r.cell), outcome(r)] for r in result.results])
    typer.echo(f"board: adaptbench report {shlex.quote(str(result.path))}")


def _spec(plugins: Plugins, options: RunOptions) -> RunSpec:
    from ..runner import RunSpec
    from ..samples import SampleLimit

    request, name, settings = _request(plugins, options)
    return RunSpec(
        plan=plan(plugins.registry, request),
        out=options.out or Path("runs") / name,
        settings=settings,
        limit=SampleLimit(options.limit, options.sample),
        command=shlex.join(["adaptbench", *sys.argv[1:]]),
    )


def _request(plugins: Plugins, options: RunOptions) -> tuple[Request, str, Settings]:
    """What to run, the default name of the run, and the settings; options add to a suite's models and tasks."""
    models, tasks, budgets, seeds = options.models, options.tasks, options.budgets, options.seeds
    batch_size, device, name, only = options.batch_size, options.device, "latest", dict[str, str]()
    if options.suite:
        suite = find_suite(plugins.registry, options.suite)
        name = re.sub(r"[^\w.-]+", "-", suite.name)
        # What the suite has already is not asked for twice.
        models = (*suite.models, *(model for model in models if str(parse(model)) not in suite.models))
        tasks = (*suite.tasks, *(task for task in tasks if str(parse_call(task)) not in suite.tasks))
        budgets, seeds, only = budgets or suite.budgets, seeds or suite.seeds, suite.only
        batch_size, device = batch_size or suite.batch_size, device or suite.device
    elif not (models and tasks):
        raise UserError(
            "there is nothing to run", todo="name a suite, or --model and --task; `adaptbench list` shows them"
        )
    return Request(models, tasks, budgets, seeds or (0,), only), name, _settings(batch_size, device, options.waive)


def _settings(batch_size: int | None, device: str | None, waive: tuple[str, ...]) -> Settings:
    from ..identity import Settings

    default = Settings()
    return Settings(batch_size or default.batch_size, device or default.device, waive)


def _progress(stack: ExitStack, cells: int) -> Progress:
    return stack.enter_context(Bars(cells)) if sys.stderr.isatty() else Lines(cells)


def _show(planned: Plan, title: str) -> None:
    typer.echo(title)
    write_columns([[str(i), describe(cell.id)] for i, cell in enumerate(planned.cells, 1)])
    for reason in planned.left_out:
        typer.echo(f"  left out: {reason}")
    notes = {str(cell.task.step.call): cell.task.card.note for cell in planned.cells}
    for task, note in notes.items():
        if note:
            typer.echo(f"  note: {task}: {note}")
