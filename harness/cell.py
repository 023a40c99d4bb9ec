"""One cell at work: from its planned model and task to its records and result."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from . import hooks
from .abilities import Aggregating, Episodes, HasEpisodes, HasNotes, NamesClasses, PromptsClasses
from .answering import (
    Aligning,
    Answering,
    Embedding,
    Encoder,
    Generation,
    Likelihoods,
    MaskFilling,
    Replay,
    asked_for,
    blocks_of,
)
from .batching import Batches
from .contracts import Record
from .costs import Costs, Counted, answered_flops, uncounted
from .errors import UserError
from .faults import blamed_on
from .hashing import canonical_json, sha256_hex
from .identity import BoundModel, cell_key
from .measure.timing import CpuClock, Passes
from .prefill_cost import PrefillCost
from .progress import describe
from .results import CellResult
from .spending import language_model, spending
from .store import AnswerStore
from .summary import Summary, checked_scores, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from .contracts import Scores
    from .planning import PlannedCell
    from .results import Timing
    from .workspace import Workspace


class CellWork:
    """One cell at work.

    Args:
        space: What it shares with the other cells.
        cell: What to do.
    """

    def __init__(self, space: Workspace, cell: PlannedCell) -> None:
        self.space, self.cell = space, cell
        self.card = cell.task.card
        self.settings = space.run.settings
        with self._of_task():
            self.chosen, scoring = space.chosen(cell), space.scoring(cell)
        with self.of_model():
            self.bound = BoundModel.of(cell, self.settings)
            self.model_key = space.model_key(self.bound)
        samples = (self.chosen.digest, scoring, self.chosen.partial or "")
        self.key = cell_key(cell, self.model_key, samples, self.settings)
        self.journal, self._unended = space.claim(self.key, cell.id)
        self._passes = Passes() if space.run.timing else None

    @property
    def complete(self) -> bool:
        """Whether there is a result."""
        return self.journal.result() is not None

    @property
    def left(self) -> int:
        """Samples that are not recorded."""
        return 0 if self.reused else len(self.chosen.samples) - len(self._done)

    def begin(self) -> None:
        """Find out what is left to do; nothing, if there is a result."""
        self.reused = self.complete
        if self.reused:
            self.journal.check()
            return
        space, samples = self.space, len(self.chosen.samples)
        space.set_threads()
        self._batches = Batches(self.settings.batch_size, str(self.cell.model.spec))
        self._unrecorded = AnswerStore(self.journal.folder / "answers.jsonl")
        self._answers = self._answering(self._batches)
        self._done = self._resume(self._answers.chunk)
        self._resumed, self._asking = len(self._done), 0.0  # seconds
        if self._unended and self.cell.id not in space.directory.failures():
            space.progress.note(
                f"{describe(self.cell.id)} began before and never ended ({self._resumed} of {samples} samples are "
                "recorded): its process was stopped, or its own code ended it"
            )
        space.plugins.fire("cell_started", hooks.CellStarted(cell=self.cell.id, samples=samples, done=len(self._done)))
        space.progress.start(self.cell.id, samples, len(self._done))
        self._attach_manifest()
        self._costs, self._counted = self._count()

    def step(self, *, alone: bool) -> None:
        """Do one chunk.

        Args:
            alone: Whether no other cell is at work in between.
        """
        space, done = self.space, len(self._done)
        if not alone:
            space.progress.turn(self.cell.id, len(self.chosen.samples), done)
        written = self._records(slice(done, done + self._answers.chunk))
        if done == self._resumed:  # the model is loaded now
            space.note_kernels(self.key)
        self.journal.append(written)
        self._unrecorded.clear()
        self._done += written
        space.progress.recorded(len(self._done))
        if space.plugins.listens("record_written"):
            for record in written:
                space.plugins.fire("record_written", hooks.RecordWritten(cell=self.cell.id, record=record))

    def end(self) -> CellResult:
        """Store the result, and return it."""
        result = self.journal.result()
        if result is None:
            result = self._result()
            self.journal.finish(result, *self._times())
        timing = self.journal.timing()
        self.space.progress.finish(result, timing, self.reused)
        event = hooks.CellFinished(
            path=self.space.directory.path, cell=self.cell.id, result=result, timing=timing, reused=self.reused
        )
        self.space.plugins.fire("cell_finished", event)
        return result

    def _answering(self, batches: Batches) -> Answering:
        task = self.chosen.task
        if self.cell.model.card.replays:
            return Replay(self._model, task, self.chosen.samples)
        if self.card.capability == "generate":
            return Generation(self._model, task, batches, self._unrecorded)
        if self.card.capability == "language":
            return Likelihoods(self._model, task, batches, self._unrecorded)
        if self.card.capability == "masked":
            return MaskFilling(self._model, task, batches)
        with self._of_task():
            blocks = blocks_of(self.chosen.positions, self.chosen.samples, batches.size)
        features, told = self.space.directory.features(self._encoder()), self.space.progress.answered
        kind = Aligning if self.card.capability == "dual" else Embedding
        return kind(Encoder(self._asked, batches, features, self._passes), task, blocks, told)

    def _resume(self, chunk: int) -> list[Record]:
        samples = self.chosen.samples
        done = self.journal.resume(chunk, len(samples))
        if [record.sample for record in done] != [sample.id for sample in samples[: len(done)]]:
            raise UserError(
                "the records are not those of this cell's first samples",
                where=str(self.journal.path),
                todo=f"move the folder {self.journal.folder.name} away and run the same command again",
            )
        return done

    def _attach_manifest(self) -> None:
        """Keep the episodes that a task draws, if it says what they are."""
        task = self.chosen.task
        if isinstance(task, HasEpisodes) and isinstance(task.manifest, Episodes):
            self.space.directory.attach(f"episodes/{task.manifest.digest[:32]}.json", task.manifest.write)

    def _count(self) -> tuple[Costs | None, Counted]:
        """FLOPs of the cell's first input; those of a `Prefilling` model come with its answers."""
        if self.cell.model.card.replays:
            return None, Counted(None, "not counted: the answers were given elsewhere", None)
        if self.card.capability == "dual":  # what runs for an image may depend on the classes
            costs = Costs(self._asked, self.settings.waive)
        else:
            costs = self.space.costs(self.bound, self.model_key)
        with self.of_model():
            return costs, costs.count(self.chosen.inputs(1), self.card.capability)

    def _times(self) -> tuple[Timing | None, Timing | None]:
        """What the cell's first batch takes: in the part of the model that is timed, and from end to end."""
        if self._costs is None or not self.space.run.timing:
            return None, None
        with self.of_model():
            inputs, kind = self.chosen.inputs(self._batches.fitting), self.card.capability
            return self._costs.times(inputs, kind, self._asking, self._passes)

    def _records(self, rows: slice) -> list[Record]:
        task, samples = self.chosen.task, self.chosen.samples[rows]
        flops_per_input = self._counted.flops.value if self._counted.flops else None
        with self.of_model():
            self._asking += CpuClock().time(functools.partial(self._answers.ask, samples))
        records = []
        with self._of_task():
            outcomes = self._answers.outcomes(samples)
            for sample, content, (output, costs, fault) in zip(
                samples, self.chosen.contents[rows], outcomes, strict=True
            ):
                parsed = None if fault else task.parse(sample, output)
                scores = None if fault else checked_scores(self.card, sample.id, task.score(sample, parsed))
                if flops_per_input is not None:
                    costs = (PrefillCost(flops=flops_per_input * len(sample.inputs)),)  # noqa: PLW2901 - counted
                records.append(Record(sample.id, content, output, parsed, scores, costs, sample.group, fault))
        return records

    def _result(self) -> CellResult:
        chosen, records, counted = self.chosen, self._done, self._counted
        model = None if self.cell.model.card.replays else self._model()
        aggregate = chosen.task.aggregate if isinstance(chosen.task, Aggregating) else None
        flops = counted.flops or answered_flops(counted.convention, chosen.samples, records)
        language = None if counted.convention is None else language_model(model)
        return CellResult(
            key=self.key,
            cell=self.cell.id,
            model_card=self.cell.model.card,
            method_cards=self.cell.model.method_cards,
            task_card=self.card,
            samples_digest=self.chosen.digest,
            partial=self.chosen.partial,
            spending=spending(records, self.cell.id.budget, language, self.card.sample_noun),
            language=language,
            flops=flops,
            flops_missing=uncounted(counted, self._model) if flops is None else "",
            parameters=counted.parameters,
            notes=tuple(note for told in (model, chosen.task) if isinstance(told, HasNotes) for note in told.notes),
            settings=self.settings.answering(),
            records_sha256=self.journal.digest(),
            **self._summary(aggregate),
        )

    def _summary(self, aggregate: Callable[[Scores], Mapping[str, float]] | None) -> Summary:
        with self._of_task():
            return summarise(self.card, self.chosen.samples, self._done, aggregate)

    def _model(self) -> Any:
        return self.space.models.get(self.bound, self.model_key)

    def _asked(self) -> Any:
        return asked_for(self._model(), self.chosen.task)

    def _encoder(self) -> str:
        """Key of what embeds the inputs: of the model, and of the classes if its prompts are its own."""
        task = self.chosen.task
        if self.card.capability != "dual" or not isinstance(task, NamesClasses):
            return self.model_key
        with self.of_model():
            if not isinstance(self._model(), PromptsClasses):
                return self.model_key
        return sha256_hex(self.model_key.encode(), canonical_json(list(task.class_names)))

    def of_model(self) -> AbstractContextManager[None]:
        """Blame the model for what fails within."""
        return blamed_on(f"model {self.cell.model.spec}", describe(self.cell.id))

    def _of_task(self) -> AbstractContextManager[None]:
        return blamed_on(f"task {self.cell.task.step.call}", describe(self.cell.id))
