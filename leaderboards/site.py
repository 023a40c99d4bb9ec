"""The board as a site of static files: a first page, a page per task, and all samples in files of limited size.

It works from a disk as well as from a server. Pages that were opened from a disk may not fetch data, so samples are
scripts, each of which hands over a part; they are loaded when the reader comes to them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from ..harness.progress import SILENT
from .offline import encoded, policy, text
from .page import Frame, board_view, figure_views, html, samples_view, scripts, task_view
from .samples import Samples, index

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from PIL.Image import Image

    from ..harness.progress import Steps
    from ..harness.registry import Registry
    from .board import Board
    from .ranking import Section
    from .samples import Answered

_PART = 100_000
"""Characters of samples in a file, unless it is a single one."""
_LONGEST_NAME = 60


def site(board: Board, registry: Registry, progress: Steps = SILENT) -> Iterator[tuple[str, str | bytes]]:
    """Make the files: what pages need, the samples and the page of each task, and the first page."""
    from markupsafe import Markup

    sources = scripts()
    for name, source in sources.items():
        yield (
            f"assets/{name}.js",
            f"(() => {{ 'use strict'; {source}\n}})();\n",
        )  # a module would be refused from a disk
    yield "assets/board.css", text("board.css")
    frame = Frame(
        style=Markup('<link rel="stylesheet" href="assets/board.css">'),
        scripts=[Markup(f'<script defer src="assets/{name}.js"></script>') for name in sources],  # noqa: S704 - our own
        policy=policy(files=True, images=True),
        footer="This site asks for nothing but its own files.",
    )
    images = _Images()
    tasks: list[dict[str, Any]] = [
        {"href": f"{name}.html", "title": section.title, "name": name}
        for name, section in zip(_file_names(board.sections), board.sections, strict=True)
    ]
    for task, section in zip(tasks, progress.over(board.sections, "tasks"), strict=True):
        specs: dict[str, Any] = {}
        folder = f"samples/{task['name']}"
        view = task_view(section, "task", specs)
        view["samples"] = yield from _samples(Samples(section, registry, images.url), folder, images)
        task["lead"] = view["lead"]
        page = {"title": board.title, "tasks": tasks, "task": view, "href": task["href"]}
        stored = {"task": {"folder": folder}}
        yield task["href"], html("task_page.html.j2", frame, page=page, specs=specs, samples=stored)
    specs = {}
    figures = figure_views(board, registry, specs)
    page = board_view(board) | {"tasks": tasks, "figures": figures}
    yield "index.html", html("board.html.j2", frame, page=page, site=True, specs=specs, samples={})


class _Images:
    """The images of a site, each of them once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._new: list[tuple[str, bytes]] = []

    def url(self, image: Image) -> str:
        """Where an image is, as seen from the pages."""
        pixels = image.convert("RGB")
        digest = hashlib.sha256(f"{pixels.size}".encode() + pixels.tobytes()).hexdigest()[:24]
        if digest not in self._known:
            kind, content = encoded(pixels)
            self._known[digest] = f"images/{digest}.{kind}"
            self._new.append((self._known[digest], content))
        return self._known[digest]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """The files of the images that were not given before."""
        yield from self._new
        self._new.clear()


def _samples(
    samples: Samples, folder: str, images: _Images
) -> Generator[tuple[str, str | bytes], None, dict[str, Any]]:
    """The files of a task's samples; returns their view."""
    first: list[Answered] = []
    fates: list[str] = []
    differ: list[bool] = []
    starts: list[int] = []
    for number, part in enumerate(_parts(samples)):
        first = first or part
        starts.append(len(fates))
        fates += [answered.fates for answered in part]
        differ += [answered.differs for answered in part]
        yield f"{folder}/{number}.js", _script(str(number), [answered.item for answered in part])
        yield from images.files()
    yield f"{folder}/index.js", _script("index", index(samples.models, fates, differ) | {"starts": starts})
    return samples_view(samples, first, len(fates))


def _parts(samples: Samples) -> Iterator[list[Answered]]:
    """The samples in runs that are small enough for a file."""
    part: list[Answered] = []
    room = _PART
    for answered in samples:
        if part and answered.size > room:
            yield part
            part, room = [], _PART
        part.append(answered)
        room -= answered.size
    if part:
        yield part


def _script(name: str, value: object) -> str:
    """A script that hands over a value."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"samplesRead({json.dumps(name)},{content});\n"


def _file_names(sections: Sequence[Section]) -> list[str]:
    """A name for the files of each task, as like its own as a file's name may be."""
    found: dict[str, None] = {"index": None}
    for section in sections:
        plain = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")[:_LONGEST_NAME] or "task"
        number = next(n for n in itertools.count(1) if f"{plain}-{n}" not in found and (n > 1 or plain not in found))
        found[plain if number == 1 else f"{plain}-{number}"] = None
    return list(found)[1:]
