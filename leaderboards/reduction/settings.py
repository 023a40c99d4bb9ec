"""Methods over families: which models are one method that leaves about as many tokens, whatever their options."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...harness.stats import ratio_interval
from .answers import samples_of
from .lines import RETAINED, mean_over_tasks
from .ranks import typical
from .wholes import added

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.results import Estimate
    from ...harness.specs import Call
    from .lines import Family, Found, Line


class Setting(NamedTuple):
    """A method, or several, at a number of visual tokens.

    Attributes:
        method: Its name; of a model that is not the whole one with methods, its label.
        options: The methods as the spec has them, where a family has several that differ in more than their seed and
            leave about as many tokens; else empty.
        tokens: On average over the language model's blocks, the median of all that read about as many; ``None`` if they
            are not known.
    """

    method: str
    options: str
    tokens: float | None

    @property
    def name(self) -> str:
        """What tells it from others at as many tokens."""
        return self.options or self.method


def settings(found: Found) -> dict[Setting, dict[str, list[Line]]]:
    """Setting -> whole model -> its models there, which differ in their seed alone."""
    tokens = {line.label: told.average for family in found.families for line in family.lines if (told := line.tokens())}
    counts = typical(tokens)
    every: dict[tuple[str, str, float | None], dict[str, list[Line]]] = {}
    for family in found.families:
        for line in family.lines:
            calls = added(line.row, family.tasks[0].base.row)
            method = "+".join(map(_named, calls)) or line.label
            options = "+".join(str(_seedless(call)) for call in calls)
            variants = every.setdefault((family.whole, method, counts.get(line.label)), {})
            variants.setdefault(options, []).append(line)
    grouped: dict[Setting, dict[str, list[Line]]] = {}
    for (whole, method, count), variants in every.items():
        for options, lines in variants.items():
            setting = Setting(method, options if len(variants) > 1 else "", count)
            grouped.setdefault(setting, {})[whole] = lines
    return grouped


def mean_retained(family: Family, lines: Sequence[Line]) -> Estimate | None:
    """The mean share retained; of several models, of their scores averaged sample by sample."""
    if len(lines) == 1 or not all(line.ratios(family.averaged) for line in lines):
        return lines[0].mean(family.averaged, RETAINED) if len(lines) == 1 else None
    found = []
    for task in family.tasks:
        if task.title in family.averaged:
            answers = (task.base, *(line.tasks[task.title].answers for line in lines))
            (base, *scores), names = samples_of(answers)
            found.append(ratio_interval(base, np.mean(scores, axis=0), names, shares=task.shares))
    known = [one for one in found if one is not None]
    return mean_over_tasks(known) if len(known) == len(found) else None


def _named(call: Call) -> str:
    return f"{call.name}{', inverted' * (dict(call.args).get('inverted') is True)}"


def _seedless(call: Call) -> Call:
    return replace(call, args=tuple(arg for arg in call.args if arg[0] != "seed"))
