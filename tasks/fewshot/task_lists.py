"""Task lists as a task: episodes that were chosen elsewhere, whose images come from several sources.

Two formats are read. What ``adaptbench select`` writes (see `harness.task_list`) names each image by its source, class
and content, and the sources are built again. The list of candidate tasks that was released with the dissertation is
``[{"source": text, "task_seed": int, "indices": [[class id, "image id"], ...]}, ...]``: runs of ten images, each run of
one class, of which the first image is the support.
"""

from __future__ import annotations

import json
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.abilities import FewShotTask
from ...harness.errors import UserError
from ...harness.faults import blamed_on
from ...harness.planning import Request, plan_tasks
from ...harness.plugins import load_plugins
from ...harness.task_list import ListedTask, Source, TaskList
from ..decoding import SUFFIXES, file_input
from .episodes import Manifest, data_digest
from .folders import folder, listing
from .images import ImageSet
from .task import FewShot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.contracts import Input
    from ...harness.planning import PlannedTask
    from ...harness.specs import Call
    from .centroid import Centroid

_READING: ContextVar[frozenset[Path]] = ContextVar("_READING", default=frozenset())
"""Lists that are being read: a source of a list may be a list."""
_RUN = 10
"""Images of a class in a task of the released list."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A task with its images: those of class i are ``images[i]``, the support first."""

    name: str
    shots: int
    classes: Sequence[str]
    images: Sequence[Sequence[Input]]


def task_list(path: str, *, root: str = "", source: str = "", centroid: Centroid = "mean") -> FewShot:
    """Read few-shot tasks of a list.

    Args:
        path: The JSON file: what ``adaptbench select`` wrote, or the released list of candidate tasks.
        root: Of a released list: the folder of the images, ``ROOT/<source>/<class id>/<image id>``; default the folder
            of the file.
        source: Only the tasks of this source, as the file calls it.
        centroid: See `predict`.

    Raises:
        UserError: The file is malformed, a source is not what it was, or an image is missing.
    """
    file = Path(path).expanduser()
    if file.resolve() in _READING.get():
        raise UserError("it is a source of itself", where=path, todo="restore the file")
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read it: {error.strerror}", where=path, todo="name a task list") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=path, todo="restore the file") from error
    if isinstance(content, dict):
        if root:
            raise UserError("it names its sources itself", where=path, todo="leave root out")
        token = _READING.set(_READING.get() | {file.resolve()})
        try:
            tasks = _selected(TaskList.of(content, path), source, path)
        finally:
            _READING.reset(token)
    elif isinstance(content, list):
        tasks = _released(content, source, Path(root).expanduser() if root else file.parent, path)
    else:
        raise UserError("it is not a list of tasks", where=path, todo="name a task list")
    if not tasks:
        raise UserError(f"no task in it is of {source!r}" if source else "it has no tasks", where=path)
    return _few_shot(tasks, f"task-list/{file.stem}", path, centroid)


def _few_shot(tasks: Sequence[_Task], name: str, where: str, centroid: Centroid) -> FewShot:
    """Put the images of all tasks into one set, and the tasks as episodes over it."""
    found: dict[str, tuple[str, Input]] = {}
    for task in tasks:
        _check(task, tasks[0], where)
        for title, images in zip(task.classes, task.images, strict=True):
            for image in images:
                known, _ = found.setdefault(image.digest, (title, image))
                if known != title:
                    raise UserError(
                        f"{task.name}: an image of {title!r} is also one of {known!r}", where=where, todo="keep one"
                    )
    order = sorted(found, key=lambda digest: (found[digest][0], digest))
    position = {digest: place for place, digest in enumerate(order)}
    titles = sorted({title for title, _ in found.values()})
    labels = np.searchsorted(titles, [found[digest][0] for digest in order]).astype(np.int64)
    whole = ImageSet(name, tuple(titles), labels, [found[digest][1] for digest in order])
    used = np.array([[[position[image.digest] for image in row] for row in task.images] for task in tasks])
    shots = tasks[0].shots
    manifest = Manifest(used[:, :, :shots], used[:, :, shots:], data_digest(order, labels), name, 0, path=where)
    return FewShot(whole, manifest=manifest, centroid=centroid)


def _check(task: _Task, first: _Task, where: str) -> None:
    """Refuse a task whose shape is not that of the first one, or that has a class or an image twice."""
    shape, usual = ([len(one.images), one.shots, *map(len, one.images)] for one in (task, first))
    if shape != usual or len(set(shape[2:])) != 1 or shape[0] < 2 or not 0 < shape[1] < shape[2]:
        raise UserError(
            f"{task.name}: it has not the ways, shots and queries of the first task, or too few of them",
            where=where,
            todo="give all tasks one shape",
        )
    twice = [title for title, count in Counter(task.classes).items() if count > 1]
    digests = [image.digest for images in task.images for image in images]
    if twice or len(set(digests)) < len(digests):
        what = f"the class {twice[0]!r} appears twice" if twice else "an image appears twice"
        raise UserError(f"{task.name}: {what}", where=where, todo="restore the file")


def _selected(content: TaskList, source: str, where: str) -> list[_Task]:
    """The tasks of a list that names its sources by specs."""
    numbers = {task.source for task in content.tasks}
    if numbers and max(numbers) >= len(content.sources):
        raise UserError(f"it has no source {max(numbers)}", where=where, todo="restore the file")
    chosen = {number for number in numbers if source in ("", content.sources[number].spec)}
    planned = plan_tasks(load_plugins().registry, Request((), [one.spec for one in content.sources]))
    homes = _homes([one.step.call for one in planned])
    images = {number: _rebuilt(content.sources[number], planned[number], where) for number in sorted(chosen)}
    return [
        _listed(f"task {place}", task, content.sources[task.source], images[task.source], homes[task.source])
        for place, task in enumerate(content.tasks)
        if task.source in chosen
    ]


