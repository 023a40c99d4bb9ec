"""From specs to a selection: the tasks of sources as candidates, their embeddings, and the chosen ones as a task list.

Each image is encoded once, in blocks that are kept below the folder, so a stopped command goes on where it was.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from .abilities import FewShotTask
from .answering import Encoder
from .batching import Batches
from .errors import UserError
from .faults import blamed_on
from .hashing import sha256_hex
from .identity import BoundModel, Settings
from .measure import hardware
from .planned_models import plan_model
from .planning import Request, plan_tasks
from .selection import Options, select
from .specs import Call, parse
from .store import FeatureStore
from .store.files import disk_errors, make_folder, write_atomic
from .task_list import ListedTask, Source, TaskList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from .contracts import FloatArray, Input
    from .planned_models import PlannedModel
    from .registry import Registry
    from .selection import Selection

    IntArray: TypeAlias = npt.NDArray[np.int64]

Level: TypeAlias = Literal["task", "dataset"]
"""What a candidate is: each episode of a source, or the source with all its episodes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a selection is asked for.

    Attributes:
        targets: Task specs; the images of all of them together are the target.
        candidates: Task specs.
        encoder: Model spec.
        seed: Of what the sources draw.
    """

    targets: tuple[str, ...]
    candidates: tuple[str, ...]
    encoder: str
    level: Level = "task"
    options: Options = field(default_factory=Options)
    settings: Settings = field(default_factory=Settings)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise UserError(f"unknown level {self.level!r}", where="--level", todo="choose from task, dataset")
        for option, specs in (("--target", self.targets), ("--candidates", self.candidates)):
            if not specs:
                raise UserError(f"there is no {option[2:]}", where=option, todo="name a few-shot task: glyphs(ways=5)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Tasks that are selected together.

    Attributes:
        source: Position of its source among those asked for.
        episodes: Of that source.
        rows: Its images, as positions in the embeddings.
    """

    name: str
    source: int
    episodes: tuple[int, ...]
    rows: IntArray


