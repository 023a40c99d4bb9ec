"""What the page shows, as plain values: the template only sets it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

from . import wording
from .axes import plots
from .ranking import commonest, evidence, warnings
from .spent import spent_table
from .subsets import subset_tables
from .summary import summarise
from .task_families import blocks, families, first_word
from .wording import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..harness.cards import Card, Metric
    from ..harness.results import CellResult, Estimate, FlopCount, Timing
    from ..harness.store import Session
    from .axes import Plot
    from .board import Board
    from .collect import Run
    from .ranking import Section, Standing
    from .summary import Line, Price, Summary
    from .task_families import Block, Family


_FEW = 3
"""Ranks that are shown one by one."""


class TableRow(NamedTuple):
    """A row of the overview or of a task's table; ``aside`` if it has no rank."""

    name: str
    cells: list[Cell]
    aside: bool
    rank: Cell
    remarks: list[str]
    reason: str


@dataclass(frozen=True, slots=True)
class PlotView:
    """A chart on the page; ``plot`` is drawn if it has points."""

    id: str
    title: str
    caption: list[str]
    plot: Plot


def facts(board: Board) -> list[str]:
    """What the board is made of, when, where and by which versions."""
    standings = [standing for section in board.sections for standing in section.standings]
    models, (done, asked) = len({s.row.label for s in standings}), board.cells
    partial = sorted({section.partial for section in board.sections} - {""})
    sessions = [session for run in board.runs for session in run.manifest.sessions]
    versions = {f"adaptbench {_packages(s).get('adaptbench', '?')}{_revision(s)}" for s in sessions}
    return [
        f"{_count(models, 'model')} on {_count(len(board.sections), 'task')}",
        f"{done:,} of {_count(asked, 'cell')} done" if done < asked else _count(done, "cell"),
        *partial,
        *sorted({_time(session.started)[:10] for session in sessions}),
        *sorted(versions),
        *sorted({str(session.environment.get("machine", "")) for session in sessions} - {""}),
    ]


def summaries(board: Board) -> list[dict[str, Any]]:
    """What the families of tasks come to, each with how much of what was asked for is done."""
    found, left = [], [miss.cell.task for miss in board.missing]
    for family in families(board.sections):
        word = first_word(family.sections[0].task)
        missing = [task for task in left if first_word(task) == word]
        left = [task for task in left if first_word(task) != word]
        done = sum(len(section.standings) for section in family.sections)
        found.append(summary_view(summarise(family)) | {"done": _done(done, done + len(missing))})
    if left:
        none = {"tasks": "", "done": _done(0, len(left)), "verdict": "No cell is done.", "rows": []}
        found.append({"title": wording.listed(sorted(set(left))), **none})
    return found


def summary_view(summary: Summary) -> dict[str, Any]:
    """The first screen's table of a family."""
    family, base = summary.family, summary.base
    tasks = wording.listed([_count(len(summary.tasks), "task")])
    over = "" if len(summary.tasks) == len(family.sections) else f", over {tasks} that these models have all done"
    mean = "" if len(summary.tasks) == 1 else f"; scores are means over {tasks}"
    caption = [f"Compared with {base}, sample by sample" if base else "There is no base to compare with", mean, over]
    heads = ["rank", wording.with_unit(family.metric), "difference", "retained, %", "FLOPs per input", "time per input"]
    cells = [_summary_cells(line, summary) for line in summary.lines]
    told = [any(row[column].text != wording.MISSING for row in cells) for column in range(len(heads))]
    return {
        "title": family.title,
        "tasks": _count(len(family.sections), "task"),
        "verdict": summary.verdict,
        "caption": "".join(caption) + ".",
        "heads": list(compress(heads, told)),
        "rows": [
            {"name": line.name, "roles": _roles(line), "aside": line.baseline, "cells": list(compress(row, told))}
            for line, row in zip(summary.lines, cells, strict=True)
        ],
        "others": summary.others,
    }


