"""lm-eval's tasks as tasks of ours: ``lm-eval:hellaswag``, ``lm-eval:mine(include="my/tasks",shots=5)``.

lm-eval makes the requests, its filters read the answers, and the task's own ``process_results`` scores them. Metrics
that it averages are means here; the others, such as a perplexity or an F1, are derived metrics, by its own aggregation.
"""

from __future__ import annotations

import functools
import json
import random
from collections import defaultdict
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ..harness.cards import Metric, TaskCard
from ..harness.contracts import Input, Predictions, Sample, Task
from ..harness.errors import UserError
from ..harness.hashing import canonical_json, sha256_hex
from ..harness.reading import read_json_lines
from ..harness.specs import did_you_mean
from .lm_eval_demonstrations import Demonstrations, OtherDocuments
from .lm_eval_model import prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lm_eval.api.instance import Instance

    from ..harness.contracts import Json, Scores

_LIKELIHOODS = {"loglikelihood", "loglikelihood_rolling"}
_SHARES = ("acc", "exact_match")
"""What the names of metrics begin with that are shares in [0, 1]."""
_LEFT_OUT = {"bypass", "bleu", "chrf", "chrf++", "ter"}
"""Aggregations that take too long to be repeated a thousand times for an interval, or that do nothing."""
_FALLBACK = "loglikelihood"
"""The metric that ranks where lm-eval averages none: the mean log-probability of a document."""
_FEWSHOT_SEED = 1234
"""lm-eval's own."""


