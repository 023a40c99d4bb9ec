"""Tasks of ours as tasks of lm-eval: any that asks a model for text, of text alone or of images.

::

    python -c 'from adaptbench.adapters.lm_eval_export import export; export("logical-gh(k=5)", "tasks")'
    lm_eval --model hf --model_args pretrained=PATH --include_path tasks --tasks adaptbench_logical-gh_k_5

The prompts, the parsing and the scores are the task's own: the file that `export` writes names its spec, and lm-eval
builds it anew. From Python, ``simple_evaluate(tasks=[ExportedTask.of("logical-gh(k=5)")], ...)`` needs no file. A task
that shows images, such as a multiple-choice benchmark, goes to lm-eval's models that see (``hf-multimodal``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task as LmEvalTask
from lm_eval.config.task import TaskConfig

from ..harness.contracts import Prompt, Scores
from ..harness.errors import UserError
from ..harness.planning import Request, plan_tasks
from ..harness.plugins import load_plugins
from ..harness.specs import parse_call
from ..harness.summary import checked_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..harness.contracts import Json, Task

_IMAGE = "<image>"
"""The placeholder of an image in lm-eval's texts."""
_CLASS = "adaptbench.adapters.lm_eval_export.ExportedTask"


class ExportedTask(LmEvalTask):  # type: ignore[misc] # lm-eval has no types
    """A task of ours, as lm-eval runs it.

    A sample that cannot be scored is left out of lm-eval's means. Derived metrics are our own, over all documents.

    Args:
        config: What the YAML file says: ``task``, and the spec under ``metadata``.

    Raises:
        UserError: The spec names no task, or one that asks for something else than text.

    Attributes:
        MULTIMODAL: Whether it shows images, so that lm-eval gives it to models only that see.
    """

    VERSION = 1
    OUTPUT_TYPE = "generate_until"

    def __init__(self, config: Mapping[str, Any]) -> None:
        spec = config["metadata"]["adaptbench"]
        self._task = _built(spec)
        super().__init__()
        self._config = TaskConfig(
            task=config["task"],
            num_fewshot=0,
            output_type=self.OUTPUT_TYPE,
            generation_kwargs={"until": []},  # each request has its own
            metadata=dict(config["metadata"]),
        )
        self._samples = {sample.id: sample for sample in self._task.samples}
        self._prompts: list[Prompt] = [item.load() for item in self._task.inputs]
        self.MULTIMODAL = any(prompt.images for prompt in self._prompts)
        self._docs = [
            {"sample": s.id, "prompts": [_message(self._prompts[i]) for i in s.inputs], "target": s.target}
            for s in self._samples.values()
        ]

    @classmethod
    def of(cls, spec: str, name: str = "") -> ExportedTask:
        """Return a task by its spec; it is called ``adaptbench_...`` unless another name is given."""
        return cls({"task": name or _slug(spec), "metadata": {"adaptbench": spec}})

    def download(self, *_: Any, **__: Any) -> None:
        """Do nothing: the task makes its samples itself."""

    def has_training_docs(self) -> bool:
        """Whether there are documents to draw demonstrations from: they are in the prompts."""
        return False

    def has_validation_docs(self) -> bool:
        """Whether there are documents to choose settings by."""
        return False

    def has_test_docs(self) -> bool:
        """Whether there are documents to ask about."""
        return True

    def test_docs(self) -> list[dict[str, Json]]:
        """Return one document per sample."""
        return self._docs

    def doc_to_text(self, doc: Mapping[str, Any]) -> str:
        """Return what lm-eval shows of a document."""
        return "\n\n".join(doc["prompts"])

    def doc_to_target(self, doc: Mapping[str, Any]) -> str:
        """Return what lm-eval shows as the right answer."""
        target = doc["target"]
        return target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)

    def fewshot_context(self, doc: Mapping[str, Any], num_fewshot: int, **_: Any) -> str:
        """Return the prompt, which has its demonstrations.

        Raises:
            UserError: More are asked for.
        """
        if num_fewshot:
            raise UserError(
                "its prompts have their demonstrations", where=self.task_name, todo="leave --num_fewshot out"
            )
        return self.doc_to_text(doc)

    def construct_requests(self, doc: Mapping[str, Any], ctx: str, **kwargs: Any) -> list[Instance]:  # noqa: ARG002
        """Return a request for each of a sample's inputs."""
        kwargs = dict(kwargs)
        templated, template = kwargs.pop("apply_chat_template", False), kwargs.pop("chat_template", None)
        requests = []
        for number, position in enumerate(self._samples[doc["sample"]].inputs):
            asked = self._prompts[position]
            message = _message(asked)
            text = template([{"role": "user", "content": message}]) if templated and template else message
            wanted = {"until": list(asked.stop), "max_gen_toks": asked.max_new_tokens, "do_sample": False}
            shown = ({"visual": list(asked.images)},) if self.MULTIMODAL else ()
            requests.append(Instance(self.OUTPUT_TYPE, doc, (text, wanted, *shown), number, **kwargs))
        return requests

    def process_results(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """Parse and score the answers to a document by our rules; nothing where it cannot be scored."""
        sample = self._samples[doc["sample"]]
        answers = dict(zip(sample.inputs, results, strict=True))
        [output] = self._task.outputs([sample], answers)
        parsed = self._task.parse(sample, output)
        scores = checked_scores(self._task.card, sample.id, self._task.score(sample, parsed))
        if scores is None:
            return {}
        derived = {m.name: (sample.id, scores, parsed) for m in self._task.card.metrics if m.kind == "derived"}
        return scores | derived

    def aggregation(self) -> dict[str, Callable[[list[Any]], float]]:
        """Return how each metric of the task's card is aggregated."""
        return {m.name: mean if m.kind == "mean" else self._derived(m.name) for m in self._task.card.metrics}

    def higher_is_better(self) -> dict[str, bool]:
        """Return which of them are better when they are higher."""
        return {metric.name: metric.better == "higher" for metric in self._task.card.metrics}

    def _derived(self, metric: str) -> Callable[[list[Any]], float]:
        def aggregate(scored: list[tuple[str, Mapping[str, float], Json]]) -> float:
            samples = [self._samples[name] for name, _, _ in scored]
            values = {name: np.array([scores[name] for _, scores, _ in scored]) for name in scored[0][1]}
            axes = dict.fromkeys(axis for sample in samples for axis in sample.subsets)
            subsets = {axis: np.array([s.subsets.get(axis, "") for s in samples], dtype=object) for axis in axes}
            ids, parsed = [sample.id for sample in samples], [said for _, _, said in scored]
            return float(self._task.aggregate(Scores(values, subsets, np.ones(len(scored)), ids, parsed))[metric])

        return aggregate


def export(spec: str, out: str | Path, name: str = "") -> Path:
    """Write a task for ``lm_eval --include_path OUT --tasks NAME``.

    Args:
        spec: Task spec: ``logical-gh(k=5,setting=all)``.
        out: Folder to write to; it is made if it is not there.
        name: What lm-eval is to call it: the spec after ``adaptbench_``, signs as ``_``, if not given.

    Returns:
        The file that was written, ``NAME.yaml``.

    Raises:
        UserError: lm-eval cannot run this task, or the folder cannot be written to.
    """
    task = ExportedTask.of(spec, name)
    path = Path(out) / f"{task.task_name}.yaml"
    lines = [
        f"# {task._task.card.summary}".replace("\n", " "),
        f"task: {json.dumps(task.task_name)}",
        f"class: !function {_CLASS}",
        "metadata:",
        f"  version: {ExportedTask.VERSION}",
        f"  adaptbench: {json.dumps(spec)}",
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write it: {error.strerror}", where=str(path), todo="choose another folder") from error
    return path


def _built(spec: str) -> Task:
    [planned] = plan_tasks(load_plugins().registry, Request((), (spec,)))
    if planned.card.capability != "generate":
        raise UserError(
            f"it needs {planned.card.capability}", where=f"task {spec}", todo="choose one that asks for text"
        )
    step = planned.step
    task: Task = step.entry.factory()(**step.entry.bind(step.call, seed=0))
    return task


def _message(prompt: Prompt) -> str:
    """The text with a placeholder for each image before it."""
    return f"{_IMAGE}\n" * len(prompt.images) + prompt.text


def _slug(spec: str) -> str:
    """A name that ``--tasks`` can say."""
    return "adaptbench_" + re.sub(r"[^A-Za-z0-9.-]+", "_", str(parse_call(spec))).strip("_")
