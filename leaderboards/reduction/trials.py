"""How claims about token reduction are tried: what is compared with what, by paired tests over samples."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...harness.stats import holm, paired_p
from .answers import samples_of
from .measures import right
from .ranks import APART, Scored, stacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...harness.stats import Values
    from .answers import TaskAnswers
    from .lines import Family, Line
    from .ranks import Columns
    from .settings import Setting

MEET = 1.5
"""By what factor the visual tokens of two models may differ that are compared: `vtw`'s numbers are few."""
_BASELINES = frozenset(
    {"blind", "grid-tokens", "pooled-tokens", "random-tokens", "smaller-images", "fitprune, inverted"}
)
"""Baselines, and what is a method by mistake."""


class Scope(NamedTuple):
    """The families that a claim is tried on, one or several together.

    Attributes:
        settings: Setting -> whole model -> its models, of those that did all tasks that means are over.
    """

    families: Sequence[Family]
    settings: Mapping[Setting, Mapping[str, Sequence[Line]]]

    @classmethod
    def of(cls, families: Sequence[Family], settings: Mapping[Setting, Mapping[str, Sequence[Line]]]) -> Scope:
        """Leave out what other families have, and models that lack a task."""
        titles = {family.whole: family.averaged for family in families}
        known: dict[Setting, dict[str, Sequence[Line]]] = {}
        for setting, models in settings.items():
            for whole, lines in models.items():
                if whole in titles and all(line.ratios(titles[whole]) for line in lines):
                    known.setdefault(setting, {})[whole] = lines
        return cls(families, known)

    @property
    def methods(self) -> list[Setting]:
        """The settings but those of baselines."""
        return [
            setting
            for setting, models in self.settings.items()
            if setting.method not in _BASELINES
            and not any(line.baseline for lines in models.values() for line in lines)
        ]


class Side(NamedTuple):
    """One side of a comparison: a setting in some families, whose models are taken together as their mean."""

    setting: Setting
    models: Mapping[str, Sequence[Line]]


class Trial(NamedTuple):
    """A comparison that a claim is tried by.

    Attributes:
        other: The other method, and where, if that is not everywhere.
        difference: Of what the claim is about, in shares of the whole model's score.
        p: Of the paired test, adjusted for all comparisons of the claim (Holm).
    """

    one: Setting
    other: Setting
    place: str
    difference: float
    p: float


def beside(scope: Scope, one: str, others: Sequence[str]) -> list[Trial]:
    """A method beside others, or beside all but baselines: the difference of what they retain.

    In each family, two settings meet if either leaves the number of tokens that is nearest to the other's, and neither
    leaves more than `MEET` times as many.
    """
    found = []
    for setting in scope.settings if others else scope.methods:
        if setting.method == one or (others and setting.method not in others):
            continue
        ones = {whole: near for whole in scope.settings[setting] if (near := _met(scope, one, setting, whole))}
        if not ones:
            continue
        own = next(iter(ones.values()))
        sides = [
            Side(own, {whole: scope.settings[near][whole] for whole, near in ones.items()}),
            Side(setting, {whole: scope.settings[setting][whole] for whole in ones}),
        ]
        found.append((own, setting, "", *_difference(*_columns(scope, sides))))
    return _adjusted(found)


def by_ratio(scope: Scope) -> list[Trial]:
    """Two methods, each with more and with fewer tokens: what tokens change less what methods change.

    With means a and b of the shares retained, with more (+) and fewer (-) tokens, tokens change (a+ + b+ - a- - b-) / 2
    and methods (a+ + a- - b+ - b-) / 2. The first is larger, up to signs, just where a+ - b- and b+ - a- have one sign.
    So both are tested, and p is the larger one: each of the two methods is above the other one that has fewer tokens.
    """
    found = []
    for more, fewer in _ladders(scope):
        for a, b in itertools.combinations(more, 2):
            common = set.intersection(*(set(scope.settings[one]) for one in (more[a], fewer[a], more[b], fewer[b])))
            if not common:
                continue
            up, down = ({name: _within(scope, step[name], common) for name in (a, b)} for step in (more, fewer))
            one = _difference(*_columns(scope, [up[a], down[b]]))
            other = _difference(*_columns(scope, [up[b], down[a]]))
            found.append((more[a], more[b], "", *_both(one, other)))
    return _adjusted(found)


def by_groups(scope: Scope) -> list[Trial]:
    """Two methods on VTC-Bench's groups: how far they are apart on A less how far on B.

    They are farther apart on A just where the differences on A and B, added and subtracted, have one sign. So both are
    tested, and p is the larger one.
    """
    found = []
    for one, other in _pairs(scope.methods):
        parts = [
            part
            for family in scope.families
            if family.whole in scope.settings[one] and family.whole in scope.settings[other]
            for task in family.tasks
            if task.title in family.averaged
            for part in [_group_parts(task, *(scope.settings[side][family.whole] for side in (one, other)))]
            if part
        ]
        if parts:
            names = [name for part in parts for name in part[2]]
            on_a, on_b = (np.concatenate([part[side] for part in parts]) / len(parts) for side in (0, 1))
            zero = np.zeros(len(names))
            both = [(float(x.sum()), paired_p(x, zero, names)) for x in (on_a + on_b, on_a - on_b)]
            found.append((one, other, "", *_both(*both)))
    return _adjusted(found)