def _summary_cells(line: Line, summary: Summary) -> list[Cell]:
    metric, ranks = summary.family.metric, line.ranks
    hint = ", ".join(f"{rank} on {_count(count, 'task')}" for rank, count in ranks.items())
    return [
        Cell(", ".join(_ranks(line)), hint=hint),
        _score_cell(line.score, metric)._replace(best="winner" in line.roles),
        Cell(wording.change(line.difference, metric), note=_told_apart(line, len(summary.tasks))),
        Cell(wording.MISSING if line.retained is None else f"{100 * line.retained:.1f}"),
        _price_cell(line.flops, ""),
        _price_cell(line.time, "s"),
    ]


def _ranks(line: Line) -> list[str]:
    """Its rank on each task; once where it is always the same, and from the best to the worst of many."""
    ranks = [standing.rank for standing in line.standings]
    if len(set(ranks)) == 1:
        return ranks[:1]
    tiers = [standing.tier for standing in line.standings if standing.tier]
    if len(ranks) <= _FEW or not tiers:
        return ranks
    return [f"{min(tier.best for tier in tiers)} to {max(tier.worst for tier in tiers)}"]


def _told_apart(line: Line, tasks: int) -> str:
    """Whether a difference is real, by the ranks."""
    if line.told_apart is None:
        return ""
    found = [(word, count) for word, count in zip(("better", "worse"), line.told_apart, strict=True) if count]
    said = [word if tasks == 1 else f"{word} on {count} of {tasks}" for word, count in found]
    return wording.listed(said) or "not told apart"


def _price_cell(price: Price | None, unit: str) -> Cell:
    if price is None:
        return Cell(wording.MISSING)
    ratio = "" if price.ratio is None else f"{wording.factor(price.ratio)} × base"
    return Cell(wording.si(price.value, unit), price.value, note=ratio)


def _roles(line: Line) -> list[str]:
    on = wording.listed(line.frontier)
    return [f"frontier: {on}" if role == "frontier" else role for role in line.roles]


def overviews(board: Board) -> list[dict[str, Any]]:
    """The families of tasks, each as models x tasks, with what each model costs over all of them."""
    return [_overview(family) for family in families(board.sections)]


def _overview(family: Family) -> dict[str, Any]:
    labels = list(dict.fromkeys(s.row.label for section in family.sections for s in section.standings))
    usual, parts = _usual(family), blocks(family)
    place = f", times of {usual.way}, {usual.machine}, {usual.device}" if usual.machine else ""
    unranked = any(standing.reason not in ("", s.partial) for s in family.sections for standing in s.standings)
    caption = [
        "Bold: no other model of the task is significantly better.",
        "* Not ranked on that task." if unranked else "",
        f"Costs are ranges over the tasks{place}.",
        "Ordered by mean rank, baselines last.",
    ]
    return {
        "title": family.title,
        "caption": " ".join(filter(None, caption)),
        "tables": [
            {
                "title": block.title,
                "heads": [(head, wording.with_unit(family.metric)) for head in block.heads],
                "costs": [] if number else ["FLOPs per input", "time per input", "parameters", "peak memory"],
                "rows": _overview_rows(family, block, labels, None if number else usual),
            }
            for number, block in enumerate(parts)
        ],
    }


def _overview_rows(family: Family, block: Block, labels: Sequence[str], usual: _Usual | None) -> list[TableRow]:
    rows = [_overview_row(family, block, label, usual) for label in labels]
    kept = [row for row in rows if usual or any(cell.order != "" for cell in row.cells)]
    return sorted(kept, key=lambda row: (row.aside, row.rank.order))


