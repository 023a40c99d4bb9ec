"""``adaptbench train prompt-ft|multitask-prompt-ft``: prompt-based finetuning of masked language models (A.6.3)."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...harness.abilities import HasNetwork
from ...harness.errors import UserError
from ...harness.identity import BoundModel
from ...harness.methods import Seed
from ...harness.planned_models import plan_model
from ...harness.plugins import load_plugins
from ...harness.progress import Lines
from ...harness.specs import parse, parse_call
from ...harness.store.files import write_atomic
from .asked import same
from .commands import command

if TYPE_CHECKING:
    from pathlib import Path

    from ...harness.contracts import FloatArray
    from ...harness.registry import Registry


class PromptRecipe(BaseModel):
    """What both recipes are asked. The defaults are those of the dissertation's experiments."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
    name: ClassVar[str]
    in_turn: ClassVar[bool]
    batch: int

    base: str
    """The model spec of the masked language model to begin with, such as hf-mlm:FacebookAI/roberta-large."""
    source: str
    """The prompt tasks to train on, such as prompt-sst2; several are separated by a semicolon."""
    k: int = Field(16, ge=1)
    """Examples of each class."""
    steps: int = Field(1000, ge=1)
    """Steps of the optimizer, AdamW."""
    rate: float = Field(1e-5, gt=0)
    """Learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """What becomes of the learning rate."""
    learns: str = ""
    """Parts of the names of the parameters that learn, separated by a slash, such as bias/LayerNorm; all, if empty."""
    store: Literal["float32", "float16"] = "float32"
    """Numbers that the trained weights are written in."""
    save_every: int = Field(100, ge=1)
    """Steps between two checkpoints, and between two validations."""
    seed: Seed = 13
    """The seed of the samples, as the tasks take it, and of the order."""
    threads: int = Field(0, ge=0)
    """Processor cores to use; 0 for all."""

    def finetune(self, out: Path) -> None:
        """Train, or go on training, and write ``out/model``; what was done before is not done again.

        Args:
            out: Folder of the checkpoints, ``log.jsonl``, ``recipe.json`` and ``model``.

        Raises:
            UserError: The base cannot be trained, a source is not a prompt task, a loss is not finite, or ``out`` holds
                another training.
        """
        import torch

        from . import checkpoints
        from .loop import Loop, fit, leads
        from .masked import Draws, Masked, show

        if self.threads:
            torch.set_num_threads(self.threads)
        registry = load_plugins().registry
        model = self.model(registry, self.base)
        tasks = self.chosen(registry, {spec: self.task(registry, spec, "train") for spec in self._sources()}, out)
        asked = self.model_dump(exclude={"save_every", "threads"})
        weights = checkpoints.weights_digest(model.network)
        shown = sum(len(task.samples) for task in tasks.values())
        budget = f"{shown} examples, {self.steps:,} steps of {self.batch} = {self.steps * self.batch:,} examples seen"
        same(out, {"method": self.name, **asked, "weights": weights})
        Lines(0).note(budget)
        if (out / "model" / checkpoints.CARD).exists():
            return
        tuned = model.with_network(copy.deepcopy(model.network))
        self._freeze(tuned.network)
        tuned.network.to("cuda" if torch.cuda.is_available() else "cpu")
        trainee = Masked(tuned.module)
        batches = Draws(
            tuned, [show(tuned, task) for task in tasks.values()], self.steps, self.batch, self.seed,
            epochs=self.in_turn,
        )  # fmt: skip
        loop = Loop(
            steps=self.steps, rate=self.rate, optimizer="adamw", schedule=self.schedule, clip=1.0,
            save_every=self.save_every, validate_every=self.save_every, seed=self.seed,
        )  # fmt: skip
        held_out = [one for spec in tasks if self.in_turn for one in show(tuned, self.task(registry, spec, "dev"))]
        fit(trainee, batches, loop, out, (lambda: trainee.accuracy(tuned, held_out)) if held_out else None)
        if leads():
            made = {"method": self.name, "base": self.base, "weights": weights, "budget": budget, "recipe": asked}
            checkpoints.write(out / "model", tuned.network, made, half=self.store == "float16")

    def _sources(self) -> list[str]:
        specs = [spec.strip() for spec in self.source.split(";")]
        if len(set(specs)) < len(specs):
            raise UserError("a source is given twice", where=self.source, todo="give it once")
        return specs

    def chosen(self, registry: Registry, tasks: dict[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG002
        """Return those of the sources that are trained on: all."""
        return tasks

    def model(self, registry: Registry, spec: str) -> Any:
        """Load a masked language model that has a network.

        Raises:
            UserError: It is something else.
        """
        planned, where = plan_model(registry, parse(spec)), f"model {spec}"
        if "masked" not in planned.card.capabilities:
            raise UserError("it fills no masks", where=where, todo="name a masked language model: hf-mlm:PATH")
        model = BoundModel(planned, planned.bind(seed=self.seed, device="cpu")).load()
        if not isinstance(model, HasNetwork) or not hasattr(model, "encode"):
            raise UserError("it has no network to train", where=where, todo="name one: hf-mlm:PATH, tiny-mlm")
        return model

    def task(self, registry: Registry, spec: str, part: str) -> Any:
        """Return the task of a source with the samples that this training may see.

        Args:
            registry: Where it is looked up.
            spec: Which.
            part: ``train`` or ``dev``.

        Raises:
            UserError: It has no such samples.
        """
        call = parse_call(spec)
        entry, where = registry.find("task", call.name), f"source {spec}"
        takes = entry.takes()
        if entry.card.capability != "masked" or not {"part", "k", "seed"} <= set(takes):
            raise UserError("it has no samples for prompt-based finetuning", where=where, todo="name prompt-sst2, ...")
        given = entry.bind(call, seed=self.seed)
        return entry.factory()(**{**given, "part": part, "k": self.k, "seed": self.seed})

    def _freeze(self, network: Any) -> None:
        parts = [part for part in self.learns.split("/") if part]
        learns = [name for name, _ in network.named_parameters() if not parts or any(part in name for part in parts)]
        if not learns:
            raise UserError(f"no parameter has {self.learns!r} in its name", where="learns", todo="name others")
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in learns)


class PromptFT(PromptRecipe):
    """Prompt-based finetuning on the k samples of a task; the best weights on as many others are kept."""

    name = "prompt-ft"
    in_turn = True
    batch: int = Field(2, ge=1)
    """Examples in a step."""


class MultitaskPromptFT(PromptRecipe):
    """Multitask prompt-based finetuning: each example of a step is drawn from a task drawn from the sources."""

    name = "multitask-prompt-ft"
    in_turn = False
    batch: int = Field(10, ge=1)
    """Examples in a step."""
    target: str = ""
    """The prompt task that sources are selected for, by Algorithm 1; all sources are trained on, if it is empty."""
    encoder: str = ""
    """The masked language model whose features decide that; the base, if it is empty."""
    threshold: float = Field(0.01, ge=0)
    """How much each further source must raise the coverage, as a share."""

    def chosen(self, registry: Registry, tasks: dict[str, Any], out: Path) -> dict[str, Any]:
        """Return the sources that are selected, and write ``out/selection.json``: all of them, by similarity.

        A source's features are the states of the first token, with the right label word at the mask; sources are
        compared by the first principal component (dissertation A.6.4).
        """
        if not self.target:
            return tasks
        from ...harness.selection import Options, select

        encoder = self.model(registry, self.encoder or self.base)
        target = self.task(registry, self.target, "train")
        goal, *pool = (features(encoder, task) for task in (target, *tasks.values()))
        options = Options(similarity="component", threshold=self.threshold)
        found = select(goal, pool, options, list(tasks))
        specs = [list(tasks)[place] for place in found.order]
        rows = zip(specs, found.similarities.tolist(), found.coverages.tolist(), strict=True)
        told = [{"source": spec, "similarity": alike, "coverage": coverage} for spec, alike, coverage in rows]
        content = {"target": self.target, "selected": found.stop, "reason": found.reason, "sources": told}
        write_atomic(out / "selection.json", (json.dumps(content, indent=2) + "\n").encode())
        Lines(0).note(f"selected for {self.target}: {', '.join(specs[: found.stop])} ({found.reason})")
        return {spec: tasks[spec] for spec in specs[: found.stop]}


def features(encoder: Any, task: Any) -> FloatArray:
    """Return the features of a prompt task's samples, float32 [n, width]."""
    prompts = [task.inputs[sample.inputs[0]].load() for sample in task.samples]
    found: FloatArray = encoder.first_states(prompts, [sample.target for sample in task.samples])
    return found


prompt_ft = command(PromptFT, PromptFT.name, PromptFT.finetune)
multitask_prompt_ft = command(MultitaskPromptFT, MultitaskPromptFT.name, MultitaskPromptFT.finetune)
