"""The samples that flipped: what was asked, what both sides answered, what was expected, and why the score changed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..asked import Asked, what_is_asked
from ..errors import UserError
from ..figures import load_same_task
from ..hashing import canonical_json
from .result import FlippedSample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from ..contracts import Json, Record, Task
    from ..registry import Registry
    from ..store import StoredCell
    from .result import Flips

_LONGEST = 2_000
"""Characters of a text that are kept."""
_IMAGES = 5
"""Of a sample that are kept."""
_KINDS = 3
"""Of mistakes that are named, the most frequent ones."""


@dataclass(frozen=True, slots=True)
class SampleReader:
    """Builds tasks again, and reads the samples that flipped, some of each direction.

    Attributes:
        registry: Where tasks are looked up.
        most: Samples of each direction.
        images: Some images with their captions, by (task, seed, sample), of samples that were read.
    """

    registry: Registry
    most: int = 10
    images: dict[tuple[str, int, str], list[tuple[str, Image]]] = field(default_factory=dict)
    _tasks: dict[tuple[str, int, str], Task | str] = field(default_factory=dict)

    def read(self, flips: Flips, baseline: StoredCell, candidate: StoredCell) -> tuple[list[FlippedSample], str]:
        """Return the samples, and why what they ask cannot be shown; empty if it is."""
        wanted = dict.fromkeys(flips.lost[: self.most], False) | dict.fromkeys(flips.gained[: self.most], True)
        if not wanted:
            return [], ""
        theirs, own = (_records(cell, wanted) for cell in (baseline, candidate))
        task = self.task(candidate)
        samples = {} if isinstance(task, str) else {sample.id: sample for sample in task.samples if sample.id in wanted}
        found = []
        for name, gained in wanted.items():
            shown = Asked("", []) if isinstance(task, str) else what_is_asked(task, samples[name], _IMAGES)
            self.images[candidate.result.cell.task, candidate.result.cell.seed, name] = shown.images
            target = samples[name].target if samples else None
            told = _told(theirs[name], own[name], target, shown.classes)
            found.append(FlippedSample(sample=name, gained=gained, question=_shown(shown.text), **told))
        return found, task if isinstance(task, str) else ""

    def task(self, cell: StoredCell) -> Task | str:
        """The task of a cell, built again with the samples of the run; or why it cannot be."""
        result = cell.result
        key = (result.cell.task, result.cell.seed, result.samples_digest)
        if key not in self._tasks:
            try:
                self._tasks[key] = load_same_task(self.registry, cell)
            except UserError as error:
                self._tasks[key] = error.what
        return self._tasks[key]


def _records(cell: StoredCell, wanted: dict[str, Any]) -> dict[str, Record]:
    return {record.sample: record for record in cell.journal.records() if record.sample in wanted}


def _told(baseline: Record, candidate: Record, target: Json, classes: Sequence[str]) -> dict[str, str]:
    """The truth, both answers and what changed; of an episode, how many are right and what they were taken for."""
    parsed = [baseline.parsed, candidate.parsed]
    if not classes or not all(isinstance(one, list) for one in (target, *parsed)):
        outputs = {"baseline": _shown(baseline.output), "candidate": _shown(candidate.output)}
        return {"truth": "" if target is None else _shown(target), **outputs, "why": _why(baseline, candidate)}
    rows = list(zip(target, *parsed, strict=False))
    right = [sum(row[0] == row[side] for row in rows) for side in (1, 2)]
    lost = [
        f"{_named(truth, classes)} taken for {_named(new, classes)}" for truth, old, new in rows if old == truth != new
    ]
    gained = sum(old != truth == new for truth, old, new in rows)
    most = ", ".join(f"{mistake} ({count})" for mistake, count in Counter(lost).most_common(_KINDS))
    why = f"{len(lost)} answers lost, {gained} gained" + (f"; lost most: {most}" if most else "")
    one, other = (f"{count} of {len(rows)} right" for count in right)
    return {"truth": "", "baseline": one, "candidate": other, "why": why}


def _named(answer: Json, classes: Sequence[str]) -> str:
    return classes[answer] if isinstance(answer, int) and 0 <= answer < len(classes) else _brief(answer)


def _why(baseline: Record, candidate: Record) -> str:
    """What changed: the answer that was read, or whether one was read at all, or only the score."""
    if candidate.fault or baseline.fault:
        return f"not asked: {candidate.fault or baseline.fault}"
    if candidate.parsed is None or baseline.parsed is None:
        if candidate.parsed == baseline.parsed:
            return "no answer could be read from either output"
        side = "candidate" if candidate.parsed is None else "baseline"
        return f"no answer could be read from the {side}'s output"
    if canonical_json(candidate.parsed) == canonical_json(baseline.parsed):
        return "the same answer was scored otherwise"
    scores = " and ".join(_changes(baseline, candidate))
    return f"{_brief(candidate.parsed)} instead of {_brief(baseline.parsed)}{f' ({scores})' if scores else ''}"


def _changes(baseline: Record, candidate: Record) -> list[str]:
    """Scores between right and wrong, as they changed."""
    old, new = baseline.scores or {}, candidate.scores or {}
    names = [name for name in new if name in old and old[name] != new[name]]
    return [f"{name} {old[name]:.4g} to {new[name]:.4g}" for name in names if {old[name], new[name]} - {0.0, 1.0}]


def _brief(parsed: Json, longest: int = 60) -> str:
    text = _shown(parsed)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _shown(output: Json) -> str:
    """An output as text that any file may hold; several texts each on a line."""
    if isinstance(output, list) and all(isinstance(one, str) for one in output):
        output = "\n".join(output)
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in cut)
