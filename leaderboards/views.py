"""What the page shows, as plain values: the template only sets it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from . import wording
from .axes import plots
from .ranking import commonest, evidence, warnings
from .spent import spent_table
from .subsets import subset_tables
from .wording import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..harness.cards import Card, Metric
    from ..harness.contracts import Record
    from ..harness.results import CellResult, Estimate, FlopCount, Timing
    from ..harness.store import Session
    from .axes import Plot
    from .board import Board
    from .collect import Row, Run
    from .ranking import Section, Standing

_RECORDS = 3
_LONGEST_OUTPUT = 240


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
    models, cells = len({s.row.label for s in standings}), len(standings)
    sessions = [session for run in board.runs for session in run.manifest.sessions]
    versions = {f"adaptbench {_packages(s).get('adaptbench', '?')}{_revision(s)}" for s in sessions}
    return [
        f"{_count(models, 'model')} on {_count(len(board.sections), 'task')}",
        f"{_count(cells, 'complete cell')}{f', {len(board.missing)} incomplete' if board.missing else ''}",
        *sorted({_time(session.started)[:10] for session in sessions}),
        *sorted(versions),
        *sorted({str(session.environment.get("machine", "")) for session in sessions} - {""}),
    ]


def overview(board: Board) -> dict[str, Any]:
    """Models x tasks, with what each model costs over all of them."""
    labels = list(dict.fromkeys(s.row.label for section in board.sections for s in section.standings))
    usual = _usual(board)
    rows = [_overview_row(board, label, usual) for label in labels]
    caption = [
        "Bold: no other model of the task is significantly better.",
        "* Not ranked on that task." if board.unranked else "",
        f"Costs are ranges over the tasks{f', times of {usual.machine}, {usual.device}' if usual.machine else ''}.",
        "Ordered by mean rank, baselines last.",
    ]
    return {
        "scores": [(section.title, wording.with_unit(section.metric)) for section in board.sections],
        "costs": ["FLOPs per input", "time per input", "parameters", "peak memory"],
        "rows": sorted(rows, key=lambda row: (row.aside, row.rank.order)),
        "caption": " ".join(filter(None, caption)),
    }


def task_table(section: Section) -> dict[str, Any]:
    """The table of one task."""
    results = [standing.row.result for standing in section.standings if standing.comparable]
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
        "heads": [*map(wording.with_unit, section.card.metrics), "n", *odd, "FLOPs per input", "time per input"],
        "rows": [_task_row(section, standing, odd) for standing in section.standings],
        "spent": spent_table(section),
        "subsets": subset_tables(section),
        "records": [{"name": s.name, "records": _records(s.row)} for s in section.standings],
    }


def _power(section: Section) -> str:
    """What the samples can show."""
    if section.detectable is None:
        return ""
    least = f"{wording.scale(section.metric) * section.detectable:.3g} {section.metric.unit}".rstrip()
    return f", which show a difference of {least} between two models with a chance of 90 %"


def plot_views(section: Section, prefix: str) -> list[PlotView]:
    """The charts of a task with their captions."""
    found = []
    for plot in plots(section):
        caption = [plot.note] if plot.note else []
        for reason, names in plot.left_out.items():
            caption.append(f"Not drawn: {wording.listed(names)} ({reason}).")
        title = f"{section.metric.name.capitalize()} against {plot.cost_name}"
        found.append(PlotView(f"{prefix}-{plot.name}", title, caption, plot))
    return found


def unranked(board: Board) -> list[dict[str, str]]:
    """Cells without a rank and without scores, each with the reason."""
    compared = [
        {"model": s.row.label, "task": section.title, "run": s.row.run.name, "reason": s.reason}
        for section, s in board.unranked
    ]
    missing = [
        {
            "model": wording.budgeted(miss.cell.model, miss.cell.budget),
            "task": wording.seeded(miss.cell.task, miss.cell.seed),
            "run": miss.run,
            "reason": miss.reason,
        }
        for miss in board.missing
    ]
    return compared + missing


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
    """How most costs of a board were found: only these share a column of the overview."""

    convention: tuple[str, str, str] | None
    machine: str
    device: str
    inputs: int

    def timed(self, timing: Timing) -> bool:
        """Whether a time is one of these."""
        return self[1:] == (timing.machine, timing.device, timing.inputs)

    def counted(self, count: FlopCount) -> bool:
        """Whether a count is one of these."""
        return self.convention == count.convention()


def _usual(board: Board) -> _Usual:
    rows = [standing.row for section in board.sections for standing in section.standings]
    convention = commonest(row.result.flops.convention() for row in rows if row.result.flops)
    timings = [row.timing for row in rows if row.timing]
    place = commonest((timing.machine, timing.device, timing.inputs) for timing in timings)
    return _Usual(convention, *(place or ("", "", 0)))


def _overview_row(board: Board, label: str, usual: _Usual) -> TableRow:
    chosen = [_standing(section, label) for section in board.sections]
    own = [standing for standing in chosen if standing]
    cells = [_score(standing) for standing in chosen]
    results = [standing.row.result for standing in own]
    counts = [r.flops.value for r in results if r.flops and usual.counted(r.flops)]
    timings = [s.row.timing for s in own if s.row.timing and usual.timed(s.row.timing)]
    uncounted = next((r.flops_missing for r in results if r.flops is None), "counted under another convention")
    elsewhere = "timed elsewhere" if any(s.row.timing for s in own) else "not timed"
    cells += [
        _range(counts, hint=uncounted),
        _range([timing.median / timing.inputs for timing in timings], "s", hint=elsewhere),
        _range([r.parameters for r in results if r.parameters is not None]),
        _range([timing.peak_memory for timing in timings if timing.peak_memory is not None], "B"),
    ]
    tiers = [standing.tier for standing in own if standing.tier]
    middle = sum(tier.best + tier.worst for tier in tiers) / (2 * len(tiers)) if tiers else float("inf")
    return TableRow(label, cells, not tiers, Cell("", middle), [], "")


def _standing(section: Section, label: str) -> Standing | None:
    """The cell of that label; the comparable one if there are several."""
    found = [standing for standing in section.standings if standing.row.label == label]
    return next((standing for standing in found if standing.comparable), found[0] if found else None)


def _score(standing: Standing | None) -> Cell:
    if standing is None:
        return Cell(wording.MISSING, hint="no complete cell")
    metric = standing.row.result.task_card.metrics[0]
    cell = _score_cell(standing.headline, metric)
    mark = "" if standing.comparable else " *"
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
    remarks = [*evidence(section, standing), *warnings(section, standing)]
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


def _records(row: Row) -> list[dict[str, str]]:
    return [
        {
            "sample": record.sample,
            "output": _shortened(record.output),
            "parsed": "as the output" if record.parsed == record.output else _shortened(record.parsed),
            "scores": _unscored(record) if record.scores is None else _shortened(dict(record.scores)),
        }
        for record in row.first_records(_RECORDS)
    ]


def _unscored(record: Record) -> str:
    return f"unscored: {record.fault}" if record.fault else "unscored"


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_OUTPUT else f"{text[:_LONGEST_OUTPUT]}… ({len(text):,} characters)"


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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
