"""What figures may build again of a run's cells: the task, a question, and what the model attends to and keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from .errors import UserError
from .faults import blamed_on
from .identity import BoundModel, Settings, cell_key, task_fingerprint
from .imported_task import ImportedTask
from .planned_models import takes_budget
from .planning import Request, plan, plan_tasks
from .samples import sample_digests, samples_digest
from .specs import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from .contracts import FloatArray, Prompt, Record, Sample, Task
    from .planned_models import Step
    from .planning import PlannedCell
    from .registry import Registry
    from .results import CellId, CellResult
    from .store import StoredCell

    BoolArray: TypeAlias = npt.NDArray[np.bool_]


_AS_IT_WAS = "use the data and the version that the run was made with, or run it again"


@dataclass(frozen=True, slots=True)
class AttentionMaps:
    """What one token attends to in an image, block by block.

    Attributes:
        image: As the model's vision tower is shown it.
        blocks: Indices of the decoder's blocks.
        maps: float32 [len(blocks), rows, columns]: the token's attention to each patch, a mean over heads; NaN where
            the patch had been dropped.
        token: Which token it is.
        split: The first block that a method acts on, ``None`` if none does.
    """

    image: Image
    blocks: tuple[int, ...]
    maps: FloatArray
    token: str
    split: int | None = None


@runtime_checkable
class Attentive(Protocol):
    """A model that can tell what the last token of a prompt attends to. Optional."""

    def attention(self, prompt: Prompt) -> AttentionMaps:
        """Return the attention of one prefill."""
        ...


class Stage(NamedTuple):
    """The visual tokens that blocks of a decoder are given.

    Attributes:
        block: The first of these blocks.
        kept: bool [rows, columns]: of the image's tokens, those that are left.
        other: Tokens beside them, merged of several or added.
    """

    block: int
    kept: BoolArray
    other: int


@dataclass(frozen=True, slots=True)
class KeptTokens:
    """What is left of an image's tokens, stage by stage.

    Attributes:
        image: As the grid of its tokens lies over it.
        stages: The first one is what enters the decoder; each other one has fewer tokens than the one before.
    """

    image: Image
    stages: tuple[Stage, ...]


@runtime_checkable
class TellsKept(Protocol):
    """A model that can tell which tokens of an image it keeps. Optional."""

    def kept(self, prompt: Prompt) -> KeptTokens:
        """Return what is left in one prefill."""
        ...


def planned(registry: Registry, cell: CellId) -> PlannedCell:
    """Look a cell of a run up again.

    Raises:
        UserError: One of its names is not registered here: it was a Python object, or of a plugin that is not loaded.
    """
    spec = parse(cell.model)
    text = str(spec.with_budget(cell.budget) if takes_budget(registry, spec) else spec)
    (found,) = plan(registry, Request((text,), (cell.task,), seeds=(cell.seed,))).cells
    return found


def load_question(cell: PlannedCell, result: CellResult, record: Record) -> tuple[Task, Sample]:
    """Build the task of a cell again, and find in it what a record is the answer to.

    Raises:
        UserError: The task does not ask for texts, has no such sample, or its data is not what it was in the run.
    """
    name = str(cell.id.task)
    if cell.task.card.capability != "generate":
        raise UserError(f"task {name} asks no questions", todo="give --task")
    task = _built(cell.task.step, cell.id)
    sample = next((one for one in task.samples if one.id == record.sample), None)
    if sample is None:
        raise UserError(f"task {name} asks no question {record.sample!r}", where=cell.id.model, todo=_AS_IT_WAS)
    same = sample_digests(task, [sample]) == [record.input]
    if not same or (result.partial is None and not _asks(task, task.samples, result)):
        raise UserError(f"the samples of task {name} are not those of the run", where=record.sample, todo=_AS_IT_WAS)
    return task, sample


def is_as_it_was(cell: PlannedCell, task: Task, result: CellResult) -> bool:
    """Whether model, task, settings and code are known to be those of the run; weights are hashed for it."""
    settings = Settings(int(result.settings["batch_size"]), str(result.settings["device"]))
    with blamed_on(f"model {cell.model.spec}", str(cell.id.task)):
        model = BoundModel.of(cell, settings).key(settings, "")
    samples = (result.samples_digest, task_fingerprint(cell.task, task) or "", result.partial or "")
    return cell_key(cell, model, samples, settings) == result.key


def load_task(registry: Registry, cell: CellId) -> Task:
    """Build the task of a cell again; its model need not be known here.

    Raises:
        UserError: It is not registered, or cannot be built.
    """
    (planned,) = plan_tasks(registry, Request((), (cell.task,)))
    return _built(planned.step, cell)


def load_task_of(registry: Registry, cell: StoredCell) -> Task:
    """Return the task of a stored cell: what was imported with it, or the task, built again.

    Raises:
        UserError: It is not registered, or cannot be built.
    """
    return ImportedTask.of(cell.run, cell.result) or load_task(registry, cell.result.cell)


def load_same_task(registry: Registry, cell: StoredCell) -> Task:
    """The same, if its samples are those of the run.

    Raises:
        UserError: It is not registered, cannot be built, or its samples are others now.
    """
    task, known, result = load_task_of(registry, cell), set(cell.scores.samples), cell.result
    with blamed_on(f"task {result.cell.task}", result.cell.model):
        same = _asks(task, [sample for sample in task.samples if sample.id in known], result)
    if not same:
        what = f"the samples of task {result.cell.task} are not those of the run"
        raise UserError(what, where=result.cell.model, todo=_AS_IT_WAS)
    return task


def _asks(task: Task, samples: Sequence[Sample], result: CellResult) -> bool:
    """Whether these samples are, to the last image and target, those of a result."""
    return samples_digest(samples, sample_digests(task, samples)) == result.samples_digest


def _built(step: Step, cell: CellId) -> Task:
    with blamed_on(f"task {step.call}", str(cell.task)):
        task: Task = step.entry.factory()(**step.entry.bind(step.call, seed=cell.seed))
    return task


def load_model(cell: PlannedCell) -> Any:
    """Build the model of a cell; this is where weights are read."""
    with blamed_on(f"model {cell.model.spec}", str(cell.id.task)):
        return BoundModel.of(cell, Settings()).load()
