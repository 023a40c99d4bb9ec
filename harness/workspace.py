"""What the cells that one process works on share: the run directory, tasks, models, keys and costs."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .costs import Costs
from .identity import task_fingerprint
from .loaded import LoadedModels
from .measure import hardware
from .samples import ChosenSamples
from .store import RunDirectory, Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .contracts import Task
    from .identity import BoundModel
    from .jobs import RunContext
    from .planning import PlannedCell
    from .plugins import Plugins
    from .progress import Progress
    from .results import CellId
    from .store import Journal


class Workspace:
    """What the cells that one process works on share.

    Args:
        plugins: Of this process.
        run: What all jobs have in common.
        progress: Told how far it is.
    """

    def __init__(self, plugins: Plugins, run: RunContext, progress: Progress) -> None:
        self.plugins, self.run, self.progress = plugins, run, progress
        self.directory = RunDirectory(run.out)
        self.models = LoadedModels()
        self._chosen: dict[tuple[str, int], ChosenSamples] = {}
        self._scoring: dict[tuple[str, int], str] = {}
        self._keys: dict[str, str] = {}
        self._weights: dict[str, str] = {}
        self._costs: dict[str, Costs] = {}
        self._kernels: dict[str, str] = {}
        self._others: list[dict[str, str]] = []
        """Kernels of the run's other sessions."""
        self._unended: dict[str, bool] = {}

    def begin(self) -> None:
        """Note this session in the run's manifest; make the run directory if need be."""
        self.set_threads()
        environment = hardware.describe() | {"git_revision": _git_revision()}
        started = datetime.now(UTC).isoformat(timespec="seconds")
        session = Session(id=hardware.session_id(), started=started, command=self.run.command, environment=environment)
        self.directory.begin(session)

    def claim(self, key: str, cell: CellId) -> tuple[Journal, bool]:
        """Note a cell in the manifest; return its journal, and whether an earlier session began and never ended it."""
        if key not in self._unended:
            noted = [one for one, other in self.directory.manifest().cells.items() if other == cell]
            self._unended[key] = not all(self.directory.journal(one).ended for one in noted)
        return self.directory.claim(key, cell), self._unended[key]

    def set_threads(self) -> None:
        """Compute on as many threads as the run asks for, whatever a model before has set."""
        if self.run.threads is not None:
            hardware.use_threads(self.run.threads)

    def note_kernels(self, key: str) -> None:
        """Note what computes a cell, now that its model is loaded, and say so if other sessions had others."""
        kernels = hardware.kernels()
        if kernels != self._kernels:
            self._kernels = kernels
            self._others = self.directory.compute_with(kernels, hardware.session_id())
            self._say_what_differs(kernels)
        if any(_differing(kernels, others) for others in self._others):
            self.directory.note_kernels(key, kernels)

    def _say_what_differs(self, kernels: Mapping[str, str]) -> None:
        for others in self._others:
            if differing := _differing(kernels, others):
                before, now = (", ".join(f"{name} {of[name]}" for name in differing) for of in (others, kernels))
                self.progress.note(f"part of this run was computed by {before}, the rest by {now}: rounding may differ")
                break

    def chosen(self, cell: PlannedCell) -> ChosenSamples:
        """Build a cell's task and choose its samples, or return those chosen before."""
        name, step = _task_name(cell), cell.task.step
        if name not in self._chosen:
            task: Task = step.entry.factory()(**step.entry.bind(step.call, seed=cell.seed))
            self._chosen[name] = ChosenSamples.of(task, cell.seed, self.run.limit)
        return self._chosen[name]

    def scoring(self, cell: PlannedCell) -> str:
        """Identity of the code that scores a cell; if unknown, it differs in every run."""
        name = _task_name(cell)
        if name not in self._scoring:
            self._scoring[name] = task_fingerprint(cell.task, self.chosen(cell).task) or self.run.name
        return self._scoring[name]

    def model_key(self, model: BoundModel) -> str:
        """Key of a model. Its weights are hashed once in a run, whatever its methods and budgets."""
        name, base = f"{model.model.spec} {model.arguments}", model.base_name
        if base not in self._weights:
            self._weights[base] = model.weights(self.run.name)
        if name not in self._keys:
            self._keys[name] = model.key(self.run.settings, self.run.name, self._weights[base])
        return self._keys[name]

    def costs(self, model: BoundModel, key: str) -> Costs:
        """The costs of a model, which are counted once for all of its cells."""
        if key not in self._costs:
            self._costs[key] = Costs(lambda: self.models.get(model, key), self.run.settings.waive)
        return self._costs[key]


def _differing(kernels: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """Names of the libraries that compute otherwise, of those that both have."""
    return [name for name in kernels if others.get(name, kernels[name]) != kernels[name]]


def _task_name(cell: PlannedCell) -> tuple[str, int]:
    return str(cell.task.step.call), cell.seed


def _git_revision() -> str:
    """Revision of the working directory, or an empty text outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