class LmEvalTask(Task):
    """A task of lm-eval's.

    Args:
        name: As lm-eval knows it; not a group of tasks.
        include: Folder with further tasks, as its ``--include_path``; a task in there is found faster.
        shots: Demonstrations, as its ``--num_fewshot``; the task's own number if not given.
        fewshot_seed: By which demonstrations are drawn; lm-eval's own by default.
        demonstrations: ``others``: where lm-eval would show a document its own answer, another document is shown;
            ``lm-eval``: as lm-eval.

    Raises:
        UserError: There is no such task, or it is of a kind that is not run here: it shows images, runs code that
            models write, asks for text and for likelihoods, or has no metric that could rank.
    """

    def __init__(
        self,
        name: str,
        *,
        include: str | None = None,
        shots: int | None = None,
        fewshot_seed: int = _FEWSHOT_SEED,
        demonstrations: Demonstrations = "others",
    ) -> None:
        if demonstrations not in get_args(Demonstrations):
            known = " or ".join(map(repr, get_args(Demonstrations)))
            raise UserError(f"demonstrations={demonstrations!r}", where=f"lm-eval task {name}", todo=f"give {known}")
        self._task, self._note = _loaded(name, include, shots, fewshot_seed, demonstrations)
        groups: dict[int, list[Instance]] = defaultdict(list)
        for instance in self._task.instances:
            groups[instance.doc_id].append(instance)
        self._asked = {str(doc): sorted(group, key=lambda one: one.idx) for doc, group in groups.items()}
        self._aggregations = _aggregations(self._task)
        self.card = self._card(name)

    @classmethod
    def card_for(cls, **arguments: Any) -> TaskCard:
        """Return the card of the task that these arguments of the class make."""
        return _card(**arguments)

    @functools.cached_property
    def inputs(self) -> Sequence[Input]:
        """One input a request, document by document."""
        return [_input(instance) for group in self._asked.values() for instance in group]

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """One sample a document."""
        samples, start = [], 0
        for name, group in self._asked.items():
            target = _plain(self._task.doc_to_target(group[0].doc))
            samples.append(Sample(name, range(start, start + len(group)), target))
            start += len(group)
        return samples

    def outputs(self, samples: Sequence[Sample], answers: Any) -> Sequence[Json]:
        """Return the answers to all of a document's requests: texts, or [log-probability, greedy]."""
        return [[answers[position] for position in sample.inputs] for sample in samples]

    def parse(self, sample: Sample, output: Json) -> Json | None:
        """Have the task filter and score the answers: name of a metric -> what it aggregates."""
        asked = self._asked[sample.id]
        if not isinstance(output, list) or len(output) != len(asked) or not all(map(_fits, asked, output)):
            return None
        answered = [_answered(instance, answer) for instance, answer in zip(asked, output, strict=True)]
        found: dict[str, Json] = {}
        for ensemble in self._task._filters:
            ensemble.apply(answered)
            filtered = [instance.filtered_resps[ensemble.name] for instance in answered]
            for metric, value in self._task.process_results(asked[0].doc, filtered).items():
                found[_named(metric, ensemble.name)] = _plain(value)
        if _FALLBACK in self._means:
            found[_FALLBACK] = sum(answer[0] for answer in output)
        return found

    def score(self, sample: Sample, parsed: Json | None) -> Mapping[str, float] | None:  # noqa: ARG002
        """Return those metrics that are averaged."""
        return None if parsed is None else {name: float(parsed[name]) for name in self._means if name in parsed}

    def aggregate(self, scores: Scores) -> Mapping[str, float]:
        """Return the others, as the task aggregates them; a document drawn twice counts twice."""
        drawn = np.repeat(np.arange(len(scores.weights)), scores.weights.astype(np.int64)).tolist()
        parsed: list[Any] = list(scores.parsed)
        return {
            name: _aggregated(aggregate, [parsed[row][name] for row in drawn])
            for name, aggregate in self._aggregations.items()
            if name not in self._means
        }

    def predictions(self, path: Path) -> Predictions:
        """Read what ``lm_eval --log_samples`` wrote of this task: a ``samples_*.jsonl``.

        Raises:
            UserError: It cannot be read, or is something else.
        """
        from lm_eval.utils import hash_string

        outputs: dict[str, Json] = {}
        unmatched = []
        for where, row in _rows(path):
            name = str(row.get("doc_id"))
            asked = self._asked.get(name)
            if asked is None or row.get("prompt_hash") != hash_string(asked[0].args[0]):
                unmatched.append(name)
                continue
            try:
                outputs[name] = [_read(one, said) for one, said in zip(asked, row["resps"], strict=True)]
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise UserError(
                    "its field resps does not hold this task's answers",
                    where=where,
                    todo="give the file that --log_samples wrote",
                ) from error
        notes = [f'{self._note}: demonstrations="lm-eval" asks what it asked'] if unmatched and self._note else []
        return Predictions(outputs, unmatched, notes)

    @functools.cached_property
    def _means(self) -> list[str]:
        from lm_eval.api.metrics import mean

        found = [name for name, aggregate in self._aggregations.items() if aggregate is mean]
        return found or ([_FALLBACK] if self._kinds <= _LIKELIHOODS else [])

    @property
    def _kinds(self) -> set[str]:
        return {instance.request_type for instance in self._task.instances}

    def _card(self, name: str) -> TaskCard:
        if len({kind in _LIKELIHOODS for kind in self._kinds}) > 1:
            raise UserError("it asks for text and for likelihoods", where=f"lm-eval task {name}", todo="choose another")
        if not self._means:
            raise UserError("lm-eval averages none of its metrics", where=f"lm-eval task {name}", todo="choose another")
        better = self._task.higher_is_better()
        config = json.dumps(self._task.dump_config(), sort_keys=True, default=str)
        derived = [metric for metric in self._aggregations if metric not in self._means]
        metrics = [
            Metric(
                name=metric,
                unit="%" if metric.startswith(_SHARES) else "",
                better="higher" if better.get(metric.partition(",")[0], True) else "lower",
                kind=kind,
            )
            for kind, names in (("mean", self._means), ("derived", derived))
            for metric in names
        ]
        return TaskCard(
            summary=f"lm-eval's task {name}, {self._task.config.num_fewshot} demonstrations",
            note=self._note,
            capability="language" if self._kinds <= _LIKELIHOODS else "generate",
            metrics=tuple(metrics),
            rule=f"lm-eval {version('lm_eval')}, {sha256_hex(config.encode())[:8]}",
            sample_noun="document",
            source=f"lm-eval task {name}",
            revision="" if self._task.VERSION in (None, "Yaml") else str(self._task.VERSION),
            chance=self._chance(metrics[0].name),
        )

    def _chance(self, metric: str) -> float | None:
        """Of a guess among the choices of each document, where a document has a request for each."""
        choices = self._task.OUTPUT_TYPE == "multiple_choice" and "acc_mutual_info" not in self._task.aggregation()
        if not choices or not metric.startswith("acc"):
            return None
        return float(np.mean([1 / len(group) for group in self._asked.values()]))


@functools.lru_cache(maxsize=64)
def _card(**arguments: Any) -> TaskCard:
    return LmEvalTask(**arguments).card


