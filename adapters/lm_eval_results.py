"""Results of lm-eval: ``results_DATE.json`` with ``samples_TASK_DATE.jsonl`` beside it (``--log_samples``)."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.importing import Imported, ImportedCell, ImportedMetric, ImportedSample, LeftOut
from ..harness.reading import read_json_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ..harness.cards import Capability
    from ..harness.contracts import Json
    from ..harness.importing import ResultFile

KEYS = {"results", "configs", "versions"}
"""What results of lm-eval and of lmms-eval have."""
MODEL_ARGS = ("peft", "delta", "revision", "subfolder", "gguf_file", "load_in_8bit", "load_in_4bit", "dtype")
"""Arguments that make another model of the same checkpoint."""
_MEANS = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "likelihood"}
"""Metrics whose aggregation is the mean where a task names none."""
_SHARED = ("passage", "context", "article", "paragraph", "document", "story", "image_id")
"""Fields of documents that several questions may have in common."""
_NO_ANSWER = "[invalid]"
"""What a regular expression that finds nothing leaves."""


def read_lm_eval(file: ResultFile) -> list[Imported] | None:
    """Return the cells of a results file of lm-eval, one per task; ``None`` if it is not one.

    Raises:
        UserError: A file is damaged.
    """
    content = file.content
    if not isinstance(content, dict) or not content.keys() >= KEYS or is_lmms(content):
        return None
    date = content.get("date")
    began = datetime.fromtimestamp(date, UTC).isoformat(timespec="seconds") if isinstance(date, int | float) else ""
    name = file.path.stem.removeprefix("results_")
    found: list[Imported] = []
    for task in content["configs"]:
        path = _beside(file.path, rf"samples_{re.escape(task)}_", name)
        if path is None:
            found.append(LeftOut(str(file.path), task, NO_SAMPLES))
            continue
        rows = list(read_lines(path))
        cell = TaskResults(content, task, path)
        by_filter = {key: cell.in_order(r for r in rows if r[1].get("filter") == key) for key in cell.filters}
        first = next(iter(by_filter.values()), [])
        found.append(
            ImportedCell(
                tool="lm-eval",
                version=str(content.get("lm_eval_version", "unknown")),
                date=began,
                samples=_samples(cell, first),
                metrics=cell.metrics(by_filter),
                **cell.fields(),
            )
        )
    return found


NO_SAMPLES = "no file of its samples is beside it: run with --log_samples"


def is_lmms(content: Mapping[str, Any]) -> bool:
    """Whether results are lmms-eval's."""
    configs = content["configs"].values() if isinstance(content.get("configs"), dict) else ()
    told = any(isinstance(config, dict) and "lmms_eval_specific_kwargs" in config for config in configs)
    return "lmms_eval_version" in content or told