def task_table(section: Section) -> dict[str, Any]:
    """The table of one task."""
    results = [standing.row.result for standing in section.shown]
    scores = [score for result in results for score in result.metrics.values() if score.low is not None]
    decided = (
        f"Ranks from paired tests on {section.paired:,} {section.noun}{_power(section)}. " if section.ranked > 1 else ""
    )
    kinds = sorted({score.method.partition(" over ")[0] for score in scores})
    made = f"Intervals: {' or '.join(kinds)} over the n scored {section.noun}. " if kinds else ""
    odd = _odd_counts(section)
    regular = "" if odd else f"Every one of the {section.noun} was parsed and scored. "
    rule = f"Rule {section.card.rule}, version {section.card.rule_version}{_chance(section)}."
    return {
        "title": section.title,
        "summary": ". ".join(filter(None, (section.card.summary, section.card.note))),
        "noun": section.card.sample_noun,
        "caption": f"{decided}{made}{regular}{rule}",
        "partial": section.partial,
        "lead": _lead(section),
        "heads": [*map(wording.with_unit, section.card.metrics), "n", *odd, "FLOPs per input", "time per input"],
        "rows": [_task_row(section, standing, odd) for standing in section.standings],
        "spent": spent_table(section),
        "subsets": subset_tables(section),
    }


def _power(section: Section) -> str:
    """What the samples can show."""
    if section.detectable is None:
        return ""
    least = f"{wording.scale(section.metric) * section.detectable:.3g} {section.metric.unit}".rstrip()
    return f", which show a difference of {least} between two models with a chance of 90 %"


def _lead(section: Section) -> str:
    """Who is first on a task, for a fold that is closed."""
    first = next((standing for standing in section.standings if standing.headline), None)
    if first is None:
        return ""
    score = f"{wording.estimate(first.headline, section.metric)} {section.metric.unit}".rstrip()
    return f"{first.rank}: {first.name}, {score}"


def plot_views(section: Section, prefix: str) -> list[PlotView]:
    """The charts of a task with their captions."""
    found = []
    for plot in plots(section):
        caption = [f"Not drawn: {wording.listed(names)} ({reason})." for reason, names in plot.left_out.items()]
        partial = " (partial)" if section.partial else ""
        title = f"{section.metric.name.capitalize()} against {plot.cost_name}{partial}"
        found.append(PlotView(f"{prefix}-{plot.name}", title, caption, plot))
    return found


def unranked(board: Board) -> list[dict[str, Any]]:
    """Why cells have no rank or no scores: each reason once for each run, with its cells."""
    found: dict[tuple[str, str], list[str]] = {}
    for section, standing in board.unranked:
        found.setdefault((standing.reason, standing.row.run.name), []).append(
            f"{standing.row.label} on {section.title}"
        )
    for miss in board.missing:
        cell = miss.cell
        name = f"{wording.budgeted(cell.model, cell.budget)} on {wording.seeded(cell.task, cell.seed)}"
        found.setdefault((miss.reason, miss.run), []).append(name)
    return [{"reason": reason, "run": run, "cells": cells} for (reason, run), cells in found.items()]


def baselines(board: Board) -> str:
    """Names of the baselines."""
    names = (s.row.label for section in board.sections for s in section.standings if s.baseline)
    return wording.listed(list(dict.fromkeys(names)))


def card_views(board: Board) -> dict[str, list[dict[str, Any]]]:
    """The cards of models, methods and tasks, each once."""
    models: dict[str, Card] = {}
    methods: dict[str, Card] = {}
    tasks: dict[str, Card] = {}
    for section in board.sections:
        tasks.setdefault(section.task, section.card)
        for standing in section.standings:
            result = standing.row.result
            models.setdefault(result.cell.model, result.model_card)
            methods |= result.method_cards
    kinds = {"models": models, "methods": methods, "task_cards": tasks}
    return {kind: [_card(name, card) for name, card in found.items()] for kind, found in kinds.items()}


def run_view(run: Run, sections: Iterable[Section]) -> dict[str, Any]:
    """The conditions of one run."""
    rows = [s.row for section in sections for s in section.standings if s.row.run is run]
    settings = {", ".join(f"{name} {value}" for name, value in sorted(row.result.settings.items())) for row in rows}
    samples = {f"{row.result.cell.task}: {row.result.samples_digest[:16]}" for row in rows}
    return {
        "name": run.name,
        "facts": _kept(
            {
                "created": _time(run.manifest.created),
                "cells": f"{len(run.manifest.cells)}, of which complete {len(rows)}",
                "settings": sorted(settings),
                "episode manifests": list(run.episodes),
                "samples": sorted(samples),
            }
        ),
        "sessions": [_session(session) for session in run.manifest.sessions],
    }


