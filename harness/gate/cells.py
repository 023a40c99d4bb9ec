"""A suite's cells against their baseline: what they come to now, and what of it is another."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..runner import RunSpec, execute
from ..stats import cluster_names
from ..store import RunDirectory
from .accuracy import loss
from .baselines import Baseline
from .exact import compare_exactly
from .verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..identity import Settings
    from ..planning import Plan
    from ..plugins import Plugins
    from ..progress import Progress
    from .accuracy import AccuracyRule
    from .baselines import CellBaseline
    from .verdict import Kind


def run_cells(
    plugins: Plugins, suite: str, cells: Plan, settings: Settings, out: Path | None, progress: Progress
) -> Baseline:
    """Run cells and return what a baseline keeps of them.

    Args:
        plugins: Of this process.
        suite: Name of the baseline.
        cells: What to run.
        settings: How.
        out: Run directory to keep; by default one of its own, so that nothing is reused that was run before.
        progress: Told how far it is.
    """
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="adaptbench-gate-"))) / "run"
        execute(plugins, RunSpec(cells, folder, settings, command="adaptbench gate"), progress)
        return Baseline.of(suite, RunDirectory.existing(folder).journals())


def compare_with_baseline(
    base: Baseline | None, head: Baseline, rule: AccuracyRule, kinds: Collection[Kind]
) -> list[Finding]:
    """Compare what does not depend on the clock, cell by cell."""
    findings: list[Finding] = []
    before = base.cells if base else {}
    todo = "make the baseline with --update, and commit it"
    for name in sorted({*before, *head.cells}):
        if name not in before:
            findings.append(_refused(name, "no-baseline", f"there is no baseline of it; {todo}"))
        elif name not in head.cells:
            findings.append(
                _refused(name, "cell-missing", "the baseline has it, the suite does not; renew it (--update)")
            )
        else:
            exact = compare_exactly(name, before[name], head.cells[name])
            findings += [exact] if "exact" in kinds else []
            if "accuracy" in kinds and exact.status != "refused":
                findings.append(compare_accuracy(name, before[name], head.cells[name], rule))
    return findings


def compare_accuracy(name: str, base: CellBaseline, head: CellBaseline, rule: AccuracyRule) -> Finding:
    """Test the loss of a cell's first metric, sample by sample."""
    scored = [n for n, one in base.samples.items() if one.scores is not None and head.samples[n].scores is not None]
    lost = [n for n, one in base.samples.items() if one.scores is not None and head.samples[n].scores is None]
    shown = {
        "base": f"{base.metric} {base.metrics.get(base.metric, np.nan):.4f}",
        "head": f"{head.metrics.get(base.metric, np.nan):.4f}",
    }
    if lost or not scored:
        what = f"{len(lost)} samples had a score and have none now" if lost else "no sample has a score"
        return Finding(kind="accuracy", cell=name, status="refused", code="unscored", detail=what, **shown)
    values = [np.array([(cell.samples[n].scores or {})[base.metric] for n in scored]) for cell in (base, head)]
    groups = cluster_names(scored, [base.samples[n].group for n in scored])
    better, worse = values if base.better == "higher" else values[::-1]
    found = loss(better, worse, rule, groups)
    counts = f"{found.lost} samples lost, {found.gained} gained of {found.n}"
    limit = f"a loss of {rule.margin:g}"
    if found.passes(rule):
        code = "same" if found.same else "within-margin"
        detail = "no score differs" if found.same else f"{counts}; {limit} is ruled out (p {found.p_within:.2g})"
        return Finding(kind="accuracy", cell=name, status="pass", code=code, detail=detail, **shown)
    why = f"{counts}; {limit} is not ruled out (p {found.p_within:.2g})"
    if found.proven(rule):
        return Finding(kind="accuracy", cell=name, status="fail", code="accuracy-lost", detail=why, **shown)
    why += "; give it more samples, or a wider --margin"
    return Finding(kind="accuracy", cell=name, status="refused", code="accuracy-undecided", detail=why, **shown)


def _refused(name: str, code: str, detail: str) -> Finding:
    return Finding(kind="exact", cell=name, status="refused", code=code, detail=detail)