def _beside(results: Path, prefix: str, date: str) -> Path | None:
    """The samples of the same date; where the results file was renamed, the only ones."""
    pattern = re.compile(prefix + r"(\d[\dT:.-]*)\.jsonl")
    dated = {match[1]: path for path in results.parent.iterdir() if (match := pattern.fullmatch(path.name))}
    if date in dated or results.name.startswith("results_"):
        return dated.get(date)
    return next(iter(dated.values())) if len(dated) == 1 else None


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a file of JSON lines, each with its place.

    Raises:
        UserError: A line is not an object.
    """
    for where, row in read_json_lines(path):
        if not isinstance(row, dict) or "doc_id" not in row:
            raise UserError("not a sample: it has no doc_id", where=where, todo="the file is damaged; get it again")
        yield where, row


class TaskResults:
    """What a results file states about one task.

    Args:
        content: The file's content.
        task: The task.
        path: Its samples.
    """

    def __init__(self, content: Mapping[str, Any], task: str, path: Path) -> None:
        self.content, self.task, self.path = content, task, path
        self.config: dict[str, Any] = content["configs"][task] or {}
        stated = content["results"].get(task, {})
        # "acc,none": a metric and a filter; "alias" and "sample_len" are not metrics.
        self.stated = {
            name: number(value)
            for name, value in stated.items()
            if "," in name and not name.partition(",")[0].endswith("_stderr")
        }
        self.filters = list(dict.fromkeys(name.partition(",")[2] for name in self.stated))

    @property
    def count(self) -> int | None:
        """Samples that were run."""
        told = self.content.get("n-samples", {}).get(self.task, {}).get("effective")
        return told if isinstance(told, int) else None

    def in_order(self, rows: Iterator[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        """The samples of a filter by their number, which does not depend on the processes that ran them.

        Raises:
            UserError: They are not as many as the results state, or one appears twice.
        """
        found = [row for _, row in rows]
        distinct = len({str(row["doc_id"]) for row in found})
        stated = self.count if self.count is not None else distinct
        if not len(found) == distinct == stated:
            twice = f" ({len(found) - distinct:,} of them twice)" if distinct < len(found) else ""
            raise UserError(
                f"{len(found):,} samples{twice}, but the results state {stated:,}",
                where=str(self.path),
                todo="files of two runs are mixed, or one is damaged; get both again",
            )
        return sorted(found, key=lambda row: (not isinstance(row["doc_id"], int), row["doc_id"]))

    def metrics(self, by_filter: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[ImportedMetric]:
        """The metrics, in the order of the results; those that samples have numbers for, with them."""
        named = {m["metric"]: m.get("aggregation") for m in self.config.get("metric_list") or () if "metric" in m}
        higher = self.content.get("higher_is_better", {}).get(self.task) or {}
        found = []
        for key, stated in self.stated.items():
            name, _, chosen = key.partition(",")
            aggregation = named.get(name) or ("mean" if name in named and name in _MEANS else None)
            found.append(
                ImportedMetric(
                    name=key,
                    values=_values([row.get(name) for row in by_filter.get(chosen, ())]),
                    stated=stated,
                    better=None if higher.get(name) is None else ("higher" if higher[name] else "lower"),
                    mean=None if aggregation is None else aggregation == "mean",
                )
            )
        return found

    @property
    def capability(self) -> Capability:
        """What the task asks for."""
        return "generate" if self.config.get("output_type", "generate_until") == "generate_until" else "language"

    def fields(self) -> dict[str, Any]:
        """The fields of an `ImportedCell` that both tools state alike."""
        config = self.content.get("config") or {}
        args = _arguments(config.get("model_args"))
        source = str(config.get("model") or "unknown")
        name = str(args.get("pretrained") or self.content.get("model_name") or args.get("model") or source)
        limit = config.get("limit")
        told = ("batch_size", "device", "gen_kwargs", "model_args", "numpy_seed", "torch_seed", "fewshot_seed")
        seed = config.get("random_seed")
        return {
            "where": str(self.path),
            # The name of a dummy's folder is random.
            "model": source if source == "dummy" else name,
            "model_args": {key: args[key] for key in MODEL_ARGS if args.get(key) not in (None, "", False)},
            "task": self.task,
            "task_version": str(self.content["versions"].get(self.task, "unknown")),
            "capability": self.capability,
            "seed": seed if isinstance(seed, int) and seed >= 0 else 0,
            "partial": None if limit is None else f"--limit {limit}",
            "settings": {
                "model_kind": source,
                "num_fewshot": self.shots,
                "chat_template_sha": self.content.get("chat_template_sha"),
                "transformers": self.content.get("transformers_version"),
                **{name: config.get(name) for name in told},
            },
        }

    @property
    def shots(self) -> Json:
        """Demonstrations in a prompt."""
        return self.content.get("n-shot", {}).get(self.task)

    def output(self, said: Json) -> Json:
        """What a model said, without the lists of one around it; log-likelihoods, stored as texts, become numbers."""
        said = _bare(said)
        return said if self.capability == "generate" else _numbers(said)

    def parsed(self, row: Mapping[str, Any]) -> Json:
        """The answer after the filter: of choices, the index of the likeliest."""
        said = self.output(row.get("filtered_resps"))
        if self.config.get("output_type") == "multiple_choice" and isinstance(said, list):
            # For mutual information each choice is also asked without its question.
            halved = any(name.startswith("acc_mutual_info,") for name in self.stated)
            likely = [number(_first(one)) for one in (said[: len(said) // 2] if halved else said)]
            known = [-math.inf if value is None else value for value in likely]
            return known.index(max(known)) if known else None
        return None if said == _NO_ANSWER else said


def _samples(cell: TaskResults, rows: Sequence[Mapping[str, Any]]) -> list[ImportedSample]:
    shared = next((name for name in _SHARED if all(_doc(row).get(name) is not None for row in rows)), None)
    groups = Counter(str(_doc(row)[shared]) for row in rows) if shared and rows else Counter()
    return [
        ImportedSample(
            id=str(row["doc_id"]),
            content=_content(cell, row),
            asked=_shown(row),
            output=cell.output(row.get("resps")),
            parsed=cell.parsed(row),
            target=row.get("target"),
            group=group if shared and groups[group := str(_doc(row)[shared])] > 1 else None,
        )
        for row in rows
    ]


def _doc(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return row["doc"] if isinstance(row.get("doc"), dict) else {}


def _content(cell: TaskResults, row: Mapping[str, Any]) -> Json:
    """What was asked. A chat template is the model's own, so then it is the document and how the task puts it."""
    if cell.content.get("chat_template") is None and row.get("arguments"):
        return row["arguments"]
    put = ("doc_to_text", "doc_to_choice", "description", "fewshot_delimiter", "target_delimiter")
    # The text of a function has its place in memory.
    told = [re.sub(r" at 0x[0-9a-f]+", "", str(cell.config.get(name))) for name in put]
    seed = (cell.content.get("config") or {}).get("fewshot_seed") if cell.shots else None
    return [row.get("doc") or row.get("doc_hash"), cell.shots, seed, *told]


