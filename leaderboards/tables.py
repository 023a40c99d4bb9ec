"""The board as tables: Markdown and LaTeX for people, CSV and Parquet with a row per cell and metric for programs."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from ..harness import texts
from ..harness.columns import printable
from ..harness.markdown import markdown_table, plain
from . import views
from .board import need
from .latex import escaped, latex_table
from .reading import HOW_TO_READ
from .remarks import Remarks
from .spent import base_scores, spent_columns
from .wording import scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from ..harness.cards import Metric
    from ..harness.results import CellId, CellResult, Timing
    from .board import Board
    from .collect import Row
    from .ranking import Standing
    from .spent import SpentTable
    from .wording import Cell

_INTEGERS = (
    "seed", "n", "samples", "unscored", "unparsed", "rank_best", "rank_worst", "flops", "parameters", "time_inputs",
    "time_repeats", "time_warmup", "peak_memory_bytes", "rule_version", "published_samples",
)  # fmt: skip
"""Columns of whole numbers, in which some are missing."""


def csv(board: Board) -> str:
    """One row per cell and metric, as CSV."""
    table = frame(board)
    for column in table.columns:
        if not (table[column].dtype.kind in "fiub" or column in _INTEGERS):
            table[column] = [_cell_text(value) for value in table[column]]
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def _cell_text(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    return (
        f"'{texts.printable(value)}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else texts.printable(value)
    )


def parquet(board: Board) -> bytes:
    """One row per cell and metric, as Parquet."""
    need("pyarrow")
    content = io.BytesIO()
    frame(board).to_parquet(content, engine="pyarrow", index=False)
    return content.getvalue()


def frame(board: Board) -> pd.DataFrame:
    """One row per cell and metric, with all that tells where a score comes from.

    Values and intervals are as they were recorded: a metric of unit ``%`` is a share in [0, 1]. Times are in seconds
    per input, memory is in bytes. A cell without scores has one row, whose metric is missing.
    """
    pandas = need("pandas")
    table: pd.DataFrame = pandas.DataFrame(texts.all_printable(list(_rows(board))))
    for column in _INTEGERS:
        table[column] = table[column].astype("Int64")
    return table


def markdown(board: Board) -> str:
    """The board as GitHub-flavoured Markdown."""
    parts = [f"# {plain(board.title)}", "\n".join(f"- {plain(fact)}" for fact in views.facts(board))]
    parts += [f"> {plain(note)}" for note in board.notes]
    parts += ["## Summary", *(part for summary in views.summaries(board) for part in _summary(summary))]
    parts += ["## Overview", *(part for table in views.overviews(board) for part in _overview(table))]
    for section in board.sections:
        table = views.task_table(section)
        heads = ["rank", "model", *table["heads"], "notes"]
        rows = [[row.rank.text, row.name, *map(_noted, row.cells), "; ".join(row.remarks)] for row in table["rows"]]
        parts += [f"## {plain(section.title)}", plain(table["summary"]), plain(table["caption"])]
        parts.append(markdown_table(heads, _escaped(rows), numbers=range(2, len(heads) - 1)))
        parts += _spent(table["spent"])
    unranked = [[row["reason"], row["run"], ", ".join(row["cells"])] for row in views.unranked(board)]
    if unranked:
        parts += ["## Not ranked, and why", markdown_table(["reason", "run", "cells"], _escaped(unranked))]
    parts.append("## How to read this page")
    parts.append("\n".join(f"- **{word}.** {plain(meaning)}" for word, meaning in HOW_TO_READ))
    return "\n\n".join(filter(None, parts)) + "\n"


def latex(board: Board) -> str:
    """The overview and a table for each task, for a paper; the facts are comments."""
    said = [f"% {printable(text)}" for text in (board.title, *views.facts(board), *board.notes)]
    tables = [_latex_overview(family, table) for family in views.overviews(board) for table in family["tables"]]
    for section in board.sections:
        table = views.task_table(section)
        heads = ["rank", "model", *table["heads"]]
        rows = [[escaped(row.rank.text), escaped(row.name), *map(_strong, row.cells)] for row in table["rows"]]
        caption = ". ".join(filter(None, (section.title, table["caption"])))
        tables.append(latex_table(heads, rows, range(2, len(heads)), caption))
    return "\n\n".join(["\n".join(said), *tables]) + "\n"


def _strong(cell: Cell) -> str:
    text = escaped(_noted(cell))
    return rf"\textbf{{{text}}}" if cell.best else text


def _latex_overview(family: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    heads = ["model", *(f"{task}: {metric}" for task, metric in table["heads"]), *table["costs"]]
    rows = [[escaped(row.name), *map(_strong, row.cells)] for row in table["rows"]]
    caption = f"{table['title'] or family['title']}. {family['caption']}"
    return latex_table(heads, rows, range(1, len(heads)), caption)


def _summary(table: Mapping[str, Any]) -> list[str]:
    parts = [f"### {plain(table['title'])}", plain(f"{table['verdict']} {table['done']}.")]
    if not table["rows"]:
        return parts
    heads = ["model", *table["heads"], "is"]
    rows = [[row["name"], *map(_noted, row["cells"]), ", ".join(row["roles"])] for row in table["rows"]]
    return [*parts, plain(table["caption"]), markdown_table(heads, _escaped(rows), numbers=range(1, len(heads) - 1))]


def _noted(cell: Cell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note else cell.text


def _overview(family: Mapping[str, Any]) -> list[str]:
    parts = [f"### {plain(family['title'])}", plain(family["caption"])]
    for table in family["tables"]:
        heads = ["model", *(f"{task}: {metric}" for task, metric in table["heads"]), *table["costs"]]
        lines = [[plain(row.name), *(_bold(cell) for cell in row.cells)] for row in table["rows"]]
        parts += [f"#### {plain(table['title'])}"] if table["title"] else []
        parts.append(markdown_table(heads, lines, numbers=range(1, len(heads))))
    return parts


def _spent(table: SpentTable | None) -> list[str]:
    if table is None:
        return []
    heads = ["model", *(", ".join(filter(None, head)) for head in table.heads)]
    rows = [[row.name, *(cell.text for cell in row.cells)] for row in table.rows]
    return [
        "### What it spent",
        plain(table.caption),
        markdown_table(heads, _escaped(rows), numbers=range(1, len(heads))),
    ]


def _bold(cell: Cell) -> str:
    return f"**{plain(cell.text)}**" if cell.best else plain(cell.text)


def _escaped(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[plain(text) for text in row] for row in rows]


def _rows(board: Board) -> Iterator[dict[str, Any]]:
    for section in board.sections:
        remarks, bases = Remarks(section), base_scores(section)
        for standing in section.standings:
            spent = spent_columns(standing, bases)
            for metric in standing.row.result.task_card.metrics:
                yield _row(metric, standing, remarks, spent)
    for miss in board.missing:
        yield _cell(miss.run, miss.cell) | {"status": "incomplete", "reason": miss.reason}


def _row(metric: Metric, standing: Standing, remarks: Remarks, spent: Mapping[str, float | None]) -> dict[str, Any]:
    row, result = standing.row, standing.row.result
    score = result.metrics.get(metric.name)
    tier = standing.tier if metric.name == result.task_card.metrics[0].name else None
    published = next((theirs for theirs in standing.published if theirs.metric == metric.name), None)
    status = "not ranked" if standing.reason else "baseline" if standing.baseline else "ranked"
    return {
        **_cell(row.run.name, result.cell),
        "status": status,
        "reason": standing.reason or None,
        "rank_best": tier.best if tier else None,
        "rank_worst": tier.worst if tier else None,
        "rank_evidence": "; ".join(remarks.evidence(standing)) or None if tier else None,
        "metric": metric.name,
        "unit": metric.unit or None,
        "better": metric.better,
        "value": score.value if score else None,
        "low": score.low if score else None,
        "high": score.high if score else None,
        "n": score.n if score else 0,
        "interval": score.method if score else None,
        "published": published.value / scale(metric) if published else None,
        "published_samples": published.samples if published else None,
        "published_source": published.source if published else None,
        "samples": result.samples,
        "unscored": result.unscored,
        "unparsed": result.unparsed,
        "partial": result.partial,
        **_flops(result),
        **spent,
        **_time(row.timing),
        "notes": "; ".join(remarks.warnings(standing)) or None,
        **_origin(row),
    }


def _cell(run: str, cell: CellId) -> dict[str, Any]:
    return {"run": run, "model": cell.model, "budget": cell.budget, "task": cell.task, "seed": cell.seed}


def _flops(result: CellResult) -> dict[str, Any]:
    count = result.flops
    return {
        "flops": count.value if count else None,
        "flops_unit": count.unit if count else None,
        "flops_phase": count.phase if count else None,
        "flops_counter": count.counter if count else None,
        "flops_attention": count.attention if count else None,
        "flops_waived": " ".join(count.waived) or None if count else None,
        "flops_missing": result.flops_missing or None,
        "parameters": result.parameters,
    }


def _time(timing: Timing | None) -> dict[str, Any]:
    def seconds(total: float) -> float | None:
        return total / timing.inputs if timing else None

    return {
        "time_median": seconds(timing.median) if timing else None,
        "time_q1": seconds(timing.q1) if timing else None,
        "time_q3": seconds(timing.q3) if timing else None,
        "time_p95": seconds(timing.p95) if timing else None,
        "time_what": timing.what if timing else None,
        "time_inputs": timing.inputs if timing else None,
        "time_repeats": timing.repeats if timing else None,
        "time_warmup": timing.warmup if timing else None,
        "peak_memory_bytes": timing.peak_memory if timing else None,
        "machine": timing.machine if timing else None,
        "device": timing.device if timing else None,
    }


def _origin(row: Row) -> dict[str, Any]:
    result, session = row.result, row.session
    environment = session.environment if session else {}
    return {
        "rule": result.task_card.rule,
        "rule_version": result.task_card.rule_version,
        "samples_digest": result.samples_digest,
        "records_sha256": result.records_sha256,
        "key": result.key,
        "settings": json.dumps(result.settings, sort_keys=True),
        "session": session.id if session else None,
        "started": session.started if session else None,
        "git_revision": environment.get("git_revision") or None,
        "packages": json.dumps(environment.get("packages", {}), sort_keys=True),
    }
