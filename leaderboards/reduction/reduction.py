"""``adaptbench report RUN --table reduction --baseline MODEL``: models that read fewer visual tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric
from ...harness.results import Estimate
from .. import wording
from ..collect import collect
from ..ranking import MOST_UNSCORED
from ..study import Number, Study, Table, render
from .lines import CORRECTED, LOYALTY, MEASURES, RETAINED, find, ranks_of
from .measures import RIGHT, overall_generalisation, overall_performance
from .ranks import APART
from .stages import ON_TIME, stage_tables, stage_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ...harness.outputs import ReportRequest
    from ..study import Item
    from .answers import TaskAnswers
    from .lines import Found

_PLAIN = Metric(name="", unit="")
_NOTES = (
    "Retained: s / f, the model's score as a share of the whole model's, on the samples that both have a score for. "
    "Corrected: (s - z) / (f - z) with the score z of the model that sees no image, or else of a guess: the share that "
    "is kept of what images add. Information: (f - z) / z. Means are over the tasks on which the whole model's score "
    "is clearly above zero; the ends of their intervals are the means of the tasks' ends.",
    "OP: root mean square of the tasks' s / f, which is never below their mean and rewards uneven ones. OG: their "
    "standard deviation over their mean. OL: share of the samples with the whole model's very text, averaged over "
    "tasks. Loyalty: the same text; the same words, without case and punctuation; the same answer, as the scoring rule "
    "reads it. An answer that is wrong in the same way is loyal.",
    f"Right: a score of {RIGHT:g} or more. p: McNemar's exact test of right to wrong and wrong to right; of samples in "
    "groups, a paired test of the groups' sums.",
    "Group A: samples that the whole model gets right and the down-sampled one wrong. Group B: those that both get "
    "right. What the whole model gets wrong is in neither, as in VTC-Bench's code; its README tells the groups apart "
    "by the down-sampled model alone.",
    "Visual tokens: those that enter the language model, their average over its blocks, and those in its last block. "
    f"Ranks are by mean retention, among models whose averages differ by at most {100 * APART:g} %, and show what the "
    "samples leave open. Baselines, models that do not tell their tokens, and those with more than "
    f"{100 * MOST_UNSCORED:g} % of a task's samples not scored have none.",
)


def reduction(
    request: ReportRequest, *, baseline: str = "", blind: str = "", downsampled: str = "", across: bool = False
) -> str:
    """Return what the models of some runs keep of a whole model, task by task and over all.

    Args:
        request: The runs, also imported ones.
        baseline: Spec of the whole model.
        blind: Of the one that sees no image; default BASELINE+blind if the runs have it, else a guess is taken.
        downsampled: Of the one that sees smaller images, for groups A and B.
        across: Rank models together whatever tokens they read.

    Raises:
        UserError: The runs lack one of these models, or nothing can be held against the whole one.
    """
    found = find(collect(request.runs), baseline, blind, downsampled)
    return render(_study(found, across=across), request.form)


def _study(found: Found, *, across: bool) -> Study:
    whole = found.tasks[0].base.label
    ranks = ranks_of(found, across=across)
    facts = [f"whole model: {whole}", *map(_asked, found.tasks)]
    near = [task.title for task in found.tasks if task.title not in found.averaged]
    facts += [f"not in the means, for {whole} scores near zero or lower is better: {', '.join(near)}"] if near else []
    facts += found.remarks
    timed = stage_tables(found)
    tables = [_over_all(found, ranks), *_by_task(found), _images(found), *timed]
    notes = (*_NOTES, ON_TIME) if timed else _NOTES
    return Study("Visual tokens", facts, [table for table in tables if table.rows], notes, list(_values(found)))


def _asked(task: TaskAnswers) -> str:
    """How many samples a task has, and why these are not all."""
    result = task.base.row.result
    samples = wording.counted(len(task.base.scores), result.task_card.sample_noun)
    return f"{task.title}: {samples}{f' (partial: {result.partial})' if result.partial else ''}"


def _over_all(found: Found, ranks: Mapping[str, str]) -> Table:
    """A row for each model, from the fewest tokens to the most, and by falling retention."""
    titles = found.averaged
    numbers = ("visual tokens", "average", "last block", "FLOPs", "retained, %", "corrected, %", "OP, %", "OG", "OL, %")
    rows: list[tuple[tuple[float, float], list[Item]]] = []
    for line in found.lines:
        tokens, ratios = line.tokens(), line.ratios(titles)
        retained = line.mean(titles, RETAINED)
        rank = "baseline" if line.baseline else ranks.get(line.label, wording.MISSING)
        shown: list[Item] = [
            line.label,
            *(Number(f"{one:.4g}" if tokens else wording.MISSING) for one in tokens or (0, 0, 0)),
            Number(wording.ratio(line.flops())),
            Number(wording.share(retained)),
            Number(wording.share(line.mean(titles, CORRECTED))),
            Number(f"{100 * overall_performance(ratios):.1f}" if ratios else wording.MISSING),
            Number(f"{overall_generalisation(ratios):.3f}" if len(ratios) > 1 else wording.MISSING),
            Number(wording.share(line.mean([task.title for task in found.tasks], LOYALTY[0]))),
            rank,
        ]
        rows.append(((tokens[1] if tokens else math.inf, -retained.value if retained else math.inf), shown))
    over = wording.counted(len(titles), "task")
    caption = f"Means over {over}. FLOPs are those of an answer, of the whole model's."
    return Table(
        "Over all tasks", caption, ("model", *numbers, "rank"), [row for _, row in sorted(rows, key=lambda one: one[0])]
    )


def _by_task(found: Found) -> Iterator[Table]:
    """What was kept, what flipped, and groups A and B: a table each, with a row for each task and model."""
    cells = [(task, line, line.tasks[task.title]) for task in found.tasks for line in found.lines
             if task.title in line.tasks]  # fmt: skip
    yield Table(
        "By task",
        "",
        ("task", "model", "score", "retained, %", "corrected, %", *(f"{one.name}, %" for one in LOYALTY)),
        [
            [
                task.title,
                line.label,
                Number(wording.estimate(reduced.compared.candidate_score, reduced.compared.metric)),
                *(Number(wording.share(one.of(reduced))) for one in (RETAINED, CORRECTED, *LOYALTY)),
            ]
            for task, line, reduced in cells
        ],
    )
    heads = ("right → right", "right → wrong", "wrong → right", "wrong → wrong, same", "wrong → wrong, other")
    yield Table(
        "What became of answers",
        "",
        ("task", "model", *heads, "p"),
        [
            [task.title, line.label, *(Number(f"{n:,}") for n in one.flips[:5]), Number(wording.p_value(one.flips.p))]
            for task, line, one in cells
            if one.flips
        ],
    )
    small = next((task.downsampled for task in found.tasks if task.downsampled), None)
    read = f", which reads {small.tokens.average:.4g} visual tokens on average" if small and small.tokens else ""
    yield Table(
        "Groups A and B",
        f"By {small.label}{read}." if small else "",
        ("task", "model", "samples in A", "accuracy on A, %", "samples in B", "accuracy on B, %"),
        [
            [task.title, line.label, *(text for group in one.groups for text in _group(group))]
            for task, line, one in cells
            if one.groups
        ],
    )


def _group(found: Estimate | None) -> tuple[Number, Number]:
    return Number(f"{found.n:,}" if found else "0"), Number(wording.share(found))


def _images(found: Found) -> Table:
    """What images add on each task."""
    heads = ("task", "score", "without an image", "as told by", "information")
    rows: list[list[Item]] = []
    for task in found.tasks:
        result, zero = task.base.row.result, task.zero
        metric = result.task_card.metrics[0]
        rows.append(
            [
                task.title,
                Number(wording.estimate(result.metrics.get(metric.name), metric)),
                Number(f"{wording.scale(metric) * zero[1]:.4g}" if zero else wording.MISSING),
                zero[0] if zero else wording.MISSING,
                Number(wording.estimate(task.information(), _PLAIN)),
            ]
        )
    caption = "Where images add little, a task tells models that read fewer of their tokens hardly apart."
    return Table("What images add", caption, heads, rows)


def _values(found: Found) -> Iterator[dict[str, Any]]:
    """For programs: a mapping for each number."""
    for task in found.tasks:
        yield from _value("information", task.title, task.base.label, task.information())
        for answers in found.answers(task):
            for name, value in stage_values(answers.row.timing):
                yield from _value(name, task.title, answers.label, value)
    titles = found.averaged
    for line in found.lines:
        for title, reduced in line.tasks.items():
            for measure in MEASURES:
                yield from _value(measure.name, title, line.label, measure.of(reduced))
            for name, count in reduced.flips._asdict().items() if reduced.flips else ():
                yield from _value(f"flips, {name}", title, line.label, count)
        for measure in MEASURES:
            yield from _value(measure.name, "mean", line.label, line.mean(titles, measure))
        if ratios := line.ratios(titles):
            yield from _value("OP", "mean", line.label, overall_performance(ratios))
            yield from _value("OG", "mean", line.label, overall_generalisation(ratios))
        for name, count in zip(("entering", "average", "last"), line.tokens() or (), strict=False):
            yield from _value(f"visual tokens, {name}", "mean", line.label, count)


def _value(measure: str, task: str, model: str, value: Estimate | float | None) -> Iterator[dict[str, Any]]:
    if value is not None:
        whole = value if isinstance(value, Estimate) else None
        low, high, n = (whole.low, whole.high, whole.n) if whole else (None, None, None)
        number = whole.value if whole else value
        yield {"measure": measure, "task": task, "model": model, "value": number, "low": low, "high": high, "n": n}
