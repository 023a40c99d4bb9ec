"""``adaptbench report --table reduction-published``: what is published of token reduction, and what of it disagrees."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ...harness.outputs import FIGURE_FORMATS
from ..figures.files import render as drawn
from ..study import VERDICTS, Number, Study, Table, Verdict, render
from .averages import UNKNOWN, recomputed
from .contradictions import contradictions, drawing, moved
from .printed import WHOLE, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...harness.outputs import ReportRequest
    from ..study import Item
    from .printed import PrintedTable

_AGREES, _DIFFERS, *_ = VERDICTS
_NOTES = (
    "Lineage: own, of the method's authors; re-run, by the source; copied, from another paper; [?], not known. Marks: "
    "~ read from scrambled text; * another variant of the task; ! looks exchanged with another cell; [?] not known. "
    "Values are as printed, never corrected.",
    "A number of tokens has four meanings: tokens that enter the language model (VisionZip, DivPrune, VisPruner, "
    "TRIM, HiRED), tokens after block K (FastV, DART), the average over blocks (SparseVLM, PyramidDrop, TwigVLM), or "
    "a reduction of FLOPs without any number of tokens (FitPrune). SparseVLM's 192 are 206.5 on average, FastV's 216, "
    "DART's 220, and PyramidDrop's default is 270. What its 192, 128 and 64 are is not published: with its blocks 8, "
    "16 and 24 even dropping all leaves 144 on average.",
    "Scales: TextVQA is 58.2 with the file that lists OCR tokens and 47.8 without; MME is perception, or perception "
    "and cognition; POPE is F1 or accuracy; VizWiz is test-dev or val; SEED is all of it or the images. Averages over "
    "other columns are not comparable.",
    "Contradictions without numbers: DART is far below FastV on Qwen2.5-VL in S2Prune (81.1 and 91.2 at 128 of 576) "
    "and above it on Qwen2-VL in its own paper. Smaller images are as good as selection or better on the usual tasks "
    "in VTC-Bench, and worse in MMTok, where both together are best. FastV's MMB-CN at 64 tokens (52.7) is above its "
    "MMB (48.0) in the copied lineage, which is not plausible.",
)


def published(request: ReportRequest) -> str | bytes:
    """Return the tables; as an image, what papers contradict each other in. It needs no run."""
    if request.form in FIGURE_FORMATS and request.form != ".html":
        return drawn(drawing(), request.form)
    known = tables().values()
    shown = [_averages(), _unknown(), _contradictions(), *map(_table, known)]
    counts = Counter(row.lineage for table in known for row in table.rows if row.method != WHOLE)
    facts = [
        f"{len(known)} tables, {sum(counts.values())} rows of methods",
        ", ".join(f"{name}: {count}" for name, count in counts.most_common()),
    ]
    return render(Study("Token reduction as published", facts, shown, _NOTES, list(_values())), request.form)


def _averages() -> Table:
    """Source by source how many averages agree, and each that does not."""
    found = list(recomputed())
    rows: list[list[Item]] = []
    for where in dict.fromkeys(one.where for one in found):
        own = [one for one in found if one.where == where]
        off = [one for one in own if not one.agrees]
        agreeing = len(own) - len(off)
        if agreeing:
            numbers = [Number("–")] * 2
            rows.append([where, own[0].rule.text, f"{agreeing} rows", *numbers, Verdict(_AGREES)])
        rows += [
            [
                where,
                one.rule.text,
                f"{one.row.method} @ {one.row.keep}",
                Number(f"{one.printed:.1f}"),
                Number(f"{one.found:.1f}"),
                Verdict(_DIFFERS),
            ]
            for one in off
        ]
    caption = "Each is computed again from the printed scores; it holds if the first decimal is the printed one."
    return Table(
        "Do printed averages hold?", caption, ("source", "rule", "row", "printed", "computed", "verdict"), rows
    )


def _unknown() -> Table:
    rows: list[list[Item]] = [[*one] for one in UNKNOWN]
    return Table("Averages that cannot be computed again", "", ("source", "averages", "why not"), rows)


def _contradictions() -> Table:
    rows: list[list[Item]] = [
        [
            one.method,
            Number(one.keep),
            one.quantity,
            ", ".join(f"{said.printed} ({said.source})" for said in one.said),
            Number(f"{one.high - one.low:.4g}"),
            Number(f"{one.apart:.1f}"),
        ]
        for one in contradictions()
    ]
    heads = ("method", "tokens", "task", "printed", "apart", "apart, % of the whole model")
    again = moved()
    caption = (
        f"LLaVA-1.5-7B: one method at one nominal budget. Of {again.cells} cells that the copied lineage and RESTORE "
        f"both have, half differ by {again.shift:.1f} % of the whole model's score or more; neighbours in RESTORE's "
        f"table are {again.gap:.1f} % apart (median)."
    )
    return Table("Contradictions", caption, heads, rows)


def _table(table: PrintedTable) -> Table:
    rows: list[list[Item]] = [
        [row.keep, row.method, row.lineage, row.source, *map(Number, row.cells.values())] for row in table.rows
    ]
    return Table(
        f"{table.model}: {table.title}", table.note, ("keep", "method", "lineage", "source", *table.columns), rows
    )


def _values() -> Iterator[dict[str, Any]]:
    """For programs: a mapping for each printed number, and for each average what it comes to."""
    averages = {(one.where, one.row.keep, one.row.method): one.found for one in recomputed()}
    for table in tables().values():
        for row in table.rows:
            for column, text in row.cells.items():
                place = row.source, row.keep, row.method
                yield {
                    "table": table.name,
                    "model": table.model,
                    "keep": row.keep,
                    "method": row.method,
                    "lineage": row.lineage,
                    "source": row.source,
                    "column": column,
                    "printed": text,
                    "value": row.value(column),
                    "computed": averages.get(place) if column == "average" else None,
                }
