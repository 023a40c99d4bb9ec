"""Outputs made elsewhere, or by another run: read, and matched with a task's samples."""

from __future__ import annotations

import contextlib
import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .abilities import PredictionReader
from .contracts import Predictions
from .errors import UserError
from .reading import read_json_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .contracts import Json, Sample, Task


class Output(NamedTuple):
    """A raw output, and the hash of the inputs that it answers where the file states it."""

    output: Json
    input: str


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Keep the collector of cyclic garbage out while millions of small objects are made, which doubles the time."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


def predictions_for(task: Task, path: Path, samples: Sequence[Sample] | None = None) -> Predictions:
    """Read the predictions for a task: AdaptBench's JSON lines or a cell's folder, or a format that the task knows.

    Args:
        task: Whose samples they answer.
        path: File or folder.
        samples: Those of the task's samples whose inputs are compared with what the file says of them; all by default.

    Raises:
        UserError: The file cannot be read, or none of its predictions is for a sample of this task.
    """
    path = path.expanduser()
    if not path.exists():
        raise UserError("there is no such file or folder", where=str(path), todo="check the path")
    if isinstance(task, PredictionReader) and not _is_ours(path):
        found = task.predictions(path)
    else:
        found = _matched(task, path / _RECORDS if path.is_dir() else path)
    if not found.outputs:
        count = len(found.unmatched)
        raise UserError(
            f"none of its {count} outputs is for a sample of this task", where=str(path), todo="check task and seed"
        )
    _same_inputs(task, task.samples if samples is None else samples, found, path)
    return found


def what_was_read(found: str, source: Path | str, left_out: Mapping[str, Sequence[str]]) -> str:
    """Say what a reader found, what it left out and why: ``3 answers in a.jsonl; left out: 1 without a text (4)``.

    Args:
        found: How many of what.
        source: File or data set.
        left_out: Why -> the names of what was left out for it.
    """
    parts = [f"{len(names):,} {why} ({_first(names)})" for why, names in left_out.items() if names]
    return f"{found} in {source}; " + (f"left out: {', '.join(parts)}" if parts else "none left out")


def some(names: Sequence[str], noun: str, most: int = 5) -> str:
    """Say how many there are, and which: ``1 question (random/4)``; of more than ``most`` the first ones."""
    return f"{counted(len(names), noun)} ({_first(names, most)})"


def counted(number: int, noun: str) -> str:
    """Return ``1 question``, ``2 questions``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _first(names: Sequence[str], most: int = 5) -> str:
    return f"{', '.join(names[:most])} and {len(names) - most:,} more" if len(names) > most else ", ".join(names)


_RECORDS = "records.jsonl"


def _is_ours(path: Path) -> bool:
    """Whether it is a cell's folder, or its first line has the fields of an output."""
    if path.is_dir():
        return (path / _RECORDS).is_file()
    with path.open("rb") as stream:
        if stream.read(1) == b"[":  # a list, which may be one long line
            return False
        stream.seek(0)
        line = stream.readline(2**24)
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and {"sample", "output"} <= set(row)


def _matched(task: Task, path: Path) -> Predictions:
    known = {sample.id for sample in task.samples}
    outputs: dict[str, Output] = {}
    unmatched: dict[str, None] = {}
    for where, sample, output in _outputs(path):
        if sample in outputs or sample in unmatched:
            raise UserError(f"sample {sample!r} appears twice", where=where, todo="keep one of them")
        if sample in known:
            outputs[sample] = output
        else:
            unmatched[sample] = None
    found = counted(len(outputs) + len(unmatched), "output")
    return Predictions(
        outputs={name: output.output for name, output in outputs.items()},
        unmatched=tuple(unmatched),
        inputs={name: output.input for name, output in outputs.items() if output.input},
        read=what_was_read(found, path, {"for no sample of this task": tuple(unmatched)}),
    )


def _same_inputs(task: Task, samples: Sequence[Sample], found: Predictions, path: Path) -> None:
    """Refuse outputs that are about other inputs than the task's."""
    stated = [sample for sample in samples if sample.id in found.inputs]
    if not stated:  # as of most files; then no input need be made
        return
    from .samples import sample_digests  # which imports NumPy: names are listed without it

    for sample, content in zip(stated, sample_digests(task, stated), strict=True):
        if found.inputs[sample.id] != content:
            raise UserError(
                f"the output of sample {sample.id!r} is about other inputs than this task's",
                where=str(path),
                todo="check task and seed",
            )


def _outputs(path: Path) -> Iterator[tuple[str, str, Output]]:
    """Yield the place, the sample and the output of JSON lines, such as a cell's records; one is in memory at a time.

    A field ``input`` is kept; those besides ``sample`` and ``output`` are ignored.

    Raises:
        UserError: A line is not such an object.
    """
    for where, row in read_json_lines(path, finite=True):
        if not isinstance(row, dict) or not isinstance(row.get("sample"), str) or "output" not in row:
            raise UserError(
                "not an object with the fields sample and output", where=where, todo="write one such object per line"
            )
        yield where, row["sample"], Output(row["output"], str(row.get("input", "")))
