"""The runner: from a plan to jobs, and from their results to the run's."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import hooks
from .executor import InProcess
from .identity import Settings
from .jobs import RunContext, jobs_of
from .measure.hardware import check_device
from .results import FailedCell
from .samples import SampleLimit
from .store import RunDirectory
from .texts import all_printable

if TYPE_CHECKING:
    import pandas as pd

    from .executor import Executor
    from .planning import Plan
    from .plugins import Plugins
    from .progress import Progress
    from .results import CellResult, Timing


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run as a value."""

    plan: Plan
    out: Path
    settings: Settings = field(default_factory=Settings)
    limit: SampleLimit = field(default_factory=SampleLimit)
    command: str = ""
    fail_fast: bool = True
    """Whether the first cell that fails stops the run; otherwise the others are done, and it is in ``failed``."""
    timing: bool = True
    """Whether times are measured."""
    threads: int | None = None
    """Threads that each worker computes on; by default as many as its libraries choose."""
    elsewhere: bool = False
    """Whether it runs on other machines, whose devices are not known here."""
    reports: tuple[str, ...] = ()
    """What answers the suite, for `adaptbench report`."""

    def __post_init__(self) -> None:
        """Refuse a device that is not here, as planning refuses all else that cannot work.

        Raises:
            UserError: There is no such device.
        """
        if not self.elsewhere:
            check_device(self.settings.device)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to."""

    path: Path
    results: tuple[CellResult, ...]
    failed: tuple[FailedCell, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """One row per cell and metric.

        Columns: model, task, budget, seed, metric, value, low, high, n, flops, parameters, seconds (median per input),
        peak_memory (bytes), partial.
        """
        import pandas as pd

        rows = [
            {
                **result.cell.model_dump(),
                "metric": metric,
                **estimate.model_dump(exclude={"method"}),
                "flops": result.flops.value if result.flops else None,
                "parameters": result.parameters,
                "seconds": timing.median / timing.inputs if timing else None,
                "peak_memory": timing.peak_memory if timing else None,
                "partial": result.partial,
            }
            for result, timing in zip(self.results, map(self._timing, self.results), strict=True)
            for metric, estimate in result.metrics.items()
        ]
        return pd.DataFrame(all_printable(rows))

    def _repr_html_(self) -> str:
        """The same as a table in a notebook."""
        return self.to_pandas().to_html(index=False)

    def _timing(self, result: CellResult) -> Timing | None:
        return RunDirectory(self.path).journal(result.key).timing()


def execute(
    plugins: Plugins, spec: RunSpec, progress: Progress | None = None, executor: Executor | None = None
) -> RunResult:
    """Run every cell that is not complete yet.

    Args:
        plugins: Of this process.
        spec: What to run.
        progress: Told how far it is.
        executor: Has the jobs done; by default this process does them.

    Raises:
        UserError: Something the user can fix; what was recorded so far stays and is not done again.
    """
    run = RunContext(
        out=spec.out,
        folder=Path.cwd(),
        name=secrets.token_hex(8),
        settings=spec.settings,
        limit=spec.limit,
        command=spec.command,
        plugins=plugins.names,
        fail_fast=spec.fail_fast,
        timing=spec.timing,
        threads=spec.threads,
    )
    executor = executor or InProcess(plugins, run, progress)
    RunDirectory(spec.out).ask_for((cell.id for cell in spec.plan.cells), spec.reports)
    plugins.fire("run_started", hooks.RunStarted(path=spec.out, cells=[cell.id for cell in spec.plan.cells]))
    found = {result.cell: result for result in executor.run(jobs_of(spec.plan, run))}
    cells = [cell.id for cell in spec.plan.cells]
    failures = {} if len(found) == len(cells) else RunDirectory(spec.out).failures()
    results = tuple(found[cell] for cell in cells if cell in found)
    left = [cell for cell in cells if cell not in found]
    failed = tuple(FailedCell(cell=cell, reason=failures.get(cell, "it was not done")) for cell in left)
    plugins.fire("run_finished", hooks.RunFinished(path=spec.out, results=results, failed=failed))
    return RunResult(spec.out, results, failed)