@dataclass(frozen=True, slots=True)
class Selected:
    """A selection with what its positions stand for.

    Attributes:
        pool: The candidates that took part, in the order of the sources.
        left_out: How many show an image of the target, and took no part.
        images: How many distinct images were encoded.
        target_images: How many of them are the target's.
        tasks: What was chosen.
    """

    asked: Asked
    pool: tuple[Candidate, ...]
    left_out: int
    images: int
    target_images: int
    result: Selection
    tasks: TaskList
    digests: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Everything that was computed, candidates in the order of their similarity."""
        result, asked = self.result, self.asked
        chosen = set(result.chosen.tolist())
        rows = []
        for place, position in enumerate(result.order.tolist()):
            candidate = self.pool[position]
            row = {
                "name": candidate.name,
                "source": candidate.source,
                "episodes": list(candidate.episodes),
                "samples": int(result.samples[place]),
                "similarity": float(result.similarities[place]),
                "coverage": float(result.coverages[place]),
                "condition": float(result.conditions[place]),
                "chosen": position in chosen,
            }
            if result.plain is not None:
                value = float(result.plain.values[place])
                row |= {"plain": value if np.isfinite(value) else None, "plain_fault": result.plain.faults[place]}
            rows.append(row)
        return {
            "format": "adaptbench-selection/1",
            "targets": list(asked.targets),
            "candidates": list(asked.candidates),
            "encoder": asked.encoder,
            "level": asked.level,
            "seed": asked.seed,
            "options": asdict(asked.options),
            "settings": asked.settings.answering(),
            "images": self.images,
            "target_images": self.target_images,
            "left_out": self.left_out,
            "axes": result.axes,
            "variance_kept": result.kept,
            "stop": result.stop,
            "reason": result.reason,
            "digests": {**self.digests, "tasks": self.tasks.digest},
            "order": rows,
        }

    def write(self, out: Path) -> None:
        """Write ``selection.json`` and ``tasks.json``."""
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
        self.tasks.write(out / "tasks.json")
        write_atomic(out / "selection.json", f"{text}\n".encode())


def select_tasks(registry: Registry, asked: Asked, out: Path, progress: Callable[[int, int], None]) -> Selected:
    """Select tasks.

    Args:
        registry: Where names are looked up.
        asked: What is asked for.
        out: Folder in which embeddings are kept.
        progress: Told (images encoded, images to encode).

    Raises:
        UserError: A spec is wrong, the device is not here, tasks are not few-shot tasks of one shape, or nothing can
            be selected.
    """
    hardware.check_device(asked.settings.device)
    model = plan_model(registry, parse(asked.encoder)).seeded(asked.seed)
    if "embed" not in model.card.capabilities:
        raise UserError("it does not embed images", where=f"model {model.spec}", todo="`adaptbench list models`")
    targets = _built(registry, asked.targets, asked.seed, "--target")
    sources = _built(registry, asked.candidates, asked.seed, "--candidates")
    images: dict[str, Input] = {}
    rows = [_rows(source.task, images) for source in (*targets, *sources)]
    goal = np.unique(np.concatenate([_shown(s, own) for s, own in zip(targets, rows, strict=False)]))
    offered = list(_candidates(sources, rows[len(targets) :], asked.level))
    pool = tuple(one for one in offered if not np.isin(one.rows, goal).any())
    if not pool:
        raise UserError("every candidate shows images of the target", where="--candidates", todo="name other sources")
    needed = np.unique(np.concatenate([goal, *(one.rows for one in pool)]))
    everything = list(images.values())
    with _encoded(model, asked, [everything[row] for row in needed.tolist()], out, progress) as vectors:
        places = [np.searchsorted(needed, one.rows) for one in pool]
        result = select(
            vectors[np.searchsorted(needed, goal)], _Pool(vectors, places), asked.options, [one.name for one in pool]
        )
    return Selected(
        asked=asked,
        pool=pool,
        left_out=len(offered) - len(pool),
        images=len(needed),
        target_images=len(goal),
        result=result,
        tasks=_task_list([pool[position] for position in result.chosen.tolist()], sources),
        digests={
            "target": _digest(everything[row] for row in goal.tolist()),
            "images": _digest(everything[row] for row in needed.tolist()),
        },
    )


@dataclass(frozen=True, slots=True)
class _Built:
    """A source that was built.

    Attributes:
        call: Its spec, with the seed that it drew with.
    """

    call: Call
    task: FewShotTask


def _built(registry: Registry, specs: Sequence[str], seed: int, option: str) -> list[_Built]:
    """Build the few-shot tasks that specs name."""
    found = []
    for planned in plan_tasks(registry, Request((), specs)):
        step = planned.step
        arguments = step.entry.bind(step.call, seed=seed)
        seeded = {"seed": arguments["seed"]} if "seed" in arguments else {}
        with blamed_on(f"task {step.call}", f"{option} {step.call}"):
            task = step.entry.factory()(**arguments)
            if not isinstance(task, FewShotTask):
                raise UserError("it is not a few-shot task", todo="name one, such as glyphs(ways=5)")
        found.append(_Built(replace(step.call, args=tuple({**dict(step.call.args), **seeded}.items())), task))
    twice = [one.call for place, one in enumerate(found) if one.call in [other.call for other in found[:place]]]
    if twice:
        raise UserError(f"{twice[0]} is named twice", where=option, todo="name it once")
    return found


def _rows(task: FewShotTask, images: dict[str, Input]) -> IntArray:
    """Add a task's images to those known, by content; return the position of each of its inputs among them."""
    place = {digest: position for position, digest in enumerate(images)}
    for image in task.inputs:
        if image.digest not in place:
            place[image.digest] = len(images)
            images[image.digest] = image
    return np.array([place[image.digest] for image in task.inputs], dtype=np.int64)


def _shown(source: _Built, rows: IntArray, episode: int | None = None) -> IntArray:
    """Return the images of an episode, or each of those of all episodes once."""
    chosen = slice(None) if episode is None else episode
    used = (source.task.manifest.support[chosen], source.task.manifest.query[chosen])
    shown = rows[np.concatenate([positions.ravel() for positions in used])]
    return np.unique(shown) if episode is None else shown


