"""Baselines: what a suite's cells came to, as JSON that is reviewed like code.

A file holds one suite, sorted, with each sample on a line of its own, so that the change of a score is the change of a
line. It holds what the code decides: scores, FLOPs, token counts, digests of outputs and of what ran; never a time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UserError
from ..hashing import canonical_json, sha256_hex
from ..progress import describe
from ..results import CellId
from ..store.files import disk_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ..contracts import Record
    from ..results import CellResult
    from ..store import Journal

FORMAT = 1
_DIGITS = 16
"""Of a digest: enough to tell an output from every other of a suite, and short enough to read past."""


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SampleBaseline(_Stored):
    """One sample of a cell.

    Attributes:
        output: Digest of the raw output.
        parsed: Digest of what the rule read out of it.
        scores: Metric -> value; ``None`` if it could not be scored.
        group: Name shared by samples that are not independent.
        flops: Of each answer that tells them.
        tokens: Text, visual and cut tokens of each answer that tells its cost.
        ran: Digest of what ran for the answers: layers, heads, channels, tokens, switches.
    """

    output: str
    parsed: str
    scores: dict[str, float] | None
    group: str | None = None
    flops: tuple[int | None, ...] = ()
    tokens: tuple[tuple[int, int, int], ...] = ()
    ran: str = ""

    @classmethod
    def of(cls, record: Record) -> SampleBaseline:
        """What is kept of a record."""
        stated = [cost.to_json() for cost in record.costs]
        ran = [{name: value for name, value in cost.items() if name in {"language", "units", "ran"}} for cost in stated]
        counted = [(cost.text_tokens, cost.visual_tokens, cost.cut_tokens) for cost in record.costs]
        return cls(
            output=_digest([record.output, record.fault]),
            parsed=_digest(record.parsed),
            scores=None if record.scores is None else dict(sorted(record.scores.items())),
            group=record.group,
            flops=tuple(cost.flops for cost in record.costs),
            tokens=tuple(counted) if any(map(any, counted)) else (),
            ran=_digest(ran) if any(ran) else "",
        )


class CellBaseline(_Stored):
    """One cell.

    Attributes:
        cell: Which.
        samples_digest: Hash of what is asked; other samples are not compared.
        rule: Scoring rule and version; other ones are not compared.
        metric: The metric whose loss is tested, and which way it is better.
        better: ``higher`` or ``lower``.
        replays: Whether the outputs are stored ones, which must stay as they are.
        flops: Of one input, if they are counted.
        flops_convention: Unit, phase and counter of ``flops``.
        parameters: Of the model.
        metrics: All metrics over the samples.
        samples: Sample id -> what it came to.
    """

    cell: CellId
    samples_digest: str
    rule: str
    metric: str
    better: str
    replays: bool
    flops: int | None
    flops_convention: tuple[str, ...] = ()
    parameters: int | None
    metrics: dict[str, float]
    samples: dict[str, SampleBaseline]

    @classmethod
    def of(cls, result: CellResult, records: Iterable[Record]) -> CellBaseline:
        """What is kept of a complete cell."""
        card = result.task_card
        return cls(
            cell=result.cell,
            samples_digest=result.samples_digest,
            rule=f"{card.rule}/{card.rule_version}",
            metric=card.metrics[0].name,
            better=card.metrics[0].better,
            replays=result.model_card.replays,
            flops=result.flops.value if result.flops else None,
            flops_convention=result.flops.convention() if result.flops else (),
            parameters=result.parameters,
            metrics={name: estimate.value for name, estimate in sorted(result.metrics.items())},
            samples={record.sample: SampleBaseline.of(record) for record in records},
        )


class Baseline(_Stored):
    """One suite: its cells by their names."""

    format: int = FORMAT
    suite: str
    cells: dict[str, CellBaseline]

    @classmethod
    def of(cls, suite: str, journals: Iterable[Journal]) -> Baseline:
        """What is kept of a run's complete cells."""
        cells = {}
        for journal in journals:
            result = journal.result()
            if result is not None:
                cells[describe(result.cell)] = CellBaseline.of(result, journal.records())
        return cls(suite=suite, cells=cells)

    def text(self) -> str:
        """The content of its file."""
        return "".join(_laid_out(self.model_dump(mode="json", exclude_defaults=True) | {"format": self.format})) + "\n"


def read_baseline(path: Path) -> Baseline | None:
    """Read a baseline; ``None`` if there is none yet.

    Raises:
        UserError: The file is not a baseline, or one of another format.
    """
    if not path.exists():
        return None
    with disk_errors(path, "read"):
        data = path.read_bytes()
    todo = "renew it with `adaptbench gate SUITE --update`, and review what changes"
    try:
        found = Baseline.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"not a baseline: {place} {first['msg']}", where=str(path), todo=todo) from error
    if found.format != FORMAT:
        what = f"it has format {found.format}, and this version of AdaptBench reads {FORMAT}"
        raise UserError(what, where=str(path), todo=todo)
    return found


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline to be reviewed and committed."""
    write_atomic(path, baseline.text().encode())


def _digest(value: Any) -> str:
    return sha256_hex(canonical_json(value))[:_DIGITS]


def _laid_out(value: Any, depth: int = 0) -> Iterator[str]:
    """JSON in which what is at most four deep - suite, cells, cell, samples - has a line of its own, in order."""
    if not (isinstance(value, dict) and value and depth < 4):
        yield json.dumps(value, sort_keys=True, allow_nan=False)
        return
    yield "{\n"
    for place, (name, item) in enumerate(sorted(value.items())):
        yield f"{' ' * (depth + 1)}{json.dumps(name)}: "
        yield from _laid_out(item, depth + 1)
        yield ",\n" if place < len(value) - 1 else "\n"
    yield f"{' ' * depth}}}"