class _Usual(NamedTuple):
    """How most costs of a family were found: only these share a column of the overview."""

    convention: tuple[str, str, str] | None
    way: str
    machine: str
    device: str
    inputs: int

    def timed(self, timing: Timing) -> bool:
        """Whether a time is one of these."""
        return self[1:] == (timing.way, timing.machine, timing.device, timing.inputs)

    def counted(self, count: FlopCount) -> bool:
        """Whether a count is one of these."""
        return self.convention == count.convention()


def _usual(family: Family) -> _Usual:
    rows = [standing.row for section in family.sections for standing in section.standings]
    convention = commonest(row.result.flops.convention() for row in rows if row.result.flops)
    timings = [row.timing for row in rows if row.timing]
    place = commonest((timing.way, timing.machine, timing.device, timing.inputs) for timing in timings)
    return _Usual(convention, *(place or ("", "", "", 0)))


def _overview_row(family: Family, block: Block, label: str, usual: _Usual | None) -> TableRow:
    """A model on the tasks of a block, with its costs over the family if ``usual`` says which may be compared."""
    own = [standing for section in family.sections if (standing := _standing(section, label))]
    cells = [_score(section, _standing(section, label)) for section in block.sections]
    tiers = [standing.tier for standing in own if standing.tier]
    middle = sum(tier.best + tier.worst for tier in tiers) / (2 * len(tiers)) if tiers else float("inf")
    costs = _overview_costs(own, usual) if usual else []
    return TableRow(label, cells + costs, not tiers, Cell("", middle), [], "")


def _overview_costs(own: Sequence[Standing], usual: _Usual) -> list[Cell]:
    results = [standing.row.result for standing in own]
    counts = [r.flops.value for r in results if r.flops and usual.counted(r.flops)]
    timings = [s.row.timing for s in own if s.row.timing and usual.timed(s.row.timing)]
    uncounted = next((r.flops_missing for r in results if r.flops is None), "counted under another convention")
    elsewhere = "timed otherwise" if any(s.row.timing for s in own) else "not timed"
    return [
        _range(counts, hint=uncounted),
        _range([timing.median / timing.inputs for timing in timings], "s", hint=elsewhere),
        _range([r.parameters for r in results if r.parameters is not None]),
        _range([timing.peak_memory for timing in timings if timing.peak_memory is not None], "B"),
    ]


def _standing(section: Section, label: str) -> Standing | None:
    """The cell of that label; the comparable one if there are several."""
    found = [standing for standing in section.standings if standing.row.label == label]
    return next((standing for standing in found if standing.comparable), found[0] if found else None)


def _score(section: Section, standing: Standing | None) -> Cell:
    if standing is None:
        return Cell(wording.MISSING, hint="no complete cell")
    metric = standing.row.result.task_card.metrics[0]
    cell = _score_cell(standing.headline, metric)
    mark = "" if standing.reason in ("", section.partial) else " *"
    best = standing.tier is not None and standing.tier.best == 1
    return cell._replace(text=cell.text + mark, best=best, hint=standing.reason or cell.hint)


def _odd_counts(section: Section) -> list[str]:
    """Of unscored and unparsed samples, what some cell has."""
    results = [standing.row.result for standing in section.standings]
    return [name for name in ("unscored", "unparsed") if any(getattr(result, name) for result in results)]


