"""Task lists: few-shot tasks of several sources as one file, which names each image by source, class and content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from .hashing import canonical_json, sha256_hex
from .store.files import write_atomic
from .yaml_files import validated


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Where images come from.

    Attributes:
        spec: Task spec; its images depend on nothing but this.
        images: Class and content digest of each image that a task of the list uses.
    """

    spec: str
    images: tuple[tuple[str, str], ...]


class ListedTask(_Strict):
    """One task: images of one source, as positions among those that it lists.

    Attributes:
        source: Position of the source.
        support: Of the labelled images: [ways][shots].
        query: Of the images to classify: [ways][queries].
    """

    source: NonNegativeInt
    support: tuple[tuple[NonNegativeInt, ...], ...]
    query: tuple[tuple[NonNegativeInt, ...], ...]


class TaskList(_Strict):
    """Sources, and the tasks in their order."""

    format: Literal["adaptbench-task-list/1"] = "adaptbench-task-list/1"
    sources: tuple[Source, ...]
    tasks: tuple[ListedTask, ...]

    @property
    def digest(self) -> str:
        """Hash of everything in it."""
        return sha256_hex(canonical_json(self.model_dump(mode="json")))

    def write(self, path: Path) -> None:
        """Write it as JSON, a line for each source and task."""
        sources, tasks = (
            ",\n ".join(json.dumps(one.model_dump(mode="json"), ensure_ascii=False) for one in some)
            for some in (self.sources, self.tasks)
        )
        text = f'{{"format": "{self.format}",\n"sources": [\n {sources}],\n"tasks": [\n {tasks}]}}\n'
        write_atomic(path, text.encode())

    @classmethod
    def of(cls, content: dict[str, Any], where: str) -> TaskList:
        """Read what a file holds.

        Raises:
            UserError: It is not a task list; the message names the field.
        """
        return validated(cls, content, where=where, todo="restore the file")
