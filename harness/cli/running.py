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
from .output import say, write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..identity import Settings
    from ..results import CellId, CellResult, FailedCell
    from ..sizes import Size
    from ..store import RunDirectory
    from .crews import CrewOptions


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line said."""

    suite: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    budgets: tuple[float, ...]
    sizes: tuple[Size, ...]
    seeds: tuple[int, ...]
    out: Path | None
    limit: int | None
    sample: int | None
    batch_size: int | None
    device: str | None
    waive: tuple[str, ...]
    dry_run: bool
    fail_fast: bool
    timing: bool
    crew: CrewOptions
    plugins: tuple[str, ...]
    as_json: bool


def run_command(options: RunOptions) -> None:
    """Plan, show the plan, and run it; what was asked of this run before and is finished is only shown."""
    from ..samples import SampleLimit
    from ..store import RunDirectory
    from ..unchanged import asked_for, finished, note_finished, note_shown

    plugins = load_plugins(options.plugins)
    request, name, settings, reports = _request(plugins, options)
    limit = SampleLimit(options.limit, options.sample)
    run = RunDirectory(options.out or Path("runs") / name)
    whole = not (options.dry_run or options.crew.shard)
    asked = asked_for(plugins.registry, request, settings, limit) if whole else ""
    done = finished(run, asked)
    if done is not None:
        before, results = done
        run.ask_for((), reports)
        note_shown(run)
        _tell_plugins(plugins, run, results)
        if not options.as_json:
            _show([result.cell for result in results], f"{_count(results)} in {run.path}, all done before", before.said)
        _tell(options, run.path, results)
        return
    from ..runner import RunSpec, execute

    planned = options.crew.part(plan(plugins.registry, request))
    command, fail_fast = shlex.join(["adaptbench", *sys.argv[1:]]), options.fail_fast or "--debug" in sys.argv
    threads = options.crew.threads_each(settings.device)
    spec = RunSpec(
        planned, run.path, settings, limit, command, fail_fast, options.timing, threads, bool(options.crew.ray_address),
        reports,
    )  # fmt: skip
    cells, said = [cell.id for cell in planned.cells], list(_said(planned))
    if options.dry_run:
        if options.as_json:
            write_json({"out": str(run.path)} | _plan_as_json(planned))
        else:
            _show(cells, f"{_count(cells)} would be run in {run.path}", said)
        return
    if not options.as_json:
        _show(cells, f"{_count(cells)} in {run.path}", said)
    with ExitStack() as stack:
        progress = _progress(stack, len(cells))
        executor = options.crew.make(plugins.registry, settings.device, progress)
        result = execute(plugins, spec, progress, executor)
    if not result.failed:
        note_finished(run, asked, said, result.results)
    _tell(options, result.path, result.results, result.failed)


def _plan_as_json(planned: Plan) -> dict[str, object]:
    cells, sized = [cell.id.model_dump() for cell in planned.cells], [one.to_json() for one in planned.sized]
    return {"cells": cells, "left_out": planned.left_out} | ({"sized": sized} if sized else {})


def _tell_plugins(plugins: Plugins, run: RunDirectory, results: Sequence[CellResult]) -> None:
    """What the runner tells them of a run whose cells are all complete."""
    from .. import hooks

    plugins.fire("run_started", hooks.RunStarted(path=run.path, cells=[result.cell for result in results]))
    for result in results:
        timing = run.journal(result.key).timing()
        event = hooks.CellFinished(path=run.path, cell=result.cell, result=result, timing=timing, reused=True)
        plugins.fire("cell_finished", event)
    plugins.fire("run_finished", hooks.RunFinished(path=run.path, results=tuple(results)))


def _tell(options: RunOptions, path: Path, results: Sequence[CellResult], failed: Sequence[FailedCell] = ()) -> None:
    """Say what came out; exit status 2 if a cell failed."""
    if options.as_json:
        cells, faults = ([one.model_dump(mode="json") for one in some] for some in (results, failed))
        write_json({"out": str(path), "cells": cells} | ({"failed": faults} if failed else {}))
    elif results:
        _tell_results(path, results)
    for one in failed:
        say(f"error: {one.reason}", err=True)
    if failed:
        raise typer.Exit(2)


def _tell_results(path: Path, results: Sequence[CellResult]) -> None:
    write_columns([[describe(result.cell), outcome(result)] for result in results])
    say(f"board: adaptbench report {shlex.quote(str(path))}")


def _request(plugins: Plugins, options: RunOptions) -> tuple[Request, str, Settings, tuple[str, ...]]:
    """What to run, the run's default name, settings and reports; options add to a suite's models and tasks."""
    models, tasks, budgets, seeds = options.models, options.tasks, options.budgets, options.seeds
    sizes = options.sizes
    device = options.crew.device(options.device)
    batch_size, name, only, reports = options.batch_size, "latest", dict[str, str](), tuple[str, ...]()
    if options.suite:
        suite = find_suite(plugins, options.suite)
        name = re.sub(r"[^\w.-]+", "-", suite.name)
        # What the suite has already is not asked for twice.
        models = (*suite.models, *(model for model in models if str(parse(model)) not in suite.models))
        tasks = (*suite.tasks, *(task for task in tasks if str(parse_call(task)) not in suite.tasks))
        budgets, seeds, only = budgets or suite.budgets, seeds or suite.seeds, suite.only
        sizes = sizes or suite.sizes
        reports = suite.reports
        for report in reports:
            plugins.registry.find("report", parse_call(report).name)
        batch_size, device = batch_size or suite.batch_size, device or suite.device
    elif not (models and tasks):
        raise UserError(
            "there is nothing to run", todo="name a suite, or --model and --task; `adaptbench list` shows them"
        )
    request = Request(models, tasks, budgets, seeds or (0,), only, sizes)
    return request, name, _settings(batch_size, device, options.waive), reports


def _settings(batch_size: int | None, device: str | None, waive: tuple[str, ...]) -> Settings:
    from ..identity import Settings

    default = Settings()
    return Settings(batch_size or default.batch_size, device or default.device, waive)


def _progress(stack: ExitStack, cells: int) -> Progress:
    return stack.enter_context(Bars(cells)) if sys.stderr.isatty() else Lines(cells)


def _show(cells: Sequence[CellId], title: str, said: Sequence[str]) -> None:
    say(title)
    write_columns([[str(i), describe(cell)] for i, cell in enumerate(cells, 1)])
    for line in said:
        say(f"  {line}")


def _said(planned: Plan) -> Iterator[str]:
    """What a plan says besides its cells."""
    yield from map(str, planned.sized)
    for reason in planned.left_out:
        yield f"left out: {reason}"
    notes = {str(cell.task.step.call): cell.task.card.note for cell in planned.cells}
    for task, note in notes.items():
        if note:
            yield f"note: {task}: {note}"


def _count(cells: Sequence[object]) -> str:
    return f"{len(cells)} cell{'s' if len(cells) != 1 else ''}"