def everywhere(scope: Scope) -> list[Trial]:
    """Each method on the task where it is beaten most clearly; or beside its closest rival, if none beats it clearly.

    Only those are compared that leave about as many tokens as most do. The tests are adjusted for all pairs of all
    tasks of all families.
    """
    counts = [setting.tokens for setting in scope.methods if setting.tokens is not None]
    usual = max(counts, key=lambda count: (counts.count(count), -count), default=None)
    rivals = [setting for setting in scope.methods if setting.tokens == usual]
    found = []
    for family in scope.families:
        for title in family.averaged:
            own = [setting for setting in rivals if family.whole in scope.settings[setting]]
            place = f"{title}, {family.whole}" if len(scope.families) > 1 else title
            for one, other in _pairs(own):
                sides = [_within(scope, setting, {family.whole}) for setting in (one, other)]
                found.append((one, other, place, *_difference(*_columns(scope, sides, title))))
    every = _adjusted(found)
    mirrored = [*every, *(Trial(t.other, t.one, t.place, -t.difference, t.p) for t in every)]
    return [
        min(its, key=lambda trial: (trial.difference >= 0, trial.p if trial.difference < 0 else -trial.p))
        for setting in rivals
        if (its := [trial for trial in mirrored if trial.one == setting])
    ]


def _adjusted(found: Sequence[tuple[Setting, Setting, str, float, float]]) -> list[Trial]:
    adjusted = holm([p for *_, p in found])
    return [
        Trial(one, other, place, apart, p) for (one, other, place, apart, _), p in zip(found, adjusted, strict=True)
    ]


def _both(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Of two differences the smaller one, above 0 if both have one sign; and the larger p value."""
    sign = 1 if one[0] * other[0] > 0 else -1
    return sign * min(abs(one[0]), abs(other[0])), max(one[1], other[1])


def _met(scope: Scope, one: str, other: Setting, whole: str) -> Setting | None:
    """The setting of a method that another one's setting meets; ``None`` if either has a nearer one, or it is far."""
    near = _nearest(scope, one, whole, other.tokens)
    back = near and _nearest(scope, other.method, whole, near.tokens)
    return near if near and back and back.tokens == other.tokens and _apart(near, other.tokens) <= MEET else None


def _nearest(scope: Scope, method: str, whole: str, tokens: float | None) -> Setting | None:
    """The setting of a method in a family with the number of tokens that is nearest by its ratio."""
    own = [setting for setting, models in scope.settings.items() if setting.method == method and whole in models]
    known = [setting for setting in own if setting.tokens and tokens]
    return min(known, key=lambda one: _apart(one, tokens), default=own[0] if own else None)


def _apart(setting: Setting, tokens: float | None) -> float:
    """By what factor a setting's tokens differ from a number of them; 1 if either is not known."""
    factor = setting.tokens / tokens if setting.tokens and tokens else 1.0
    return max(factor, 1 / factor)


def _pairs(settings: Sequence[Setting]) -> Iterator[tuple[Setting, Setting]]:
    """Two methods that leave about as many tokens; what differs in options alone is one method."""
    for one, other in itertools.combinations(settings, 2):
        if one.tokens == other.tokens and one.method != other.method:
            yield one, other


def _ladders(scope: Scope) -> Iterator[tuple[dict[str, Setting], dict[str, Setting]]]:
    """Methods that ran with two numbers of tokens, more and fewer, which are not about the same."""
    steps: dict[float, dict[str, Setting]] = {}
    for setting in scope.methods:
        if setting.tokens:
            steps.setdefault(setting.tokens, {}).setdefault(setting.method, setting)
    for more, fewer in itertools.permutations(sorted(steps), 2):
        both = steps[more].keys() & steps[fewer].keys()
        if more > (1 + APART) * fewer and len(both) > 1:
            yield (
                {name: steps[more][name] for name in sorted(both)},
                {name: steps[fewer][name] for name in sorted(both)},
            )


def _within(scope: Scope, setting: Setting, wholes: Iterable[str]) -> Side:
    return Side(setting, {whole: scope.settings[setting][whole] for whole in wholes})


def _columns(scope: Scope, sides: Sequence[Side], title: str | None = None) -> tuple[Columns, float]:
    """The scores of two sides on the same samples of all tasks or of one; and what differences are to be divided by."""
    tasks = []
    for family in (family for family in scope.families if family.whole in sides[0].models):
        models = [side.models[family.whole] for side in sides]
        for task in family.tasks:
            if task.title == title or (title is None and task.title in family.averaged):
                scores, names = samples_of(line.tasks[task.title].answers for lines in models for line in lines)
                first = len(models[0])
                means = {"one": np.mean(scores[:first], axis=0), "other": np.mean(scores[first:], axis=0)}
                tasks.append(Scored(task.title, means, float(np.nanmean(task.base.scores)), names))
    return stacked(tasks), tasks[0].whole if len(tasks) == 1 else 1.0  # scores of one task are as they are


def _difference(columns: Columns, whole: float) -> tuple[float, float]:
    one, other = columns.scores["one"], columns.scores["other"]
    return float((one - other).mean()) / whole, paired_p(one, other, columns.groups)


def _group_parts(
    task: TaskAnswers, ones: Sequence[Line], others: Sequence[Line]
) -> tuple[Values, Values, list[str]] | None:
    """Sample by sample, what adds up to the difference of two sides' accuracies on A and on B; and clusters' names.

    ``None`` if there are no groups, or one of the sides is what tells them apart.
    """
    judge, answers = task.downsampled, [line.tasks[task.title].answers for line in (*ones, *others)]
    if judge is None or not task.shares or judge in answers:
        return None
    (base, small, *scores), names = samples_of([task.base, judge, *answers])
    own = [right(score).astype(np.float64) for score in scores]
    apart = np.mean(own[: len(ones)], axis=0) - np.mean(own[len(ones) :], axis=0)
    a, b = right(base) & ~right(small), right(base) & right(small)
    if not (a.any() and b.any()):
        return None
    return apart * a / a.sum(), apart * b / b.sum(), [f"{task.title} {name}" for name in names]
