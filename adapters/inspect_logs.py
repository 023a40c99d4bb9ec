"""Logs of inspect_ai: ``.eval``, a zip archive of JSON members, and ``.json``, the same in one file."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.importing import Imported, ImportedCell, ImportedMetric, ImportedSample, LeftOut, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ..harness.contracts import Json
    from ..harness.importing import ResultFile

_ZSTANDARD = 93
"""A zip archive's number for it, which `zipfile` does not read before Python 3.14."""
_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Texts that inspect_ai counts as numbers: correct, partial, incorrect, no answer."""
_MEANS = {"accuracy", "mean"}
"""Metrics that are the mean of what `_value` makes of a sample's score."""


def read_inspect(file: ResultFile) -> list[Imported] | None:
    """Return the cell of a log; ``None`` if the file is not one.

    Raises:
        UserError: The file is damaged.
    """
    log = _archive(file.path) if file.is_zip else file.content
    if not isinstance(log, dict) or not isinstance(log.get("eval"), dict) or "task" not in log["eval"]:
        return None
    where, spec = str(file.path), log["eval"]
    task, results = str(spec["task"]), log.get("results")
    if log.get("status") != "success" or not results:
        return [LeftOut(where, task, f"the evaluation did not end well: its status is {log.get('status')}")]
    epochs = _by_id(log.get("samples") or [])
    if not epochs:
        return [LeftOut(where, task, "it logs no samples: run without --no-log-samples")]
    config = spec.get("config") or {}
    limit = config.get("limit")
    version = str((spec.get("packages") or {}).get("inspect_ai", "unknown"))
    return [
        ImportedCell(
            where=where,
            tool="inspect_ai",
            version=version,
            date=str(spec.get("created") or ""),
            model=str(spec.get("model") or "unknown"),
            model_args=_named_values(spec.get("model_args")),
            task=task,
            task_version=str(spec.get("task_version", 0)),
            capability="generate",
            samples=[_sample(name, samples) for name, samples in epochs.items()],
            metrics=[
                metric for score in results.get("scores") or [] for metric in _metrics(score, epochs, _reduced(log))
            ],
            partial=_partial(limit, results),
            settings={
                "epochs": config.get("epochs"),
                "task_args": spec.get("task_args"),
                "generate_config": spec.get("model_generate_config"),
                "solver": spec.get("solver"),
            },
        )
    ]