def _candidates(sources: Sequence[_Built], rows: Sequence[IntArray], level: Level) -> Iterator[Candidate]:
    """Cut sources into candidates.

    Raises:
        UserError: Their tasks have different shapes, so that no list could hold them.
    """
    shapes = [(s.task.manifest.support.shape[1:], s.task.manifest.query.shape[1:]) for s in sources]
    for number, (source, own) in enumerate(zip(sources, rows, strict=True)):
        if shapes[number] != shapes[0]:
            raise UserError(
                "its tasks have other ways, shots or queries than those of the first one",
                where=f"--candidates {source.call}",
                todo="give all candidates the same",
            )
        episodes = tuple(range(len(source.task.manifest.support)))
        if level == "dataset":
            yield Candidate(str(source.call), number, episodes, _shown(source, own))
            continue
        for episode in episodes:
            yield Candidate(f"{source.call} episode-{episode:05d}", number, (episode,), _shown(source, own, episode))


class _Pool:
    """The embeddings of each candidate, gathered when they are asked for."""

    def __init__(self, vectors: FloatArray, places: Sequence[IntArray]) -> None:
        self._vectors, self._places = vectors, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, candidate: int) -> FloatArray:
        gathered: FloatArray = self._vectors[self._places[candidate]]
        return gathered


@contextmanager
def _encoded(
    model: PlannedModel, asked: Asked, images: Sequence[Input], out: Path, progress: Callable[[int, int], None]
) -> Iterator[FloatArray]:
    """Embed images, and hold the vectors, float32 [n, d], in a file for as long as they are needed."""
    loaded: list[Any] = []
    with blamed_on(f"model {model.spec}", "select"):
        bound = BoundModel(model, model.bind(seed=asked.seed, device=asked.settings.device))
        store = FeatureStore(make_folder(out) / "features", bound.key(asked.settings, hardware.session_id()))

    def build() -> Any:
        if not loaded:
            loaded.append(bound.load())
        return loaded[0]

    batches = Batches(asked.settings.batch_size, str(model.spec))
    encoder = Encoder(build, batches, store)
    with disk_errors(out), tempfile.TemporaryFile(dir=out) as file:
        vectors: Any = None
        for start in range(0, len(images), batches.size):
            with blamed_on(f"model {model.spec}", "select"):
                block = encoder.images(images[start : start + batches.size])
            if vectors is None:
                vectors = np.memmap(file, dtype=np.float32, mode="w+", shape=(len(images), block.shape[1]))
            vectors[start : start + len(block)] = block
            progress(start + len(block), len(images))
        yield vectors


def _task_list(chosen: Sequence[Candidate], sources: Sequence[_Built]) -> TaskList:
    """List the tasks of candidates, with the images that they use."""
    episodes: dict[int, list[int]] = {}
    for candidate in chosen:
        episodes.setdefault(candidate.source, []).extend(candidate.episodes)
    listed, used = [], {}
    for number, own in episodes.items():
        task, call = sources[number].task, sources[number].call
        parts = (task.manifest.support[own].ravel(), task.manifest.query[own].ravel())
        used[number] = np.unique(np.concatenate(parts))
        names = task.input_classes
        images = tuple((names[position], task.inputs[position].digest) for position in used[number].tolist())
        listed.append(Source(spec=str(call), images=images))
    tasks = []
    for candidate in chosen:
        manifest, place = sources[candidate.source].task.manifest, list(used).index(candidate.source)
        for episode in candidate.episodes:
            support, query = (
                np.searchsorted(used[candidate.source], part[episode]).tolist()
                for part in (manifest.support, manifest.query)
            )
            tasks.append(ListedTask(source=place, support=support, query=query))
    return TaskList(sources=tuple(listed), tasks=tuple(tasks))


def _digest(images: Iterator[Input]) -> str:
    return sha256_hex(*(image.digest.encode() for image in images))