@functools.lru_cache(maxsize=4)
def _loaded(name: str, include: str | None, shots: int | None, seed: int, whose: Demonstrations) -> tuple[Any, str]:
    """The task with its requests made, as ``simple_evaluate`` makes them, and a note; a card and its task are one."""
    where = f"lm-eval task {name}"
    with _lm_evals_seeds():
        task = _found(name, include)
        for flag, why in (("UNSAFE_CODE", "runs code that models write"), ("MULTIMODAL", "shows images or sounds")):
            if getattr(task, flag, False):
                raise UserError(f"it {why}", where=where, todo="choose another")
        own = task.get_config("num_fewshot")
        if shots is not None and own == 0 != shots:
            raise UserError("it takes no demonstrations", where=where, todo="leave shots= out")
        task.set_config("num_fewshot", shots if shots is not None else own or 0)
        task.set_fewshot_seed(seed)
        shown = OtherDocuments(task, seed, whose) if task.config.num_fewshot and hasattr(task, "sampler") else None
        task.build_all_requests()
    return task, shown.note if shown else ""


def _found(name: str, include: str | None) -> Any:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=include, include_defaults=False) if include else TaskManager()
    if include and name not in manager.all_tasks:
        manager = TaskManager(include_path=include)
    if name not in manager.all_tasks:
        raise UserError(
            f"no task {name!r}{did_you_mean(name, manager.all_tasks)}",
            where="lm-eval",
            todo="`lm_eval ls tasks` shows what there is",
        )
    if name not in manager.all_subtasks:
        names = list(manager.load([name])["tasks"])
        raise UserError(f"it is a group: {', '.join(names[:5])} ...", where=f"lm-eval task {name}", todo="name a task")
    return manager.load([name])["tasks"][name]


@contextmanager
def _lm_evals_seeds() -> Iterator[None]:
    """Some tasks shuffle while they load, by the generators that ``simple_evaluate`` seeds."""
    before, numpy_before = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(1234)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)


def _aggregations(task: Any) -> dict[str, Callable[[list[Any]], float]]:
    """Name of each metric that is not left out -> how the task aggregates it."""
    from lm_eval.api.registry import aggregation_registry

    out = [aggregation_registry.get(name, None) for name in _LEFT_OUT]
    return {
        _named(metric, ensemble.name): aggregate
        for ensemble in task._filters
        for metric, aggregate in task.aggregation().items()
        if aggregate not in out
    }


def _named(metric: str, answer_filter: str) -> str:
    """As lm-eval writes it, but for the filter that does nothing."""
    return metric if answer_filter == "none" else f"{metric},{answer_filter}"


def _input(instance: Instance) -> Input:
    kind, args = instance.request_type, instance.args
    digest = functools.partial(_digest, kind, args)
    if kind == "generate_until":
        asked = prompt(*args, where=f"lm-eval task {instance.task_name}")
        return Input(digest, lambda: asked)
    pair = (None, *args) if kind == "loglikelihood_rolling" else args
    return Input(digest, lambda: pair)


def _digest(kind: str, args: tuple[Any, ...]) -> str:
    return sha256_hex(canonical_json([kind, *args]))


def _fits(instance: Instance, answer: Json) -> bool:
    if instance.request_type == "generate_until":
        return isinstance(answer, str)
    return isinstance(answer, list) and [type(part) for part in answer] == [float, bool]


def _answered(instance: Instance, answer: Json) -> Instance:
    """The request with the answer, as often as lm-eval would ask: greedy decoding says the same each time."""
    from lm_eval.api.instance import Instance as Request

    kind = instance.request_type
    reply = answer if kind == "generate_until" else answer[0] if kind == "loglikelihood_rolling" else tuple(answer)
    metadata = (instance.task_name, instance.doc_id, instance.repeats)
    resps = [reply] * (instance.repeats or 1)
    return Request(kind, instance.doc, instance.arguments, instance.idx, metadata, resps)


def _read(instance: Instance, said: Any) -> Json:
    """An answer as lm-eval logs it: all numbers are texts."""
    if instance.request_type == "generate_until":
        return str(said[0])
    if instance.request_type == "loglikelihood_rolling":
        return [float(said[0]), False]
    value, greedy = said[0]
    return [float(value), {"True": True, "False": False}[greedy]]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, row in read_json_lines(path):
        if not isinstance(row, dict):
            raise UserError("not an object", where=where, todo="give a samples_*.jsonl of lm-eval")
        yield where, row


def _aggregated(aggregate: Callable[[list[Any]], float], values: list[Any]) -> float:
    if not values:
        return float("nan")
    try:
        return float(aggregate(values))
    except OverflowError:  # the perplexity of what is all but impossible
        return float("nan")


def _plain(value: Any) -> Json:
    """A value as JSON holds it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
