"""``adaptbench report RUN --table reduction``: models that read fewer visual tokens, each beside its whole model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric
from ...harness.results import Estimate
from .. import wording
from ..collect import collect
from ..ranking import MOST_UNSCORED
from ..study import Number, Study, Table, render
from .claims import closing, try_all
from .evenness import evenness_of
from .lines import CORRECTED, LOYALTY, MEASURES, RETAINED, Named, find, ranks_of
from .measures import RIGHT
from .ranks import APART, typical
from .settings import mean_retained, settings
from .stages import ON_TIME, stage_tables, stage_values
from .wholes import own_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...harness.outputs import ReportRequest
    from ..study import Item
    from .answers import TaskAnswers
    from .evenness import Evenness
    from .lines import Family, Found, Line

_OVERVIEW = (
    "The share retained and the rank of each method in each family. Families differ in the options that they need; "
    "models of one row read about as many tokens."
)
_PLAIN = Metric(name="", unit="")
_NOTES = (
    "Retained: s / f, the model's score as a share of the whole model's, on the samples that both have a score for. "
    "Corrected: (s - z) / (f - z) with the score z of the model that sees no image, or else of a guess: the share that "
    "is kept of what images add. Information: (f - z) / z. Means are over the tasks on which the whole model's score "
    "is clearly above zero; their intervals are made of the tasks', whose samples count as independent (MOVER).",
    "OP: root mean square of the tasks' s / f, which is never below their mean and rewards uneven ones. OG: their "
    "standard deviation over their mean. Their intervals are of samples drawn again. OL: share of the samples with "
    "the whole model's very text, averaged over tasks. Loyalty: the same text; the same words, without case and "
    "punctuation; the same answer, as the scoring rule reads it. An answer that is wrong in the same way is loyal.",
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
    """Return what the models of some runs keep of their whole models, task by task and over all.

    Args:
        request: The runs, also imported ones.
        baseline: Spec of the whole model of all others; default for each its own spec without the methods that change
            images or visual tokens.
        blind: Of one that sees no image; default WHOLE+blind if the runs have it, else a guess is taken.
        downsampled: Of one that sees smaller images, for groups A and B; default WHOLE+smaller-images(...), if the runs
            have just one.
        across: Rank models together whatever tokens they read.

    Raises:
        UserError: The runs lack one of these models, or nothing can be held against a whole one.
    """
    found = find(collect(request.runs), Named(baseline, blind, downsampled))
    return render(_study(found, across=across), request.form)


def _study(found: Found, *, across: bool) -> Study:
    ranks = {family.whole: ranks_of(family, across=across) for family in found.families}
    even = {family.whole: evenness_of(family) for family in found.families}
    wholes = [family.whole for family in found.families]
    facts = [f"whole model{'s' * (len(wholes) > 1)}: {wording.listed(wholes)}"]
    facts += dict.fromkeys(_asked(task) for family in found.families for task in family.tasks)
    for family in found.families:
        near = [task.title for task in family.tasks if task.title not in family.averaged]
        why = f"not in the means, for {family.whole} scores near zero or lower is better: {', '.join(near)}"
        facts += [why] if near else []
    facts += found.remarks
    timed = stage_tables(found)
    over_all = [_over_all(family, ranks[family.whole], even[family.whole]) for family in found.families]
    tables = [*_overview(found, ranks), *over_all, *_by_task(found), _images(found), *timed]
    tables.append(closing(found, try_all(found), "The report reduction-claims has every comparison."))
    notes = (*_NOTES, ON_TIME) if timed else _NOTES
    return Study("Visual tokens", facts, [table for table in tables if table.rows], notes, list(_values(found, even)))


def _asked(task: TaskAnswers) -> str:
    """How many samples a task has, and why these are not all."""
    result = task.base.row.result
    samples = wording.counted(len(task.base.scores), result.task_card.sample_noun)
    return f"{task.title}: {samples}{f' (partial: {result.partial})' if result.partial else ''}"


def _overview(found: Found, ranks: Mapping[str, Mapping[str, str]]) -> Iterator[Table]:
    """Of several families, a row for each method that retained something, in the order of `_over_all`."""
    if len(found.families) < 2:
        return
    heads = [head for family in found.families for head in (f"{family.whole}, retained, %", "rank")]
    rows: list[tuple[tuple[float, float], bool, list[Item]]] = []
    for setting, models in settings(found).items():
        seeds = max(map(len, models.values()))
        shown: list[Item] = [f"{setting.name}{f', mean of {seeds} seeds' if seeds > 1 else ''}"]
        shown.append(Number(wording.MISSING if setting.tokens is None else f"{setting.tokens:.4g}"))
        shares = []
        for family in found.families:
            lines = models.get(family.whole, [])
            retained = mean_retained(family, lines) if lines else None
            shares += [retained.value] if retained else []
            rank = _rank(lines[0], ranks[family.whole]) if lines else wording.MISSING
            shown += [Number(wording.share(retained)), rank]
        aside = all(line.baseline for lines in models.values() for line in lines)
        if shares:
            rows.append((_place(setting.tokens, sum(shares) / len(shares)), aside, shown))
    yield _sorted("Methods over families", _OVERVIEW, ("method", "tokens, average", *heads), rows)


def _over_all(family: Family, ranks: Mapping[str, str], even: Mapping[str, Evenness]) -> Table:
    """A row for each model, from the fewest tokens to the most, and by falling retention."""
    titles = family.averaged
    counts = typical({line.label: told.average for line in family.lines if (told := line.tokens())})
    size = ("visual tokens", "average", "last block", "FLOPs")
    rows: list[tuple[tuple[float, float], bool, list[Item]]] = []
    for line in family.lines:
        tokens, own = line.tokens(), even.get(line.label)
        retained = line.mean(titles, RETAINED)
        shown: list[Item] = [
            own_part(line.label, family.whole),
            *(Number(f"{one:.4g}" if tokens else wording.MISSING) for one in tokens or (0, 0, 0)),
            Number(wording.ratio(line.flops())),
            Number(wording.share(retained)),
            _rank(line, ranks),
            Number(wording.share(line.mean(titles, CORRECTED))),
            Number(wording.share(own and own.performance)),
            Number(_fine(own and own.generalisation)),
            Number(wording.share(line.mean([task.title for task in family.tasks], LOYALTY[0]))),
        ]
        rows.append((_place(counts.get(line.label), retained.value if retained else None), line.baseline, shown))
    over = wording.counted(len(titles), "task")
    caption = f"Means over {over}. FLOPs are those of an answer, of the whole model's."
    heads = ("model", *size, "retained, %", "rank", "corrected, %", "OP, %", "OG", "OL, %")
    return _sorted(f"Over all tasks: {family.whole}", caption, heads, rows)


def _rank(line: Line, ranks: Mapping[str, str]) -> str:
    return "baseline" if line.baseline else ranks.get(line.label, wording.MISSING)


def _place(tokens: float | None, retained: float | None) -> tuple[float, float]:
    """What rows are sorted by."""
    return math.inf if tokens is None else tokens, math.inf if retained is None else -retained


def _sorted(
    title: str, caption: str, heads: Sequence[str], rows: Sequence[tuple[tuple[float, float], bool, list[Item]]]
) -> Table:
    """A table whose rows each come with their place and whether they are set apart."""
    ordered = sorted(rows, key=lambda one: one[0])
    aside = frozenset(place for place, (_, apart, _) in enumerate(ordered) if apart)
    return Table(title, caption, heads, [row for *_, row in ordered], aside)


def _fine(value: Estimate | None) -> str:
    """A number near zero with the ends of its interval."""
    if value is None:
        return wording.MISSING
    ends = "" if value.low is None or value.high is None else f" [{value.low:.3f}, {value.high:.3f}]"
    return f"{value.value:.3f}{ends}"


def _by_task(found: Found) -> Iterator[Table]:
    """What was kept, what flipped, and groups A and B: a table each, with a row for each task and model."""
    titles = dict.fromkeys(task.title for family in found.families for task in family.tasks)
    cells = [(title, line, line.tasks[title]) for title in titles for family in found.families
             for line in family.lines if title in line.tasks]  # fmt: skip
    yield Table(
        "By task",
        "",
        ("task", "model", "score", "retained, %", "corrected, %", *(f"{one.name}, %" for one in LOYALTY)),
        [
            [
                title,
                line.label,
                Number(wording.estimate(reduced.compared.candidate_score, reduced.compared.metric)),
                *(Number(wording.share(one.of(reduced))) for one in (RETAINED, CORRECTED, *LOYALTY)),
            ]
            for title, line, reduced in cells
        ],
    )
    heads = ("right → right", "right → wrong", "wrong → right", "wrong → wrong, same", "wrong → wrong, other")
    yield Table(
        "What became of answers",
        "",
        ("task", "model", *heads, "p"),
        [
            [title, line.label, *(Number(f"{n:,}") for n in one.flips[:5]), Number(wording.p_value(one.flips.p))]
            for title, line, one in cells
            if one.flips
        ],
    )
    yield Table(
        "Groups A and B",
        " ".join(filter(None, map(_judge, found.families))),
        ("task", "model", "samples in A", "accuracy on A, %", "samples in B", "accuracy on B, %"),
        [
            [title, line.label, *(text for group in one.groups for text in _group(group))]
            for title, line, one in cells
            if one.groups
        ],
    )


def _judge(family: Family) -> str:
    """Which model tells a family's groups apart."""
    small = next((task.downsampled for task in family.tasks if task.downsampled), None)
    read = f", which reads {small.tokens.average:.4g} visual tokens on average" if small and small.tokens else ""
    return f"By {small.label}{read}." if small else ""


