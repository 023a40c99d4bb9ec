"""The gate, from a suite to a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..errors import UserError
from ..identity import Settings
from ..measure.hardware import check_device
from ..planning import Plan, Request, find_suite, plan
from ..plugins import load_plugins
from ..progress import Progress, describe
from .accuracy import AccuracyRule, tolerated
from .baselines import read_baseline, write_baseline
from .cells import compare_with_baseline, run_cells
from .clock import TimeRule
from .exact import compare_exactly
from .power import chance_to_stop
from .timings import BothSides, TimedPair, time_pairs
from .verdict import Finding, Kind, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from .baselines import Baseline, CellBaseline
    from .sides import Code
    from .timings import Timed

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a loss, and as slower."""

    accuracy: AccuracyRule = field(default_factory=AccuracyRule)
    time: TimeRule = field(default_factory=TimeRule)


class Gate:
    """A suite at the gate.

    Args:
        suite: Name of a suite, or a suite file.
        plugins: Files and modules to load besides the installed ones; relative to each side's folder.
        baselines: Folder of the baselines.
        rules: What counts as a loss, and as slower.
        settings: Batch size and device, where they are not the suite's: ``batch_size``, ``device``.

    Raises:
        UserError: The suite cannot be planned.
    """

    def __init__(
        self,
        suite: str,
        plugins: Sequence[str] = (),
        baselines: Path = Path("ci/baselines"),
        rules: Rules | None = None,
        **settings: str | int | None,
    ) -> None:
        self.rules, self._plugins = rules or Rules(), load_plugins(plugins)
        found = find_suite(self._plugins, suite)
        self.name = found.name
        self.path = baselines / f"{found.name}.json"
        self._plan: Plan = plan(
            self._plugins.registry,
            Request(found.models, found.tasks, found.budgets, found.seeds, found.only, found.sizes),
        )
        stated = {"batch_size": found.batch_size, "device": found.device} | settings
        self._settings = Settings(**{name: value for name, value in stated.items() if value is not None})  # type: ignore[arg-type]
        check_device(self._settings.device)

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return len(self._plan.cells)

    def run(self, out: Path | None = None, progress: Progress | None = None) -> Baseline:
        """Run the cells (see `run_cells`)."""
        return run_cells(self._plugins, self.name, self._plan, self._settings, out, progress or Progress())

    def against_baseline(self, head: Baseline, kinds: Collection[Kind] = KINDS) -> Verdict:
        """Compare what was run with the baseline."""
        findings = compare_with_baseline(read_baseline(self.path), head, self.rules.accuracy, kinds)
        return Verdict(suite=self.name, findings=tuple(findings), notes=(f"baseline: {self.path}",))

    def in_time(
        self, base: Code, head: Code, seed: int = 0, progress: Progress | None = None
    ) -> tuple[Verdict, list[Timed]]:
        """Time base and head in turn, each cell of the first seed (see `time_pairs`)."""
        first = min(cell.seed for cell in self._plan.cells)
        ids = [cell.id for cell in self._plan.cells if cell.seed == first and not cell.model.card.replays]
        pairs = [TimedPair(describe(cell), cell, cell) for cell in ids]
        both = BothSides(base, head, self._settings, tuple(map(str, self._plugins.names.others)))
        return time_pairs(self.name, pairs, both, self.rules.time, seed, (progress or Progress()).note)

    def renew(self, head: Baseline) -> list[str]:
        """Write the baseline; return what changes, in lines."""
        try:
            before = read_baseline(self.path)
        except UserError as error:
            before, note = None, [f"{error.what}: written anew"]
        else:
            note = []
        write_baseline(self.path, head)
        return [*note, *changes(before, head, self.rules.accuracy)]


def specs_in_turn(base: str, head: str, task: str, plugins: Sequence[str] = ()) -> TimedPair:
    """Return what to time of two models on one task.

    Args:
        base: Spec of a model.
        head: Spec of the one that must not be slower.
        task: What both are asked.
        plugins: Files and modules to load besides the installed ones.
    """
    registry = load_plugins(plugins).registry
    cells = [plan(registry, Request((spec,), (task,))).cells[0].id for spec in (base, head)]
    return TimedPair(f"{head} against {base} on {task}", *cells)


def changes(before: Baseline | None, after: Baseline, rule: AccuracyRule) -> list[str]:
    """Say what renewing a baseline changes, cell by cell, and how much a new cell lets pass."""
    known = before.cells if before else {}
    lines = [f"- {name}: no longer in the suite" for name in known if name not in after.cells]
    for name, cell in after.cells.items():
        if name not in known:
            lines.append(f"+ {name}: {_metrics(cell)}; {_reach(cell, rule)}")
        else:
            lines += [f"~ {name}: {line}" for line in _changed(name, known[name], cell)]
    return sorted(lines, key=lambda line: line[2:]) or ["nothing changes"]


def _changed(name: str, before: CellBaseline, after: CellBaseline) -> Iterator[str]:
    if before == after:
        return
    found: Finding = compare_exactly(name, before, after)
    if found.status != "pass":
        yield f"{found.code}: {found.base} -> {found.head} ({found.detail})"
    if _metrics(before) != _metrics(after):
        yield f"{_metrics(before)} -> {_metrics(after)}"
    elif found.status == "pass":
        differing = sum(one != after.samples.get(sample) for sample, one in before.samples.items())
        yield f"{differing} of {len(before.samples)} samples are answered otherwise, at the same cost and score"


def _metrics(cell: CellBaseline) -> str:
    return ", ".join(f"{metric} {value:.4f}" for metric, value in cell.metrics.items()) or "no score"


def _reach(cell: CellBaseline, rule: AccuracyRule) -> str:
    """How much the accuracy check lets pass, for scores of 0 and 1 of independent samples."""
    scores = [one.scores[cell.metric] for one in cell.samples.values() if one.scores is not None]
    told = f"{len(scores)} samples"
    if not set(scores) <= {0.0, 1.0} or any(one.group is not None for one in cell.samples.values()):
        return told
    caught = (
        chance_to_stop(len(scores), min(1.0, 2 * rule.margin), 0.0, rule) if len(scores) <= _MOST_COMPUTED else None
    )
    power = "" if caught is None else f", and a loss of {2 * rule.margin:g} is stopped with a chance of {caught:.2f}"
    return f"{told}, of which {tolerated(len(scores), rule)} may be lost{power}"


_MOST_COMPUTED = 2_000
"""Samples up to which the chance is summed up: it takes the square of them."""