def _listed(name: str, task: ListedTask, source: Source, images: Sequence[Input], home: str) -> _Task:
    """A task of a list, from the images of its source."""
    rows = [(*support, *query) for support, query in zip(task.support, task.query, strict=False)]
    known = all(one < len(images) for row in rows for one in row)
    if not (rows and known and len(task.support) == len(task.query) and len(set(map(len, task.support))) == 1):
        raise UserError("its source does not list all its images", where=name, todo="restore the file")
    if any(len({source.images[one][0] for one in row}) != 1 for row in rows):
        raise UserError("a class of it is mixed", where=name, todo="restore the file")
    titles = [f"{home}/{source.images[row[0]][0]}" for row in rows]
    return _Task(name, len(task.support[0]), titles, [[images[one] for one in row] for row in rows])


def _homes(calls: Sequence[Call]) -> list[str]:
    """What classes are called after: a number that sources of one data set share, whatever they draw of it."""
    first: dict[tuple[str, str | None], int] = {}
    return [f"{first.setdefault((call.name, call.target), place)}-{call.name}" for place, call in enumerate(calls)]


def _rebuilt(source: Source, planned: PlannedTask, where: str) -> list[Input]:
    """Build a source, and return the images that a list has of it.

    Raises:
        UserError: It cannot be built, or an image is not there any more, or of another class.
    """
    step = planned.step
    with blamed_on(f"task {source.spec}", where):
        built = step.entry.factory()(**step.entry.bind(step.call, seed=0))
    if not isinstance(built, FewShotTask):
        raise UserError(f"{source.spec} is not a few-shot task", where=where, todo="restore the file")
    known = {image.digest: (title, image) for title, image in zip(built.input_classes, built.inputs, strict=True)}
    images = []
    for title, digest in source.images:
        there, image = known.get(digest, ("", None))
        if image is None or there != title:
            raise UserError(
                f"the source {source.spec} changed: an image of {title!r} is not there any more",
                where=where,
                todo="restore its images, or select again",
            )
        images.append(image)
    return images


def _released(content: Sequence[Any], source: str, root: Path, where: str) -> list[_Task]:
    """The tasks of a released list."""
    folder(root, "write root=FOLDER, where the images lie")
    files: dict[str, dict[str, list[str]]] = {}
    inputs: dict[str, Input] = {}
    tasks = []
    for place, entry in enumerate(content):
        name = f"entry {place}"
        own = _entry(entry, name, where)
        if source not in ("", entry["source"]):
            continue
        titles = [f"{entry['source']}/{rows[0][0]}" for rows in own]
        paths = [
            [_image(root / title, image, files, name, where) for _, image in rows]
            for title, rows in zip(titles, own, strict=True)
        ]
        for path in (path for row in paths for path in row):
            if path not in inputs:
                inputs[path] = file_input(path)
        tasks.append(_Task(name, 1, titles, [[inputs[path] for path in row] for row in paths]))
    return tasks


def _entry(entry: Any, name: str, where: str) -> list[list[tuple[str, str]]]:
    """Return (class id, image id) of an entry's images, by class.

    Raises:
        UserError: It is malformed.
    """

    def malformed(why: str) -> UserError:
        form = '{"source": text, "task_seed": int, "indices": [[class id, "image id"], ...]}'
        return UserError(f"{name}: {why}", where=where, todo=f"write {form}, ten images of each class")

    if not isinstance(entry, dict) or not isinstance(entry.get("source"), str):
        raise malformed("it has no source")
    if type(entry.get("task_seed")) is not int:
        raise malformed("its task_seed is not a whole number")
    pairs = entry.get("indices")
    if not isinstance(pairs, list) or not pairs or len(pairs) % _RUN:
        raise malformed(f"its indices are not runs of {_RUN}")
    named = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) not in (int, str) or type(pair[1]) is not str:
            raise malformed(f"{json.dumps(pair)[:60]} is not [class id, image id]")
        named.append((str(pair[0]), pair[1]))
    for part in {entry["source"], *(part for pair in named for part in pair)}:
        if not part or PurePosixPath(part).is_absolute() or ".." in part.split("/") or "\0" in part:
            raise malformed(f"{part[:60]!r} cannot be a part of a path")
    runs = [named[start : start + _RUN] for start in range(0, len(named), _RUN)]
    mixed = [run for run in runs if len({title for title, _ in run}) > 1]
    if mixed:
        raise malformed(f"a run of {_RUN} mixes the classes {mixed[0][0][0]} and others")
    return runs


def _image(home: Path, image: str, files: dict[str, dict[str, list[str]]], name: str, where: str) -> str:
    """Return the file of an image: its name is the image's id, with the ending of an image or without."""
    if str(home) not in files:
        folder(home, f"{name} of {where} names it; write root=FOLDER, where the images lie")
        files[str(home)] = {}
        for path in listing(str(home))[0]:
            for key in {Path(path).name, Path(path).stem}:
                files[str(home)].setdefault(key, []).append(path)
    found = files[str(home)].get(image, [])
    if len(found) != 1:
        many = f"{len(found)} files are" if found else "no image is"
        endings = ", ".join(sorted(SUFFIXES))
        raise UserError(
            f"{name}: {many} called {image!r} in {home}", where=where, todo=f"have one, with one of {endings} or none"
        )
    return found[0]
