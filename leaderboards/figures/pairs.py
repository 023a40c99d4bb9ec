"""A pair of simple tasks: the scores of each model in four settings (dissertation, section 4.2)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from ...harness.errors import UserError
from ...harness.specs import parse, parse_call
from ..wording import seeded
from .cells import sections, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ...harness.cards import Metric, TaskCard
    from ...harness.outputs import FigureRequest
    from ...harness.results import Estimate
    from ...harness.specs import Spec
    from ..ranking import Section, Standing

COMPOSITE, GOLD = "composite", "composite-in-context"
SETTINGS = {"first": "first task", "second": "second task", COMPOSITE: "composite", GOLD: "composite in context"}
"""The settings as tasks call them, on their axis `AXIS`, and as figures do."""
AXIS = "setting"
_SIZE = re.compile(r"[-_ ]?(?<![a-z0-9.])((\d+x)?\d+(\.\d+)?[kmbt]|small|base|medium|large|xl)(?![a-z0-9])", re.I)


class Part(NamedTuple):
    """A cell's results in one setting.

    Attributes:
        whole: The cell asked in no other setting.
    """

    standing: Standing
    metrics: Mapping[str, Estimate]
    whole: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair of simple tasks as it was asked: cells of tasks whose specs differ in the setting alone.

    Attributes:
        task: Their spec without the setting.
        seed: Of the samples.
        kind: The pair's own name and structure, such as ``A+B, sequential``; empty where the task does not say.
        parts: Model with its budget -> setting -> what its cell says; baselines last, models by family and size.
    """

    task: str
    seed: int
    kind: str
    card: TaskCard
    parts: dict[str, dict[str, Part]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """As shown."""
        return ": ".join(filter(None, (self.kind, seeded(self.task, self.seed))))

    def metric(self, name: str = "") -> Metric:
        """The metric of that name; by default the one that ranks.

        Raises:
            UserError: There is none.
        """
        known = {metric.name: metric for metric in self.card.metrics}
        if name and name not in known:
            raise UserError(f"there is no metric {name!r}", where=self.title, todo=f"choose {', '.join(known)}")
        return known[name] if name else self.card.metrics[0]


def find_pairs(request: FigureRequest, figure: str) -> list[Pair]:
    """The pairs of a request, whose task may be named without its setting.

    Raises:
        UserError: There is no such task or model, or no task was asked in these settings.
    """
    found = pairs_of(sections(replace(request, task=None)))
    if not found:
        raise UserError(
            "no task of these runs composes two simple ones",
            where=figure,
            todo="run some: adaptbench run compositional-scale-tiny --out DIR",
        )
    if request.task is None:
        return found
    wanted = _settingless(request.task)
    chosen = [pair for pair in found if pair.task == wanted]
    if not chosen:
        raise unknown("pair", wanted, [pair.task for pair in found])
    return chosen


def pairs_of(found: Iterable[Section]) -> list[Pair]:
    """The pairs that some tasks are of, with those of their cells that may be compared."""
    pairs: dict[tuple[str, int], Pair] = {}
    for section in found:
        task = _settingless(section.task)
        for standing in section.standings:
            by_setting = standing.row.result.breakdown.get(AXIS, {})
            known = [setting for setting in SETTINGS if by_setting.get(setting)]
            if not (known and standing.comparable):
                continue
            new = Pair(task, section.seed, _kind(standing), section.card)
            pair = pairs.setdefault((task, section.seed), new)
            if pair.card.metrics != section.card.metrics:
                continue
            own = pair.parts.setdefault(standing.row.label, {})
            for setting in known:
                own.setdefault(setting, Part(standing, by_setting[setting], whole=len(by_setting) == 1))
    return [replace(pair, parts=_sorted(pair.parts)) for _, pair in sorted(pairs.items())]


def brief(names: Iterable[str]) -> dict[str, str]:
    """Model -> its shortest name that no other has: without the folder and the base's arguments, without the folder."""
    specs = {name: parse(name) for name in names}
    found: dict[str, str] = {}
    for short in (_bare, _without_folder, str):
        counts = Counter(map(short, specs.values()))
        found |= {name: short(spec) for name, spec in specs.items() if name not in found and counts[short(spec)] == 1}
    return found


def family(name: str) -> str:
    """A model's short name without its size: ``pythia-1.4b`` and ``pythia-160m`` are both of ``pythia``."""
    return _SIZE.sub("", name).strip("-_ ") or name


def is_baseline(parts: Mapping[str, Part]) -> bool:
    """Whether a model is a baseline, by what its cells say."""
    return any(part.standing.baseline for part in parts.values())


def size(parts: Mapping[str, Part]) -> int | None:
    """The parameters of a model, as its cells counted them; ``None`` if they did not."""
    return next((n for part in parts.values() if (n := part.standing.row.result.parameters)), None)


def _sorted(parts: Mapping[str, dict[str, Part]]) -> dict[str, dict[str, Part]]:
    short = brief(parts)

    def place(name: str) -> tuple[bool, str, int, str]:
        return is_baseline(parts[name]), family(short[name]), size(parts[name]) or 0, name

    return {name: parts[name] for name in sorted(parts, key=place)}


def _settingless(task: str) -> str:
    """A task's spec without its setting; a name that is not a spec stays as it is."""
    try:
        call = parse_call(task)
    except UserError:
        return task
    return str(replace(call, args=tuple(arg for arg in call.args if arg[0] != AXIS)))


def _kind(standing: Standing) -> str:
    """What the axes of a cell have in common."""
    axes = standing.row.result.breakdown
    return ", ".join(next(iter(own)) for axis in ("pair", "structure") if len(own := axes.get(axis, {})) == 1)


def _bare(spec: Spec) -> str:
    return _without_folder(replace(spec, base=replace(spec.base, args=())))


def _without_folder(spec: Spec) -> str:
    """A spec whose base is called as its checkpoint is, if it has one."""
    base = spec.base
    leaf = (base.target or "").rstrip("/").rpartition("/")[2]
    short = leaf + str(replace(base, target=None)).removeprefix(base.name) if leaf else str(base)
    return str(spec).replace(str(base), short, 1)