def _archive(path: Path) -> dict[str, Any] | None:
    """The log in an archive as one object; ``None`` if it is another archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "header.json" not in names:
                if not any(name.startswith("_journal/") for name in names):
                    return None
                raise UserError(
                    "the evaluation did not end: it has no header.json", where=str(path), todo="run it again"
                )
            log = read_json(_member(archive, "header.json"), f"{path}, header.json")
            samples = [name for name in names if name.startswith("samples/") and name.endswith(".json")]
            log["samples"] = [read_json(_member(archive, name), f"{path}, {name}") for name in samples]
            if "reductions.json" in names:
                log["reductions"] = read_json(_member(archive, "reductions.json"), f"{path}, reductions.json")
    except (zipfile.BadZipFile, EOFError, struct.error) as error:
        raise UserError(f"damaged archive: {error}", where=str(path), todo="get it again") from error
    return dict(log)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's content, whatever it is compressed by."""
    info = archive.getinfo(name)
    if info.compress_type != _ZSTANDARD:
        return archive.read(name)
    where = f"{archive.filename}, {name}"
    try:
        import zstandard
    except ImportError as error:
        todo = "pip install 'adaptbench[inspect]', or write the log as .json"
        raise UserError("zstandard is needed to read it", where=str(archive.filename), todo=todo) from error
    stream: Any = archive.fp
    stream.seek(info.header_offset)
    header = stream.read(30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise UserError("damaged archive: a member's header is not there", where=where, todo="get it again")
    length, extra = struct.unpack("<26x2H", header)
    stream.seek(info.header_offset + 30 + length + extra)
    try:
        content = zstandard.ZstdDecompressor().decompressobj().decompress(stream.read(info.compress_size))
    except zstandard.ZstdError as error:
        raise UserError(f"damaged archive: {error}", where=where, todo="get it again") from error
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise UserError("damaged archive: its checksum is wrong", where=where, todo="get it again")
    return bytes(content)


def _by_id(samples: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Id -> its epochs, in their order; ids in an order that does not depend on which ended first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for sample in sorted(samples, key=lambda one: (str(one["id"]).zfill(20), one.get("epoch", 1))):
        found.setdefault(str(sample["id"]), []).append(sample)
    return found


def _sample(name: str, epochs: Sequence[Mapping[str, Any]]) -> ImportedSample:
    """A sample with its epochs, which inspect_ai scores together."""
    first = epochs[0]
    said = [_completion(sample) for sample in epochs]
    read = [_answer(sample) for sample in epochs]
    errors = [sample["error"] for sample in epochs if sample.get("error")]
    return ImportedSample(
        id=name,
        content=[_text(first.get("input")), first.get("choices"), len(epochs)],
        asked=_shown(first),
        output=said[0] if len(said) == 1 else said,
        parsed=read[0] if len(read) == 1 else (read if any(one is not None for one in read) else None),
        target=first.get("target"),
        fault=str(errors[0].get("message", "error")) if len(errors) == len(epochs) else "",
    )


def _text(asked: Json) -> Json:
    """What was asked without what changes from run to run: the ids of messages."""
    if isinstance(asked, list):
        return [{"role": one.get("role"), "content": one.get("content")} for one in asked]
    return asked


def _shown(sample: Mapping[str, Any]) -> str:
    """The messages and the choices, one a line."""
    asked = sample.get("input")
    texts = [_joined(one.get("content")) for one in asked] if isinstance(asked, list) else [asked]
    return "\n".join(str(text) for text in [*texts, *(sample.get("choices") or [])] if text is not None)


def _joined(content: Json) -> Json:
    """A message's text, of which parts may be images."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content


def _completion(sample: Mapping[str, Any]) -> Json:
    output = sample.get("output") or {}
    if isinstance(output.get("completion"), str):
        return output["completion"]
    choices = output.get("choices") or [{}]
    return _joined((choices[0].get("message") or {}).get("content"))


def _answer(sample: Mapping[str, Any]) -> Json:
    scores = sample.get("scores") or {}
    return next((score.get("answer") for score in scores.values()), None)


def _metrics(
    score: Mapping[str, Any],
    epochs: Mapping[str, Sequence[Mapping[str, Any]]],
    reduced: Mapping[tuple[str, str], Mapping[str, Any]],
) -> list[ImportedMetric]:
    """The metrics of a score but for its standard errors."""
    name, scorer, reducer = str(score["name"]), str(score.get("scorer") or score["name"]), score.get("reducer")
    key = None if name == scorer else name
    if reducer in (None, "mean"):
        values = [_mean([_score(sample, scorer, name, key) for sample in own]) for own in epochs.values()]
    else:
        given = reduced.get((scorer, str(reducer)), {})
        values = [_value(given.get(sample), key) for sample in epochs]
    shown = name if reducer in (None, "mean") else f"{name}/{reducer}"
    return [
        ImportedMetric(
            name=f"{shown}/{metric}",
            values=values,
            stated=float(stated["value"]),
            better="higher" if metric == "accuracy" else None,
            mean=True if metric in _MEANS else None,
        )
        for metric, stated in (score.get("metrics") or {}).items()
        if metric not in {"stderr", "std", "var"}
    ]


def _score(sample: Mapping[str, Any], scorer: str, name: str, key: str | None) -> float | None:
    scores = sample.get("scores") or {}
    found = scores.get(name) or scores.get(scorer)
    return _value(found["value"], None if name in scores else key) if found else None


def _value(value: Any, key: str | None) -> float | None:
    """A score as inspect_ai counts it; ``None`` if there is none, or it is NaN, which inspect_ai leaves out."""
    if isinstance(value, dict):
        value = value.get(key)
    if isinstance(value, str):
        value = _LETTERS.get(value, _LETTERS.get(value.lower(), value))
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return 0.0
    return None if number is None or math.isnan(number) else number


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _reduced(log: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(Scorer, reducer) -> sample -> the value that a reducer other than the mean made of its epochs."""
    return {
        (str(one["scorer"]), str(one.get("reducer"))): {str(s["sample_id"]): s["value"] for s in one["samples"]}
        for one in log.get("reductions") or []
    }


def _partial(limit: Any, results: Mapping[str, Any]) -> str | None:
    done, total = results.get("completed_samples"), results.get("total_samples")
    if limit is not None:
        return f"--limit {limit}"
    return f"{done} of {total} samples" if done is not None and total is not None and done < total else None


def _named_values(values: Any) -> dict[str, Any]:
    """Arguments of a model that a spec can say."""
    return {name: v for name, v in (values or {}).items() if isinstance(v, bool | int | float | str)}
