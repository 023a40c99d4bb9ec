"""``adaptbench report RUN --table findings``: the dissertation's findings beside what runs say.

``findings-3.yaml`` and ``findings-5.yaml`` say what is claimed, and which comparison decides it. A verdict is what an
interval says: the claim holds if the whole of it is on the claimed side of the bound, does not hold if the whole is on
the other side, and is undecided else.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from ...harness.specs import parse
from ...harness.yaml_files import read_yaml, validated
from .. import wording
from ..board import make_board
from ..study import VERDICTS, Number, Study, Table, Verdict, render
from .claims import FAILS, HOLDS, NOT_RUN, UNDECIDED, Chapter, Comparison, Finding, Side, decide, planned
from .contrasts import LEVEL
from .pairs import fits, matched, steps
from .seeds import INTERVALS, facts, percentages
from .trainings import Place, clusters, groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ...harness.outputs import ReportRequest
    from ...harness.registry import Registry
    from ..board import Board
    from ..study import Item
    from .claims import Claim
    from .contrasts import Term
    from .pairs import Pair
    from .trainings import Group

CHAPTERS = (3, 5)
_UNITS = {"relative": "%", "spread": "times"}
_DECIDES = (
    "Each comparison with its 95 % interval over images or episodes, and trainings. A change in % is relative to what "
    "is compared with, task by task, and averaged; other differences are in percentage points; spread is a ratio of "
    "standard deviations."
)
_HEADS = ("finding", "compared", "on", "here", "claimed", "trainings", "verdict")
_NOTES = (
    "Holds: the whole interval is on the claimed side. Does not hold: the whole is on the other side. Undecided: the "
    "bound lies inside, which says that questions and trainings are too few to tell, not that there is no difference. "
    "Not run: cells are missing.",
    "A finding about every budget, task or step holds if each of its comparisons does, and does not hold if one of "
    "them does not; with a finding that something happens sometimes it is the other way about. Where one comparison "
    "decides for a whole finding, its interval is widened for their number (Bonferroni). Nothing is corrected for the "
    "number of findings: each verdict other than undecided has its own chance, of up to one in 20, to be wrong.",
    "Differences are taken question by question or episode by episode, on the tasks that both sides were run on, and "
    "training by training where both sides are the same trainings, or those of one seed learn from the same samples "
    "of the target. Where several trainings of a method fit, the ones "
    "with the most seeds, then with the most tasks, then with the most common recipe are meant.",
)


def findings(request: ReportRequest) -> str:
    """Return the findings, theirs beside ours.

    Raises:
        UserError: No cell is complete, or no finding is about a model of these runs.
    """
    board = make_board(request.runs, request.plugins)
    chapters = [load_chapter(number) for number in CHAPTERS]
    return render(findings_study(board, request.plugins.registry, chapters), request.form)


def load_chapter(chapter: int | Path) -> Chapter:
    """Read the findings of a chapter of the dissertation, or a file of others.

    Raises:
        UserError: It cannot be read, or holds something else.
    """
    if isinstance(chapter, int):
        with as_file(files(__package__) / f"findings-{chapter}.yaml") as shipped:
            return load_chapter(shipped)
    content = read_yaml(chapter, kind="findings", fields="chapter, about and findings")
    return validated(Chapter, content, where=str(chapter), todo="see the head of findings-5.yaml")


def findings_study(board: Board, registry: Registry, chapters: Sequence[Chapter]) -> Study:
    """The findings on a board, of the chapters that its models' methods are from.

    Raises:
        UserError: There is no such chapter.
    """
    found = groups(board.sections, registry)
    tables: list[Table] = []
    values: list[dict[str, Any]] = []
    notes = [*_NOTES, *INTERVALS]
    for chapter in chapters:
        runs = _Runs(board, found, chapter)
        if runs.bases:
            made, rows = _chapter(runs, chapter)
            tables += made
            values += rows
            reasons = "; ".join(f"{finding.id}: {finding.why}" for finding in chapter.findings if finding.why)
            notes.append(f"Where bounds of chapter {chapter.chapter} come from, if they are not 0. {reasons}.")
    if not tables:
        raise UserError(
            "no finding is about a model of these runs", where=board.title, todo="run adaptive-seeds or fewshot-glyphs"
        )
    decided = [cell for table in tables if table.heads != _HEADS for row in table.rows for cell in row]
    told = [cell.text for cell in decided if isinstance(cell, Verdict)]
    counts = ", ".join(f"{word}: {told.count(word)}" for word in VERDICTS if word in told)
    made_of = f"{sum(value['value'] is not None for value in values)} comparisons"
    return Study("Findings", (f"{len(told)} verdicts ({counts})", made_of, *facts(board)), tables, notes, values)


def _chapter(runs: _Runs, chapter: Chapter) -> tuple[list[Table], list[dict[str, Any]]]:
    """The tables of a chapter - a verdict for each base, then what decides it base by base - and rows for programs."""
    title = f"Findings of chapter {chapter.chapter}"
    compared = {(finding.id, base): runs.compare(base, finding) for finding in chapter.findings for base in runs.bases}
    summary: list[list[Item]] = [
        [
            finding.statement,
            finding.source,
            finding.theirs,
            *(Verdict(verdict(finding.rule, compared[finding.id, base])) for base in runs.bases),
        ]
        for finding in chapter.findings
    ]
    heads = ("finding", "where", "theirs", *(runs.bases if len(runs.bases) > 1 else ("here",)))
    tables = [Table(title, chapter.about, heads, summary)]
    values = []
    for base in runs.bases:
        of = f" ({base})" if len(runs.bases) > 1 else ""
        rows = [(finding, one) for finding in chapter.findings for one in compared[finding.id, base]]
        shown = [_row(finding, base, one) for finding, one in rows]
        tables.append(Table(f"What decides the findings of chapter {chapter.chapter}{of}", _DECIDES, _HEADS, shown))
        values += [{"chapter": chapter.chapter, **_value(finding, base, one)} for finding, one in rows]
    return tables, values


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
    """The cells that the findings of a chapter are about.

    Attributes:
        bases: Models that a method of the chapter was put on.
    """

    def __init__(self, board: Board, found: Sequence[Group], chapter: Chapter) -> None:
        self._groups, self._clusters, self._usual = found, clusters(board.sections), chapter.usual
        self._tasks, self._apart = percentages(board.sections), chapter.apart
        named = {name for finding in chapter.findings for name in _methods(finding)}
        self.bases = list(dict.fromkeys(group.base for group in found if named & _names(group.model)))

    def compare(self, base: str, finding: Finding) -> list[Comparison]:
        """Make the comparisons of a finding."""
        wanted = planned(finding, self._about(finding), lambda claim: self._pairs(base, claim))
        if finding.by == "task":
            wanted = [one for one in wanted if self._ran(base, one)] or wanted
        level = 1 - (1 - LEVEL) / max(1, len(wanted))
        return [self._made(base, finding, comparison, level) for comparison in wanted]

    def _pairs(self, base: str, claim: Claim) -> Sequence[Pair]:
        """What both sides of a claim were trained with."""
        of, against = (self._fitting(base, spec, {}) for spec in (claim.of, claim.against or claim.of))
        if claim.along:
            return steps(claim.along, of) or [({claim.along: "more"}, {claim.along: "less"})]
        return matched(claim.trained, claim.trained_against, of, against)

    def _ran(self, base: str, one: Comparison) -> bool:
        """Whether both sides were run on the only task of a comparison."""
        found = [(side.budget, self._group(base, side)) for side in (*one.of, *one.against)]
        return all(group is not None and Place(budget, one.task) in group.cells for budget, group in found)

    def _made(self, base: str, finding: Finding, comparison: Comparison, level: float) -> Comparison:
        sides = (*comparison.of, *comparison.against)
        grouped = [self._group(base, side) for side in sides]
        chosen = {side: group for side, group in zip(sides, grouped, strict=True) if group is not None}
        tasks = [comparison.task] if comparison.task else self._common(chosen, self._about(finding))
        seeds = {side: self._seeds(chosen, group, tasks) for side, group in chosen.items()}
        if finding.paired:
            every = list(seeds.values())
            seeds = {
                side: [seed for seed in own if all(seed in other for other in every)] for side, own in seeds.items()
            }
        lacks = dict.fromkeys(
            (side if side in chosen else side._replace(budget=1.0)).named(base) for side in sides if not seeds.get(side)
        )
        if lacks or not tasks:
            return comparison.lacking(", ".join(lacks) or "a task whose metric is a percentage")

        def term(side: Side, measure: str) -> Term:
            found = chosen[side].term(side.budget, tasks, seeds[side], measure)
            return found._replace(group=finding.id) if finding.paired else found

        ends = (comparison.of[0], *comparison.against[:1])
        trainings = tuple(len(seeds[side]) if chosen[side].methods else 0 for side in ends)
        try:
            return decide(finding, comparison, term, self._clusters, level).resting_on(tasks, trainings)
        except KeyError:
            return comparison.lacking("what the answers spent")
        except ValueError:
            return comparison.lacking("samples that were scored on both sides")

    def _about(self, finding: Finding) -> list[str]:
        """The tasks that a finding is about."""
        if finding.targets:
            return [task for task in self._tasks if fits({"task": task}, {"task": finding.targets})]
        return [task for task in self._tasks if not fits({"task": task}, {"task": self._apart})]

    def _common(self, chosen: Mapping[Side, Group], tasks: list[str]) -> list[str]:
        """The tasks that all sides were run on; all if there is none, so that what is missing is said."""
        common = [
            task for task in tasks if all(Place(side.budget, task) in group.cells for side, group in chosen.items())
        ]
        return common or tasks

    def _seeds(self, chosen: Mapping[Side, Group], group: Group, tasks: Sequence[str]) -> list[str]:
        """Trainings of a group that have all cells which the comparison takes of it."""
        places = [Place(side.budget, task) for side, other in chosen.items() if other is group for task in tasks]
        return group.trainings(places)

    def _fitting(self, base: str, spec: str, trained: Mapping[str, str]) -> list[Group]:
        """The trainings of a method that were trained so."""
        methods = tuple(map(str, parse(spec).methods))
        return [
            group
            for group in self._groups
            if (group.base, group.methods) == (base, methods)
            and fits({**self._usual, **group.recipe}, {**self._usual, **trained})
        ]

    def _group(self, base: str, side: Side) -> Group | None:
        """The method of a side."""
        of_base = [group.recipe for group in self._groups if group.base == base]

        def preference(group: Group) -> tuple[int, int, int]:
            seeds = max(map(len, group.cells.values()))
            common = sum(recipe.get(name) == value for name, value in group.recipe.items() for recipe in of_base)
            return seeds, len(group.cells), common

        return max(self._fitting(base, side.model, dict(side.trained)), key=preference, default=None)


def _names(spec: str) -> set[str]:
    """The names of a model's methods."""
    return {call.name for call in parse(spec).methods}


def _methods(finding: Finding) -> set[str]:
    return {
        name for claim in finding.comparisons for side in (claim.of, claim.against) if side for name in _names(side)
    }


def _row(finding: Finding, base: str, one: Comparison) -> list[Item]:
    return [
        finding.id,
        one.named(base),
        one.where,
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
        "base": base,
        "compared": one.named(base),
        "task": one.where,
        "value": one.value,
        "low": low,
        "high": high,
        "bound": None if finding.rule == "never" else one.bound,
        "trainings": " ".join(map(str, one.trainings)),
        "lacks": one.lacks,
        "verdict": one.verdict(finding.rule),
    }
