"""``adaptbench train prompt-ft|multitask-prompt-ft``: prompt-based finetuning of masked language models (A.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...harness.errors import UserError
from ...harness.methods import Seed  # noqa: TC001 - pydantic reads it
from ...harness.plugins import load_plugins
from ...harness.progress import Lines
from ...harness.specs import parse_call
from .commands import command
from .finetune import Data, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ...harness.contracts import FloatArray
    from .loop import Loop
    from .masked import Draws
    from .trainee import Trainee


class PromptRecipe(Recipe):
    """What both recipes are asked. The defaults are those of the dissertation's experiments."""

    capability = "masked"
    uses = ("encode", "padded")
    lacks = "it fills no masks"
    wanted = "a masked language model: hf-mlm:PATH, tiny-mlm"
    in_turn: ClassVar[bool]
    """Go through all examples again and again, and validate; else draw a task, then one of its examples."""
    batch: int

    base: str
    """The model spec of the masked language model to begin with, such as hf-mlm:FacebookAI/roberta-large."""
    source: str
    """The prompt tasks to train on, such as prompt-sst2; several are separated by a semicolon."""
    k: int = Field(16, ge=1)
    """Examples of each class."""
    steps: int = Field(1000, ge=1)
    """Steps of the optimizer, AdamW."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """What becomes of the learning rate."""
    learns: str = ""
    """Parts of the names of the parameters that learn, separated by a slash, such as bias/LayerNorm; all, if empty."""
    save_every: int = Field(100, ge=1)
    """Steps between two checkpoints, and between two validations."""
    seed: Seed = 13
    """The seed of the samples, as the tasks take it, and of the order."""

    def asked(self) -> dict[str, Any]:
        """Return the options; those of an adapter only if there is one, as in trainings that knew of none."""
        adapter = {} if self.lora_r else {"lora_r", "lora_alpha", "lora_targets"}
        return {name: value for name, value in super().asked().items() if name not in adapter}

    def data(self, model: Any, out: Path) -> Data:
        """Return the samples to train on, and as many for development."""
        if self.lora_r and self.learns:
            raise UserError("an adapter learns alone", where="learns", todo="leave learns or lora_r out")
        sources, selection = self.chosen(model, {spec: self.task(spec, "train") for spec in self.specs()})
        held_out = {spec: self.task(spec, "dev") for spec in sources} if self.in_turn else {}
        shown, seen = sum(len(task.samples) for task in sources.values()), self.steps * self.batch
        budget = f"{shown} examples, {self.steps:,} steps of {self.batch} = {seen:,} examples seen"
        return Data(sources, held_out, budget, out, selection=selection)

    def chosen(
        self,
        model: Any,  # noqa: ARG002 - for subclasses
        tasks: Mapping[str, Any],
    ) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
        """Return those of the sources that are trained on, all, and how they were selected."""
        return tasks, None

    def task(self, spec: str, part: str) -> Any:
        """Return the task of a source with the samples that this training may see.

        Args:
            spec: Of the source.
            part: ``train`` or ``dev``.

        Raises:
            UserError: It has no such samples.
        """
        call = parse_call(spec)
        entry, where = load_plugins().registry.find("task", call.name), f"source {spec}"
        if entry.card.capability != "masked" or not {"part", "k", "seed"} <= set(entry.takes()):
            raise UserError("it has no samples for prompt-based finetuning", where=where, todo="name prompt-sst2, ...")
        given = entry.bind(call, seed=self.seed)
        return entry.factory()(**{**given, "part": part, "k": self.k, "seed": self.seed})

    def batches(self, tuned: Any, data: Data) -> Draws:
        """Return examples of the sources: in turn, or drawn."""
        from .masked import Draws, show

        shown = [show(tuned, task) for task in data.sources.values()]
        return Draws(tuned, shown, self.steps, self.batch, self.seed, epochs=self.in_turn)

    def trainee(self, tuned: Any, data: Data, batches: Draws) -> Trainee:  # noqa: ARG002 - for subclasses
        """Return the model, of which learns what ``learns`` says."""
        from .masked import Masked

        parts = [part for part in self.learns.split("/") if part]
        named = dict(tuned.network.named_parameters()) if parts else {}
        learning = {name for name in named if any(part in name for part in parts)}
        if parts and not learning:
            raise UserError(f"no parameter has {self.learns!r} in its name", where="learns", todo="name others")
        for name, parameter in named.items():
            parameter.requires_grad_(name in learning)
        return Masked(tuned.module)

    def loop(self, batches: Draws) -> Loop:
        """Return how it is trained."""
        from .loop import Loop

        return Loop(
            steps=len(batches), rate=self.rate, optimizer="adamw", schedule=self.schedule, clip=1.0,
            save_every=self.save_every, validate_every=self.save_every, seed=self.seed,
        )  # fmt: skip

    def validation(self, tuned: Any, data: Data, trainee: Any) -> Callable[[], float]:
        """Return what computes the tasks' own metrics on the samples for development; of several tasks, the mean."""
        from .masked import show
        from .sources import value

        shown = [(task, show(tuned, task)) for task in data.held_out.values()]
        return lambda: float(np.mean([value(task, trainee.outputs(tuned, examples)) for task, examples in shown]))


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

    def chosen(self, model: Any, tasks: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
        """Return the sources that are selected, and all of them by similarity.

        A source's features are the states of the first token, with the right label word at the mask; sources are
        compared by the first principal component (dissertation A.6.4).
        """
        if not self.target:
            return tasks, None
        from ...harness.selection import Options, select

        encoder = self.load(self.encoder) if self.encoder else model
        goal, *pool = (features(encoder, task) for task in (self.task(self.target, "train"), *tasks.values()))
        found = select(goal, pool, Options(similarity="component", threshold=self.threshold), list(tasks))
        specs = [list(tasks)[place] for place in found.order]
        rows = zip(specs, found.similarities.tolist(), found.coverages.tolist(), strict=True)
        told = [{"source": spec, "similarity": alike, "coverage": coverage} for spec, alike, coverage in rows]
        Lines(0).note(f"selected for {self.target}: {', '.join(specs[: found.stop])} ({found.reason})")
        selection = {"target": self.target, "selected": found.stop, "reason": found.reason, "sources": told}
        return {spec: tasks[spec] for spec in specs[: found.stop]}, selection


def features(encoder: Any, task: Any) -> FloatArray:
    """Return the features of a prompt task's samples, float32 [n, width]."""
    prompts = [task.inputs[sample.inputs[0]].load() for sample in task.samples]
    found: FloatArray = encoder.first_states(prompts, [sample.target for sample in task.samples])
    return found


prompt_ft, multitask_prompt_ft = (command(kind) for kind in (PromptFT, MultitaskPromptFT))
