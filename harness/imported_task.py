"""What the samples of imported results asked, kept in the run: a task that can be shown and compared, not run again."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .contracts import Input, Json, Prompt, Sample, Task
from .errors import UserError
from .hashing import canonical_json
from .store.files import disk_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .cards import TaskCard
    from .results import CellResult
    from .store import RunDirectory


@dataclass(frozen=True, slots=True)
class KeptSample:
    """A sample as the run keeps it.

    Attributes:
        digest: Of all that was asked, of which ``asked`` may be a part.
        asked: As people are shown it.
        target: The right answer.
        group: Name shared by samples that are not independent.
    """

    id: str
    digest: str
    asked: str
    target: Json
    group: str | None


class ImportedTask(Task):
    """The samples.

    Args:
        card: What the results say of the task.
        kept: The samples.
    """

    def __init__(self, card: TaskCard, kept: Sequence[KeptSample]) -> None:
        self.card, self._kept = card, kept

    @functools.cached_property
    def inputs(self) -> list[Input]:
        """What was asked, as text."""
        return [Input(one.digest, functools.partial(Prompt, one.asked)) for one in self._kept]

    @functools.cached_property
    def samples(self) -> list[Sample]:
        """The samples, in the tool's order."""
        kept = enumerate(self._kept)
        return [Sample(one.id, (place,), target=one.target, group=one.group) for place, one in kept]

    def keep(self, run: RunDirectory, digest: str) -> None:
        """Write the samples into a run, once for all models that were asked them."""
        lines = b"".join(canonical_json(asdict(one), "sample") + b"\n" for one in self._kept)
        run.attach(_name(digest), lambda path: write_atomic(path, lines))

    @classmethod
    def of(cls, run: Path, result: CellResult) -> ImportedTask | None:
        """Read the samples of a result; ``None`` if it was not imported.

        Raises:
            UserError: The file cannot be read.
        """
        path = run / _name(result.samples_digest)
        if not path.is_file():
            return None
        with disk_errors(path, "read"):
            lines = path.read_bytes().splitlines()
        try:
            return cls(result.task_card, [KeptSample(**json.loads(line)) for line in lines])
        except (ValueError, TypeError) as error:
            todo = "import the results again into another --out"
            raise UserError(f"not the samples that were imported: {error}", where=str(path), todo=todo) from error


def _name(digest: str) -> str:
    return f"samples/{digest}.jsonl"
