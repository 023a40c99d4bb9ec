"""Stored predictions as a model, to compare with live models on a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..harness.predictions import predictions_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..harness.contracts import Json, Sample, Task


class Replay:
    """A model that answers from a file.

    Args:
        path: File or folder of predictions, in any format that ``adaptbench score`` reads for the task.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def replay(self, task: Task, samples: Sequence[Sample]) -> Mapping[str, Json]:
        """Return sample id -> raw output.

        Raises:
            UserError: The file cannot be read, or is not about this task.
        """
        return predictions_for(task, self._path, samples).outputs