def _task_row(section: Section, standing: Standing, odd: Sequence[str]) -> TableRow:
    result, timing = standing.row.result, standing.row.timing
    scores = [_score_cell(result.metrics.get(metric.name), metric) for metric in section.card.metrics]
    scored = result.samples - result.unscored
    count = result.flops
    flops = Cell(wording.MISSING, hint=result.flops_missing)
    if count is not None:
        counted = [f"{count.phase}, {count.counter}, attention {count.attention}", *_mean_costs(result)]
        flops = Cell(wording.si(count.value), count.value, hint="; ".join(counted))
    time = Cell(wording.MISSING)
    if timing is not None:
        median, q1, q3 = (seconds / timing.inputs for seconds in (timing.median, timing.q1, timing.q3))
        how = f"{timing.what}, {timing.repeats:,} repeats, {timing.machine}, {timing.device}"
        time = Cell(wording.spread(median, q1, q3), median, hint=how)
    counts = [Cell(f"{number:,}", number) for number in (scored, *(getattr(result, name) for name in odd))]
    rank = Cell(standing.rank, standing.tier.best + standing.tier.worst / 1e6 if standing.tier else "")
    said = [*evidence(section, standing), *warnings(section, standing)]
    remarks = [remark for remark in said if remark != section.partial]
    return TableRow(
        standing.name, [*scores, *counts, flops, time], standing.tier is None, rank, remarks, standing.reason
    )


def _mean_costs(result: CellResult) -> list[str]:
    """The tokens that an answer costs, such as ``visual tokens 24.5 per question`` on the mean."""
    noun = result.task_card.sample_noun
    return [
        f"{name.replace('_', ' ')} {cost.value:.4g} per {noun}"
        for name, cost in result.costs.items()
        if name.endswith("_tokens")
    ]


def _score_cell(score: Estimate | None, metric: Metric) -> Cell:
    if score is None:
        return Cell(wording.MISSING)
    return Cell(wording.estimate(score, metric), score.value, hint=score.method)


def _range(values: Sequence[float], unit: str = "", hint: str = "") -> Cell:
    return Cell(wording.si_range(values, unit), min(values) if values else "", hint="" if values else hint)


def _chance(section: Section) -> str:
    chance = section.card.chance
    factor, unit = wording.scale(section.metric), section.metric.unit
    return "" if chance is None else f"; a uniform guess gets {factor * chance:.4g} {unit}".rstrip()


def _card(name: str, card: Card) -> dict[str, Any]:
    fields = card.model_dump(mode="json", exclude={"summary", "reference"})
    if "metrics" in fields:
        fields["metrics"] = [f"{wording.with_unit(m)}: {m.better} is better" for m in getattr(card, "metrics", ())]
    shown = {
        field.replace("_", " "): sorted(value) if isinstance(value, list) else str(value)
        for field, value in fields.items()
        if value not in (None, "", [], {}, False)
    }
    return {"name": name, "summary": card.summary, "facts": _kept(shown)}


def _session(session: Session) -> dict[str, Any]:
    environment = session.environment
    memory, gpu = environment.get("memory_bytes"), environment.get("gpu")
    shown = {
        "command": session.command,
        "machine": str(environment.get("machine", "")),
        "platform": str(environment.get("platform", "")),
        "kernels": ", ".join(f"{name} {kernel}" for name, kernel in session.kernels.items()),
        "memory": wording.si(memory, "B") if isinstance(memory, int) else "",
        "GPU": ", ".join(f"{name} {value}" for name, value in gpu.items()) if isinstance(gpu, dict) else "",
        "Python": str(environment.get("python", "")),
        "git revision": str(environment.get("git_revision", "")),
        "packages": ", ".join(f"{name} {version}" for name, version in _packages(session).items()),
    }
    return {"name": session.id, "started": _time(session.started), "facts": _kept(shown)}


def _packages(session: Session) -> dict[str, str]:
    found = session.environment.get("packages")
    return found if isinstance(found, dict) else {}


def _revision(session: Session) -> str:
    revision = session.environment.get("git_revision")
    return f" ({revision})" if revision else ""


def _time(stamp: str) -> str:
    """An ISO 8601 time in UTC, to the minute."""
    return f"{stamp[:10]} {stamp[11:16]} UTC" if len(stamp) > 16 else stamp


def _kept(pairs: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in pairs.items() if value]


def _done(done: int, asked: int) -> str:
    return f"{done:,} of {_count(asked, 'cell')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
