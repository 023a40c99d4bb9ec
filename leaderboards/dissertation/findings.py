"""``adaptbench report RUN --table findings``: the dissertation's findings of chapter 5 beside what runs say.

``findings.yaml`` says what is claimed, and which comparison decides it. A verdict is what an interval says:
the claim holds if the whole of it is on the claimed side of the bound, does not hold if the whole is on the other side,
and is undecided else.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from ...harness.specs import parse
from ...harness.yaml_files import read_yaml, validated
from .. import wording
from ..board import make_board
from .claims import FAILS, HOLDS, NOT_RUN, UNDECIDED, Comparison, File, Finding, Side, decide, planned
from .contrasts import LEVEL
from .seeds import INTERVALS, facts, percentages
from .study import VERDICTS, Number, Study, Table, Verdict, render
from .trainings import Place, clusters, groups

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ...harness.outputs import ReportRequest
    from ..board import Board
    from .contrasts import Term
    from .study import Item
    from .trainings import Group

_USUAL = {"scheduler": "probabilistic", "pruning": "none"}
"""What a side was trained with, unless it says otherwise."""
_UNITS = {"relative": "%", "spread": "times"}
_CAPTION = "What the dissertation finds for models of 7 and 3 billion parameters, and what these runs say of it."
_DECIDES = (
    "Each comparison with its 95 % interval over images and trainings. A change in % is relative to what is compared "
    "with, task by task, and averaged; other differences are in percentage points; spread is a ratio of standard "
    "deviations."
)
_HEADS = ("finding", "compared", "on", "here", "claimed", "trainings", "verdict")
_NOTES = (
    "Holds: the whole interval is on the claimed side. Does not hold: the whole is on the other side. Undecided: the "
    "bound lies inside, which says that questions and trainings are too few to tell, not that there is no difference. "
    "Not run: cells are missing.",
    "A finding about every budget holds if each of its comparisons does, and does not hold if one of them does not; "
    "with a finding that something happens sometimes it is the other way about. Where one comparison decides for a "
    "whole finding, its interval is widened for their number (Bonferroni). Nothing is corrected for the number of "
    "findings: each verdict other than undecided has its own chance, of up to one in 20, to be wrong.",
    "Differences are taken question by question, and training by training where both sides are the same trainings.",
)


def findings(request: ReportRequest) -> str:
    """Return the findings, theirs beside ours.

    Raises:
        UserError: No cell is complete.
    """
    return render(findings_study(make_board(request.runs, request.plugins), load_findings()), request.form)


def load_findings(path: Path | None = None) -> tuple[Finding, ...]:
    """Read findings.

    Args:
        path: The file; default the dissertation's.

    Raises:
        UserError: It cannot be read, or holds something else.
    """
    if path is None:
        with as_file(files(__package__) / "findings.yaml") as shipped:
            return load_findings(shipped)
    content = read_yaml(path, kind="findings", fields="a list of findings")
    return validated(File, content, where=str(path), todo="see the head of findings.yaml").findings


def findings_study(board: Board, found: Sequence[Finding]) -> Study:
    """The findings on a board, base by base."""
    runs = _Runs(board)
    tables: list[Table] = []
    values: list[dict[str, Any]] = []
    for base in runs.bases:
        decided = [(finding, runs.compare(base, finding)) for finding in found]
        of = f" ({base})" if len(runs.bases) > 1 else ""
        summary: list[list[Item]] = [
            [finding.statement, finding.source, finding.theirs, Verdict(verdict(finding.rule, comparisons))]
            for finding, comparisons in decided
        ]
        rows = [_row(finding, base, one) for finding, comparisons in decided for one in comparisons]
        tables.append(Table(f"Findings{of}", _CAPTION, ("finding", "where", "theirs", "here"), summary))
        tables.append(Table(f"What decides{of}", _DECIDES, _HEADS, rows))
        values += [_value(finding, base, one) for finding, comparisons in decided for one in comparisons]
    told = [row[-1].text for table in tables[::2] for row in table.rows if isinstance(row[-1], Verdict)]
    counts = [f"{word}: {told.count(word)}" for word in VERDICTS if word in told]
    made = sum(value["value"] is not None for value in values)
    said = (f"{len(told)} findings ({', '.join(counts)})", f"{made} comparisons", *facts(board))
    reasons = "; ".join(f"{finding.id}: {finding.why}" for finding in found if finding.why)
    notes = (*_NOTES, *INTERVALS, f"Where bounds come from, if they are not 0. {reasons}.")
    return Study("Findings of chapter 5", said, tables, notes, values)


def verdict(rule: str, comparisons: Sequence[Comparison]) -> str:
    """The verdict on a finding."""
    found = {comparison.verdict(rule) for comparison in comparisons}
    if NOT_RUN in found or not found:
        return NOT_RUN
    decisive, other = (HOLDS, FAILS) if rule == "some" else (FAILS, HOLDS)
    if decisive in found:
        return decisive
    return other if found == {other} else UNDECIDED


class _Runs:
    """The cells that findings are about."""

    def __init__(self, board: Board) -> None:
        self._groups, self._clusters = groups(board.sections), clusters(board.sections)
        self._tasks = percentages(board.sections)
        self.bases = list(dict.fromkeys(group.base for group in self._groups))

    def compare(self, base: str, finding: Finding) -> list[Comparison]:
        """Make the comparisons of a finding."""
        wanted = planned(finding, self._tasks)
        level = 1 - (1 - LEVEL) / max(1, len(wanted))
        return [self._made(base, finding, comparison, level) for comparison in wanted]

    def _made(self, base: str, finding: Finding, comparison: Comparison, level: float) -> Comparison:
        tasks = [comparison.task] if comparison.task else self._tasks
        sides = (*comparison.of, *comparison.against)
        found = [self._group(base, side) for side in sides]
        chosen = {side: group for side, group in zip(sides, found, strict=True) if group is not None}
        seeds = {side: self._seeds(chosen, group, tasks) for side, group in chosen.items()}
        lacks = dict.fromkeys(
            (side if side in chosen else side._replace(budget=1.0)).named(base) for side in sides if not seeds.get(side)
        )
        if lacks or not tasks:
            return comparison.lacking(", ".join(lacks) or "a task whose metric is a percentage")

        def term(side: Side, measure: str) -> Term:
            return chosen[side].term(side.budget, tasks, seeds[side], measure)

        ends = (comparison.of[0], *comparison.against[:1])
        trainings = tuple(len(seeds[side]) if chosen[side].methods else 0 for side in ends)
        try:
            return decide(finding, comparison, term, self._clusters, level).resting_on(trainings)
        except KeyError:
            return comparison.lacking("what the answers spent")
        except ValueError:
            return comparison.lacking("samples that were scored on both sides")

    def _seeds(self, chosen: dict[Side, Group], group: Group, tasks: Sequence[str]) -> list[str]:
        """Trainings of a group that have all cells which the comparison takes of it."""
        places = [Place(side.budget, task) for side, other in chosen.items() if other is group for task in tasks]
        return group.trainings(places)

    def _group(self, base: str, side: Side) -> Group | None:
        """The method of a side; that of the most trainings, if several fit."""
        methods, wanted = tuple(map(str, parse(side.model).methods)), {**_USUAL, **dict(side.trained)}
        fit = [
            group
            for group in self._groups
            if (group.base, group.methods) == (base, methods)
            and all(group.recipe.get(name, _USUAL.get(name)) == value for name, value in wanted.items())
        ]
        return max(fit, key=lambda group: max(map(len, group.cells.values())), default=None)


def _row(finding: Finding, base: str, one: Comparison) -> list[Item]:
    return [
        finding.id,
        one.named(base),
        one.task or "average",
        f"lacks {one.lacks}" if one.lacks else Number(_shown(finding, one)),
        Number(_claimed(finding, one)),
        Number(" / ".join(str(count) if count else wording.MISSING for count in one.trainings) or wording.MISSING),
        Verdict(one.verdict(finding.rule)),
    ]


def _shown(finding: Finding, one: Comparison) -> str:
    if finding.rule == "never":
        return f"{one.value:.0f} of {one.answers:,} answers"
    sign = "" if finding.measure == "spread" or not one.against else "+"
    interval = "" if one.ends is None else f" [{one.ends[0]:{sign}.1f}, {one.ends[1]:{sign}.1f}]"
    return f"{one.value:{sign}.1f}{interval} {_unit(finding, one)}"


def _claimed(finding: Finding, one: Comparison) -> str:
    return "none" if finding.rule == "never" else f"≥ {one.bound:g} {_unit(finding, one)}"


def _unit(finding: Finding, one: Comparison) -> str:
    return _UNITS.get(finding.measure, "points" if one.against else "%")


def _value(finding: Finding, base: str, one: Comparison) -> dict[str, Any]:
    """For programs."""
    low, high = one.ends or (None, None)
    return {
        "finding": finding.id,
        "rule": finding.rule,
        "measure": finding.measure,
        "compared": one.named(base),
        "task": one.task or "average",
        "value": one.value,
        "low": low,
        "high": high,
        "bound": None if finding.rule == "never" else one.bound,
        "trainings": " ".join(map(str, one.trainings)),
        "lacks": one.lacks,
        "verdict": one.verdict(finding.rule),
    }