def _shown(row: Mapping[str, Any]) -> str:
    """The texts of all requests, each once, one a line; the document where there are none."""
    arguments = row.get("arguments")
    asked = arguments.values() if isinstance(arguments, dict) else arguments or []
    parts = [one.values() if isinstance(one, dict) else one for one in asked if isinstance(one, dict | list)]
    known = dict.fromkeys(text for part in parts for text in part if isinstance(text, str))
    return "\n".join(known) or json.dumps(row.get("doc"), ensure_ascii=False)


def number(value: Any) -> float | None:
    """A number, also one that is stored as a text, as numpy's are: ``"0.5"``, ``"True"``; ``None`` if it is not one."""
    if isinstance(value, str):
        value = {"True": 1, "False": 0}.get(value, value)
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None


def _values(values: Sequence[Any]) -> list[float | None] | None:
    """A number per sample; ``None`` for one that has no such metric, and for all if one is not a number."""
    found = [None if value is None else number(value) for value in values]
    strange = any(one is None and value is not None for one, value in zip(found, values, strict=True))
    return None if strange else found


def _bare(said: Any) -> Any:
    """Without the lists of one around it."""
    if isinstance(said, list):
        return _bare(said[0]) if len(said) == 1 else [_bare(one) for one in said]
    return said


def _numbers(said: Any) -> Any:
    if isinstance(said, list):
        return [_numbers(one) for one in said]
    if said in ("True", "False"):
        return said == "True"
    value = number(said)
    return said if value is None or not math.isfinite(value) else value


def _first(said: Any) -> Any:
    return said[0] if isinstance(said, list) and said else said


def _arguments(text: Any) -> dict[str, Any]:
    """A model's arguments, which are an object or ``name=value,name=value``."""
    if isinstance(text, dict):
        return text
    return dict(part.split("=", 1) for part in str(text or "").split(",") if "=" in part)
