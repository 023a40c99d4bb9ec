"""Results of lmms-eval: ``DATE_results.json`` with ``DATE_samples_TASK.jsonl`` beside it (``--log_samples``).

They are as lm-eval's, from which lmms-eval comes, except: a line holds ``input`` instead of document and arguments, and
``resps`` only where it is not ``filtered_resps``; it does not name its filter; a file of samples is appended to by
another run of the same second; times are counted from the start of the machine, so that only ``date`` is one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..harness.importing import Imported, ImportedCell, ImportedSample, LeftOut
from .lm_eval_results import KEYS, NO_SAMPLES, TaskResults, is_lmms, read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..harness.importing import ResultFile

_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)[_T](\d\d)[:-]?(\d\d)[:-]?(\d\d)")


def read_lmms_eval(file: ResultFile) -> list[Imported] | None:
    """Return the cells of a results file of lmms-eval, one per task; ``None`` if it is not one.

    Raises:
        UserError: A file is damaged.
    """
    content = file.content
    if not isinstance(content, dict) or not content.keys() >= KEYS or not is_lmms(content):
        return None
    date = file.path.name.removesuffix("_results.json")
    found: list[Imported] = []
    for task in content["configs"]:
        path = file.path.with_name(f"{date}_samples_{task}.jsonl")
        cell = TaskResults(content, task, path)
        if not path.is_file():
            found.append(LeftOut(str(file.path), task, NO_SAMPLES))
            continue
        if len(cell.filters) > 1:
            found.append(LeftOut(str(file.path), task, "its samples do not say which filter they are of"))
            continue
        lines = list(read_lines(path))
        last = {str(row["doc_id"]): (where, row) for where, row in lines}
        rows = cell.in_order(iter(last.values()))
        appended = "another run was appended to the file of samples: the last line of each sample counts"
        found.append(
            ImportedCell(
                tool="lmms-eval",
                version=str(content.get("lmms_eval_version", "unknown")),
                date=_iso(str(content.get("date", date))),
                samples=_samples(cell, rows),
                metrics=cell.metrics(dict.fromkeys(cell.filters, rows)),
                notes=(appended,) if len(last) < len(lines) else (),
                **cell.fields(),
            )
        )
    return found


def _iso(date: str) -> str:
    """A date in local time as ISO 8601 without a zone, which is not stored; empty if it is none."""
    match = _DATE.search(date)
    return "{}-{}-{}T{}:{}:{}".format(*match.groups()) if match else ""


def _samples(cell: TaskResults, rows: Sequence[Mapping[str, Any]]) -> list[ImportedSample]:
    # The hash of a document with images covers their places in memory, so it is not what was asked.
    media = [json.dumps(row["input_media"], sort_keys=True) if row.get("input_media") else "" for row in rows]
    count = Counter(media)
    return [
        ImportedSample(
            id=str(row["doc_id"]),
            content=[row["doc_id"], row.get("input"), cell.shots],
            asked=str(row.get("input") or ""),
            output=cell.output(row.get("resps", row.get("filtered_resps"))),
            parsed=cell.parsed(row),
            target=row.get("target"),
            group=shown if shown and count[shown] > 1 else None,
        )
        for row, shown in zip(rows, media, strict=True)
    ]
