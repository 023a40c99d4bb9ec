"""The samples that flipped: what was asked, what both sides answered, what was expected, and why the score changed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..figures import load_question, planned
from ..hashing import canonical_json
from .result import FlippedSample

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..contracts import Json, Record, Sample, Task
    from ..registry import Registry
    from ..store import StoredCell
    from .result import Flips

_LONGEST = 2_000
"""Characters of a text that are kept."""


@dataclass(frozen=True, slots=True)
class SampleReader:
    """Reads the samples that flipped, some of each direction.

    Attributes:
        registry: Where tasks are looked up, for their questions.
        most: Of each direction.
        images: Question's image, by (task, seed, sample), of those that were read.
    """

    registry: Registry
    most: int = 10
    images: dict[tuple[str, int, str], Image] = field(default_factory=dict)
    _tasks: dict[tuple[str, int, str], Task | str] = field(default_factory=dict)

    def read(self, flips: Flips, baseline: StoredCell, candidate: StoredCell) -> tuple[list[FlippedSample], str]:
        """Return the samples, and why their questions cannot be shown; empty if they are."""
        wanted = dict.fromkeys(flips.lost[: self.most], False) | dict.fromkeys(flips.gained[: self.most], True)
        if not wanted:
            return [], ""
        theirs, own = (_records(cell, wanted) for cell in (baseline, candidate))
        task = self._task(candidate, own[next(iter(wanted))])
        asked = {} if isinstance(task, str) else {sample.id: sample for sample in task.samples if sample.id in wanted}
        found = []
        for name, gained in wanted.items():
            question, truth = ("", "") if isinstance(task, str) else self._question(candidate, task, asked[name])
            found.append(
                FlippedSample(
                    sample=name,
                    gained=gained,
                    question=question,
                    truth=truth,
                    baseline=_shown(theirs[name].output),
                    candidate=_shown(own[name].output),
                    why=_why(theirs[name], own[name]),
                )
            )
        return found, task if isinstance(task, str) else ""

    def _task(self, cell: StoredCell, record: Record) -> Task | str:
        """The task, built again with the data of the run; or why it cannot be."""
        result = cell.result
        key = (result.cell.task, result.cell.seed, result.samples_digest)
        if key not in self._tasks:
            try:
                self._tasks[key], _ = load_question(planned(self.registry, result.cell), result, record)
            except UserError as error:
                self._tasks[key] = error.what
        return self._tasks[key]

    def _question(self, cell: StoredCell, task: Task, sample: Sample) -> tuple[str, str]:
        """The text that was asked and the right answer; the first image is kept."""
        prompts = [task.inputs[position].load() for position in sample.inputs]
        images = [image for prompt in prompts for image in prompt.images]
        if images:
            self.images[cell.result.cell.task, cell.result.cell.seed, sample.id] = images[0]
        return _shown("\n".join(dict.fromkeys(prompt.text.strip() for prompt in prompts))), _shown(sample.target)


def _records(cell: StoredCell, wanted: dict[str, Any]) -> dict[str, Record]:
    return {record.sample: record for record in cell.journal.records() if record.sample in wanted}


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