def _group(found: Estimate | None) -> tuple[Number, Number]:
    return Number(f"{found.n:,}" if found else "0"), Number(wording.share(found))


def _images(found: Found) -> Table:
    """What images add on each task."""
    heads = ("task", "model", "score", "without an image", "as told by", "information")
    rows: list[list[Item]] = []
    for task in (task for family in found.families for task in family.tasks):
        result, zero = task.base.row.result, task.zero
        metric = result.task_card.metrics[0]
        rows.append(
            [
                task.title,
                task.base.label,
                Number(wording.estimate(result.metrics.get(metric.name), metric)),
                Number(f"{wording.scale(metric) * zero[1]:.4g}" if zero else wording.MISSING),
                zero[0] if zero else wording.MISSING,
                Number(wording.estimate(task.information(), _PLAIN)),
            ]
        )
    caption = "Where images add little, a task tells models that read fewer of their tokens hardly apart."
    return Table("What images add", caption, heads, rows)


def _values(found: Found, even: Mapping[str, Mapping[str, Evenness]]) -> Iterator[dict[str, Any]]:
    """For programs: a mapping for each number."""
    for family in found.families:
        for one in _own_values(family, even[family.whole]):
            yield {**one, "whole": family.whole}


def _own_values(family: Family, even: Mapping[str, Evenness]) -> Iterator[dict[str, Any]]:
    for task in family.tasks:
        yield from _value("information", task.title, task.base.label, task.information())
        for answers in family.answers(task):
            for name, value in stage_values(answers.row.timing):
                yield from _value(name, task.title, answers.label, value)
    titles = family.averaged
    for line in family.lines:
        for title, reduced in line.tasks.items():
            for measure in MEASURES:
                yield from _value(measure.name, title, line.label, measure.of(reduced))
            for name, count in reduced.flips._asdict().items() if reduced.flips else ():
                yield from _value(f"flips, {name}", title, line.label, count)
        for measure in MEASURES:
            yield from _value(measure.name, "mean", line.label, line.mean(titles, measure))
        for name, one in zip(("OP", "OG"), even.get(line.label, ()), strict=False):
            yield from _value(name, "mean", line.label, one)
        for name, count in zip(("entering", "average", "last"), line.tokens() or (), strict=False):
            yield from _value(f"visual tokens, {name}", "mean", line.label, count)


def _value(measure: str, task: str, model: str, value: Estimate | float | None) -> Iterator[dict[str, Any]]:
    if value is not None:
        whole = value if isinstance(value, Estimate) else None
        low, high, n = (whole.low, whole.high, whole.n) if whole else (None, None, None)
        number = whole.value if whole else value
        yield {"measure": measure, "task": task, "model": model, "value": number, "low": low, "high": high, "n": n}
