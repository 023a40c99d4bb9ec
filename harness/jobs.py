"""Jobs: what is handed to a worker, as values that another process can be sent.

A job names everything: models and tasks by their specs, plugins by entry point, file or module. Only what was handed to
the API as a Python object is referred to as such; such a job stays in its process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .planning import Request, plan
from .registry import OBJECT_OWNER

if TYPE_CHECKING:
    from collections.abc import Collection

    from .identity import Settings
    from .planned_models import Step
    from .planning import Plan, PlannedCell
    from .plugins import PluginNames
    from .registry import Registry
    from .results import CellId
    from .samples import SampleLimit


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all jobs of a run have in common.

    Attributes:
        out: The run directory.
        folder: Working directory, from which relative paths start.
        name: Random name of the run, part of the key of what cannot be identified.
        command: What the user typed.
        plugins: How a worker finds the plugins that its process has not loaded.
        fail_fast: Whether the first cell that fails stops the run.
        timing: Whether times are measured.
        threads: Threads that a worker computes on; ``None`` leaves them as they are.
    """

    out: Path
    folder: Path
    name: str
    settings: Settings
    limit: SampleLimit
    command: str
    plugins: PluginNames
    fail_fast: bool = True
    timing: bool = True
    threads: int | None = None


@dataclass(frozen=True)
class Job:
    """A model on a task with one seed, at one or several budgets: these share their work.

    Attributes:
        models: Spec of the model at each budget; or one Python object, which keeps it in this process.
        task: Spec of the task; or a Python object.
        seed: Of the cells.
        run: What it has in common with the run's other jobs.
    """

    models: tuple[Any, ...]
    task: Any
    seed: int
    run: RunContext

    def cells(self, registry: Registry) -> tuple[PlannedCell, ...]:
        """Return the job's cells, one for each of ``models``, as this process has them registered."""
        return plan(registry, Request(self.models, (self.task,), seeds=(self.seed,))).cells

    def only(self, cells: Collection[CellId], registry: Registry) -> Job:
        """Return the job of some of its cells."""
        pairs = zip(self.models, self.cells(registry), strict=True)
        return replace(self, models=tuple(model for model, cell in pairs if cell.id in cells))

    def check_value(self) -> None:
        """Refuse what no other process can load.

        Raises:
            UserError: It refers to a Python object.
        """
        for kind, value in (
            *(("model", model) for model in self.models),
            ("task", self.task),
            *(("plugin", plugin) for plugin in self.run.plugins.others),
        ):
            if not isinstance(value, str | Path):
                raise UserError(
                    "it is a Python object, which no other process can load",
                    where=f"{kind} {type(value).__name__}",
                    todo="register it in a plugin that is a file or a module",
                )


def jobs_of(cells: Plan, run: RunContext) -> list[Job]:
    """Cut a plan into jobs, in its order; budgets of one model on one task are one job."""
    return [
        Job(
            tuple(_named(cell.model.base, str(cell.model.spec)) for cell in one),
            _named(one[0].task.step, str(one[0].task.step.call)),
            one[0].seed,
            run,
        )
        for one in _by_job(cells)
    ]


def shard_of(whole: Plan, number: int, count: int) -> Plan:
    """Return one of several parts of a plan, which have as many jobs each, give or take one.

    A part is a stretch of the plan, so that it loads few models; which one does not depend on what is done already.

    Args:
        whole: All cells.
        number: Which part, from 1.
        count: How many parts there are.
    """
    jobs = _by_job(whole)
    first, after = (len(jobs) * part // count for part in (number - 1, number))
    return replace(whole, cells=tuple(cell for job in jobs[first:after] for cell in job))


def _by_job(cells: Plan) -> list[list[PlannedCell]]:
    """The cells of each job: those that differ in their budget alone."""
    jobs: dict[CellId, list[PlannedCell]] = {}
    for cell in cells.cells:
        jobs.setdefault(cell.id.model_copy(update={"budget": 1.0}), []).append(cell)
    return list(jobs.values())


def _named(step: Step, spec: str) -> Any:
    """The spec of what is registered, and else the object itself."""
    return step.entry.factory()() if step.entry.owner == OBJECT_OWNER else spec
