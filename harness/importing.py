"""Results that other tools stored, as cells of a run.

An importer reads a file into `ImportedCell`s: what the tool says of its samples, and what it states of them together.
Here the means are computed again and held against what the tool states, and all is checked before anything is written.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from .cards import Capability, Metric, ModelCard, TaskCard
from .contracts import Json, Record
from .errors import UserError
from .faults import blamed_on
from .hashing import canonical_json, sha256_hex
from .imported_task import ImportedTask, KeptSample
from .reading import json_value
from .results import CellId, CellResult, Estimate
from .samples import sample_digests, samples_digest
from .specs import Call
from .store import Session
from .store.files import disk_errors
from .summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .registry import Registry
    from .store import RunDirectory

_SUFFIXES = (".json", ".eval")
"""Of the files that are read where a folder is named."""
_LONGEST = 10_000
"""Characters of what was asked that a run keeps."""
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class ResultFile:
    """A file that an importer may know."""

    path: Path

    @functools.cached_property
    def is_zip(self) -> bool:
        """Whether it is a zip archive, by its first bytes."""
        with disk_errors(self.path, "read"), self.path.open("rb") as stream:
            return stream.read(len(_ZIP)) == _ZIP

    @functools.cached_property
    def content(self) -> Any:
        """The file's JSON, of which NaN and infinities are read as they are; ``None`` for a zip archive.

        Raises:
            UserError: It is not JSON.
        """
        if self.is_zip:
            return None
        with disk_errors(self.path, "read"):
            return read_json(self.path.read_bytes(), str(self.path))


def read_json(data: bytes, where: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        UserError: It is not JSON.
    """
    return json_value(data, where, "the file is damaged; get it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSample:
    """One sample.

    Attributes:
        content: What was asked: equal contents are the same question.
        asked: The same as people are shown it; empty if that is ``content`` itself.
        parsed: The answer that the tool read out of the output; ``None`` if it found none.
        target: The right answer.
        group: Name shared by samples that are not independent.
        fault: Why the model was not asked.
    """

    id: str
    content: Json
    asked: str = ""
    output: Json
    parsed: Json = None
    target: Json = None
    group: str | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedMetric:
    """One metric.

    Attributes:
        values: A number per sample, ``None`` or NaN for one without a score; ``None`` if samples have no numbers.
        stated: What the tool states for all samples together; ``None`` if it states nothing.
        better: ``None`` if the tool does not say.
        mean: Whether ``stated`` is the mean over samples; ``None`` if the tool does not say.
    """

    name: str
    values: Sequence[float | None] | None
    stated: float | None
    better: Literal["higher", "lower"] | None = None
    mean: bool | None = None

    @property
    def scored(self) -> list[float]:
        """The finite values."""
        return [value for value in self.values or () if value is not None and math.isfinite(value)]

    @property
    def agrees(self) -> bool:
        """Whether the mean over samples is what the tool states; NaN is what some tools make of a missing score."""
        if self.stated is None or (math.isnan(self.stated) and len(self.scored) < len(self.values or ())):
            return True
        return math.isclose(self.average, self.stated, rel_tol=1e-6, abs_tol=1e-9)

    @property
    def average(self) -> float:
        """Mean of the finite values."""
        return math.fsum(self.scored) / len(self.scored) if self.scored else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedCell:
    """A model on a task, as a tool stored it.

    Attributes:
        where: The file, for messages.
        tool: Name of the tool; it is part of the names of model, task and rule.
        version: Of the tool.
        model: As the tool names it.
        model_args: What else makes it another model, such as an adapter.
        task: As the tool names it.
        task_version: As the tool writes it.
        samples: In an order that does not depend on the model.
        metrics: In the tool's order.
        date: When it began, ISO 8601; empty if the file does not say.
        partial: Why it is not whole; ``None`` if it is.
    """

    where: str
    tool: str
    version: str
    model: str
    model_args: Mapping[str, Any] = field(default_factory=dict)
    task: str
    task_version: str
    capability: Capability
    samples: Sequence[ImportedSample]
    metrics: Sequence[ImportedMetric]
    seed: int = 0
    date: str = ""
    partial: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> CellId:
        """Model and task, both named after the tool too: ``lm-eval:gpt2`` is not a model of ours."""
        args = tuple((name, _plain(value)) for name, value in self.model_args.items())
        model, task = Call(self.tool, self.model, args), Call(self.tool, self.task)
        return CellId(model=str(model), task=str(task), seed=self.seed)


class LeftOut(NamedTuple):
    """A task of a file that cannot be imported, and why."""

    where: str
    task: str
    reason: str


Imported: TypeAlias = "ImportedCell | LeftOut"


class Complete(NamedTuple):
    """A cell that is checked and can be written."""

    result: CellResult
    records: list[Record]
    task: ImportedTask
    date: str


def read_results(registry: Registry, paths: Iterable[Path]) -> list[Imported]:
    """Read result files, each by the first importer that knows its content.

    Args:
        registry: The importers.
        paths: Files, and folders that are searched for files that end in ``.json`` or ``.eval``.

    Raises:
        UserError: A file is damaged, a file that was named is of no known tool, or nothing was found.
    """
    importers = [(entry.name, entry.factory()) for entry in registry.entries("importer")]
    found: list[Imported] = []
    for path, named in _files(paths):
        file = ResultFile(path)
        for name, read in importers:
            with blamed_on(f"importer {name}", str(path)):
                cells = read(file)
            if cells is not None:
                found += cells
                break
        else:
            if named:
                tools = ", ".join(name for name, _ in importers)
                raise UserError(f"not a result file of {tools}", where=str(path), todo="name a result file or a folder")
    if not found:
        raise UserError("there are no result files", where=", ".join(map(str, paths)), todo="check the paths")
    return found


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    """Files, and whether they were named."""
    for path in paths:
        if path.is_dir():
            found = (file for file in sorted(path.rglob("*")) if file.suffix in _SUFFIXES and file.is_file())
            yield from ((file, False) for file in found)
        elif path.is_file():
            yield path, True
        else:
            raise UserError("there is no such file or folder", where=str(path), todo="check the path")


def complete(cell: ImportedCell) -> Complete | LeftOut:
    """Check a cell and make its records and result.

    Raises:
        UserError: A mean over samples is not what the tool states, or a value cannot be stored.
    """
    means, derived, notes = _sorted_metrics(cell)
    if not means:
        return LeftOut(cell.where, cell.task, "none of its metrics is a mean of numbers that its samples have")
    card = _task_card(cell, means, derived)
    task = ImportedTask(card, [_kept(one) for one in cell.samples])
    contents = sample_digests(task, task.samples)
    if len({sample.id for sample in task.samples}) < len(contents):
        raise UserError("two samples have the same id", where=cell.where, todo="the file is damaged; get it again")
    records = [
        Record(
            one.id,
            content,
            _plain(one.output),
            _plain(one.parsed),
            _scores(means, row),
            group=one.group,
            fault=one.fault,
        )
        for row, (one, content) in enumerate(zip(cell.samples, contents, strict=True))
    ]
    summary = summarise(card, task.samples, records)
    summary["metrics"] |= {
        metric.name: Estimate(
            value=metric.stated, low=None, high=None, n=len(records), method=f"as {cell.tool} states it"
        )
        for metric in derived
        if metric.stated is not None
    }
    told = {"tool": cell.tool, "tool_version": cell.version, "date": cell.date} | dict(cell.settings)
    result = CellResult(
        key="",
        cell=cell.id,
        model_card=ModelCard(
            summary=f"{cell.model}, as {cell.tool} ran it",
            capabilities=(cell.capability,),
            source=cell.tool,
            revision=cell.version,
            replays=True,
        ),
        task_card=card,
        samples_digest=samples_digest(task.samples, contents),
        partial=cell.partial,
        flops=None,
        flops_missing=f"not counted: imported from {cell.tool} {cell.version}",
        notes=(*cell.notes, *notes),
        settings={name: _setting(value) for name, value in told.items() if value not in (None, "", {}, [])},
        records_sha256="",
        **summary,
    )
    stored = [dataclasses.asdict(record) for record in records]
    key = sha256_hex(canonical_json(result.model_dump(mode="json")), canonical_json(stored))[:32]
    return Complete(result.model_copy(update={"key": key}), records, task, cell.date)


def _kept(sample: ImportedSample) -> KeptSample:
    content = _plain(sample.content)
    asked = sample.asked or (content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
    asked = asked if len(asked) <= _LONGEST else f"{asked[:_LONGEST]}…"
    return KeptSample(sample.id, sha256_hex(canonical_json(content)), asked, _plain(sample.target), sample.group)


def _sorted_metrics(cell: ImportedCell) -> tuple[list[ImportedMetric], list[ImportedMetric], list[str]]:
    """Metrics that are means over the samples, those that the tool alone can compute, and notes."""
    means: list[ImportedMetric] = []
    derived: list[ImportedMetric] = []
    notes = []
    for metric in cell.metrics:
        if metric.values is None or not metric.scored or metric.mean is False:
            reason = "not a mean over samples"
        elif not metric.agrees and metric.mean:
            raise UserError(
                f"{metric.name} of task {cell.task} is {metric.stated:.10g}, but the mean of its"
                f" {len(metric.scored):,} samples is {metric.average:.10g}",
                where=cell.where,
                todo="files of two runs are mixed, or one is damaged; get both again",
            )
        elif not metric.agrees:
            reason = f"not the mean over samples, which is {metric.average:.10g}"
        elif means and _unscored(metric) != _unscored(means[0]):
            reason = f"a mean over other samples than {means[0].name}"
        else:
            means.append(metric)
            if metric.stated is not None and math.isnan(metric.stated):
                notes.append(f"{cell.tool} states NaN as {metric.name}, as samples without a score are in its mean")
            if metric.better is None:
                notes.append(f"{cell.tool} does not say whether {metric.name} should be high or low: taken as high")
            continue
        if metric.stated is not None and math.isfinite(metric.stated):
            derived.append(metric)
            notes.append(f"{metric.name} is as {cell.tool} states it: {reason}")
    return means, derived, notes


def _unscored(metric: ImportedMetric) -> list[bool]:
    return [value is None or not math.isfinite(value) for value in metric.values or ()]


def _scores(means: Sequence[ImportedMetric], row: int) -> dict[str, float] | None:
    values = {metric.name: (metric.values or ())[row] for metric in means}
    found = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
    return found if len(found) == len(means) else None


def _task_card(cell: ImportedCell, means: Sequence[ImportedMetric], derived: Sequence[ImportedMetric]) -> TaskCard:
    rule, version = f"{cell.tool} {means[0].name}", 1
    try:
        version = int(float(cell.task_version))
        whole = version == float(cell.task_version)
    except (ValueError, OverflowError):
        whole = False
    if not whole:
        rule, version = f"{rule} {cell.task_version}", 1
    metrics = [_metric(metric, "mean", metric.scored) for metric in means]
    metrics += [_metric(metric, "derived", [metric.stated or 0.0]) for metric in derived]
    return TaskCard(
        summary=f"{cell.task}, as {cell.tool} ran it",
        capability=cell.capability,
        metrics=tuple(metrics),
        rule=rule,
        rule_version=version,
        source=cell.tool,
        revision=cell.version,
    )


def _metric(metric: ImportedMetric, kind: Literal["mean", "derived"], values: Sequence[float]) -> Metric:
    """A metric whose values are all in [0, 1] is a share, unless less of it is better."""
    better = metric.better or "higher"
    share = better == "higher" and all(0 <= value <= 1 for value in values)
    return Metric(name=metric.name, unit="%" if share else "", better=better, kind=kind)


def _plain(value: Any) -> Json:
    """A value as JSON can hold it: NaN and infinities become texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return value


def _setting(value: Any) -> str | int | float | bool:
    value = _plain(value)
    return value if isinstance(value, str | int | float) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def store(run: RunDirectory, cells: Sequence[Complete], command: str) -> dict[str, bool]:
    """Write cells into a run; what it holds already is left as it is.

    Args:
        run: Made if it is not there.
        cells: From `complete`.
        command: For the manifest.

    Returns:
        Key -> whether the cell is new.

    Raises:
        UserError: Two results are of the same model and task, or the run cannot be written.
    """
    known = run.manifest().cells if (run.path / "manifest.json").is_file() else {}
    keys = {cell: key for key, cell in known.items()}
    for one in cells:
        result = one.result
        if keys.setdefault(result.cell, result.key) != result.key:
            raise UserError(
                f"there are two results of {result.cell.model} on {result.cell.task}",
                where=str(run.path),
                todo="import one of them into another --out",
            )
    new = {one.result.key: one.result.key not in known or run.journal(one.result.key).result() is None for one in cells}
    if any(new.values()):
        dates = [one.date for one in cells if one.date]
        session = Session(
            id=f"import-{sha256_hex(canonical_json(sorted(new)))[:16]}",
            started=min(dates) if dates else datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            environment={"packages": {one.result.model_card.source: one.result.model_card.revision for one in cells}},
        )
        run.begin(session)
        for one in cells:
            _write(run, one)
    return new


def _write(run: RunDirectory, cell: Complete) -> None:
    cell.task.keep(run, cell.result.samples_digest)
    journal = run.claim(cell.result.key, cell.result.cell)
    journal.acquire(wait=True)
    try:
        if journal.result() is None:
            if not journal.resume(len(cell.records), len(cell.records)):
                journal.append(cell.records)
            journal.finish(cell.result.model_copy(update={"records_sha256": journal.digest()}), None)
    finally:
        journal.release()
