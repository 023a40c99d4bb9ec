"""``adaptbench train multitask-ft|standard-ft|lp-ft|maml``: finetuning as in chapter 3, on any encoder of images.

All recipes see the same images: M tasks of ways x (shots + queries) of them, each in every epoch once. What they are
compared with, direct adaptation, is the base itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...harness.abilities import HasNetwork, Traceable
from ...harness.errors import UserError
from ...harness.identity import BoundModel
from ...harness.methods import Seed
from ...harness.planned_models import plan_model
from ...harness.plugins import load_plugins
from ...harness.progress import Lines
from ...harness.specs import parse
from .asked import same
from .commands import command

if TYPE_CHECKING:
    import torch

    from .batches import Steps
    from .loop import Loop
    from .sources import FewShotTask, Tasks
    from .trainee import Trainee


class Recipe(BaseModel):
    """What every recipe is asked. The defaults are the dissertation's (section 3.4 and A.5)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
    name: ClassVar[str]

    base: str
    """The model spec of the encoder to begin with, such as vit-glyphs."""
    source: str
    """The few-shot tasks to train on, such as glyphs(split=base); several are separated by a semicolon."""
    val: str = ""
    """The few-shot tasks, of other classes, whose best score decides which weights are kept."""
    tasks: int = Field(200, ge=1)
    """How many distinct tasks there are, M; several sources share them."""
    epochs: int = Field(10, ge=1)
    """How often each task is seen."""
    ways: int = Field(15, ge=2)
    """Classes of a task."""
    shots: int = Field(1, ge=1)
    """Support images of each class."""
    queries: int = Field(9, ge=1)
    """Query images of each class."""
    classes: int | None = Field(None, ge=2)
    """How many classes of a source take part; all, if it is not given."""
    tasks_per_step: int = Field(1, ge=1)
    """Tasks whose mean loss makes a step."""
    rate: float = Field(1e-5, gt=0)
    """Learning rate."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Which optimizer takes the steps."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of sgd."""
    decay: float = Field(0.0, ge=0)
    """Weight decay."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What becomes of the learning rate after the warm-up."""
    warmup: float = Field(0.0, ge=0, le=1)
    """Share of the steps in which the learning rate rises."""
    lora_r: int = Field(0, ge=0)
    """Rank of a LoRA adapter, which is trained instead of the weights; 0 for none."""
    lora_alpha: int | None = Field(None, ge=1)
    """The adapter is scaled by lora_alpha / lora_r; twice the rank, if it is not given."""
    lora_targets: str = "all-linear"
    """Ends of the names of the layers that are adapted, separated by a slash."""
    store: Literal["float32", "float16"] = "float32"
    """Numbers that the trained weights are written in."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Numbers to compute in."""
    save_every: int = Field(1, ge=1)
    """Epochs between two checkpoints."""
    seed: Seed = 0
    """The seed of the tasks, their order, and whatever is drawn."""
    threads: int = Field(0, ge=0)
    """Processor cores to use; 0 for all."""

    def trainee(self, encoder: torch.nn.Module, tasks: Tasks, out: Path) -> Trainee:
        """Return what is trained.

        Args:
            encoder: Inputs -> embeddings [n, d].
            tasks: To train on.
            out: Folder of the training.
        """
        raise NotImplementedError

    def loop(self, steps: Steps) -> Loop:
        """Return how it is trained; every epoch ends with a validation and a line of the log."""
        from .loop import Loop

        return Loop(
            steps=len(steps),
            rate=self.rate,
            optimizer=self.optimizer,
            momentum=self.momentum,
            decay=self.decay,
            schedule=self.schedule,
            warmup=self.warmup,
            precision=self.precision,
            save_every=self.save_every * steps.per_epoch,
            log_every=steps.per_epoch,
            validate_every=steps.per_epoch,
            seed=self.seed,
        )


class MultitaskFT(Recipe):
    """Multitask finetuning: every task is solved by the nearest centroid (Algorithm 2)."""

    name = "multitask-ft"
    temperature: float = Field(10.0, gt=0)
    """Factor of the cosines to begin with; it is learned."""

    def trainee(self, encoder: torch.nn.Module, tasks: Tasks, out: Path) -> Trainee:  # noqa: ARG002 - needs no folder
        """Return encoder and temperature."""
        from .multitask import Multitask

        return Multitask(encoder, tasks.shape, self.temperature)


class StandardFT(Recipe):
    """Standard finetuning: one head over all classes of the sources, dropped afterwards."""

    name = "standard-ft"
    head_rate: float | None = Field(None, gt=0)
    """Learning rate of the head; that of the encoder, if it is not given."""

    def trainee(self, encoder: torch.nn.Module, tasks: Tasks, out: Path) -> Trainee:  # noqa: ARG002 - for subclasses
        """Return encoder and head."""
        from .standard import Standard, new_head

        return Standard(encoder, new_head(encoder, tasks, self.seed))

    def loop(self, steps: Steps) -> Loop:
        """Return how it is trained."""
        from dataclasses import replace

        from .standard import HEAD

        return replace(super().loop(steps), rates={} if self.head_rate is None else {HEAD: self.head_rate})


class LpFT(StandardFT):
    """Linear probing, then finetuning: the head learns alone on frozen features, then everything does."""

    name = "lp-ft"
    probe_epochs: int = Field(10, ge=1)
    """Epochs of the head alone, over the same tasks."""
    probe_rate: float = Field(1.0, gt=0)
    """Learning rate of the head alone, by sgd with momentum 0.9."""

    def trainee(self, encoder: torch.nn.Module, tasks: Tasks, out: Path) -> Trainee:
        """Return encoder and probed head."""
        from .batches import Steps
        from .loop import Loop, fit
        from .standard import Standard, Vectors, features, new_head

        steps = Steps(features(encoder, tasks), self.probe_epochs, self.tasks_per_step, self.seed)
        head = new_head(encoder, tasks, self.seed)
        probe = Standard(Vectors(), head)
        save_every = self.save_every * steps.per_epoch
        loop = Loop(len(steps), self.probe_rate, save_every=save_every, log_every=steps.per_epoch, seed=self.seed)
        fit(probe, steps, loop, out / "probe")
        return Standard(encoder, head)


class Maml(Recipe):
    """First-order MAML: weights that few steps on the support of a task make good."""

    name = "maml"
    inner_steps: int = Field(5, ge=1)
    """Steps of sgd on the support of each task."""
    inner_rate: float = Field(0.01, gt=0)
    """Their learning rate."""

    def trainee(self, encoder: torch.nn.Module, tasks: Tasks, out: Path) -> Trainee:  # noqa: ARG002 - needs no folder
        """Return the encoder."""
        from .maml import Maml

        return Maml(encoder, tasks.shape, self.inner_steps, self.inner_rate)


def finetune(recipe: Recipe, out: Path) -> None:
    """Train, or go on training, and write ``out/model``; what was done before is not done again.

    Args:
        recipe: What is asked for.
        out: Folder of the checkpoints, ``log.jsonl``, ``recipe.json``, ``tasks.json`` and ``model``.

    Raises:
        UserError: The base cannot be trained, a source is not a few-shot task or has too few classes or images, a loss
            is not finite, or ``out`` holds another training.
    """
    import torch

    from . import checkpoints
    from .batches import Budget, Steps
    from .loop import fit, leads
    from .sources import Validation, gather, shape_of

    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    model = encoder(recipe)
    tuned, adapter = copied(model, recipe)
    sources, held_out = tasks_of(recipe)
    shown = sum(len(task.manifest.support) for task in sources.values())
    budget = Budget(shown, shape_of(sources).images, recipe.epochs)
    asked = recipe.model_dump(exclude={"save_every", "threads"})
    weights = checkpoints.weights_digest(model.network)
    same(out, {"method": recipe.name, **asked, "weights": weights, "budget": str(budget)})
    same(out, {spec: task.manifest.digest for spec, task in {**sources, **held_out}.items()}, "tasks.json")
    Lines(0).note(str(budget))
    if (out / "model" / checkpoints.CARD).exists():
        return
    tasks = gather(sources, model, out / "images")
    steps = Steps(tasks, recipe.epochs, recipe.tasks_per_step, recipe.seed)
    steps.check(budget)
    scored = [Validation(task, model, out / "val-images") for task in held_out.values()]
    fit(
        recipe.trainee(tuned.module, tasks, out),
        steps,
        recipe.loop(steps),
        out,
        (lambda: scored[0](tuned.module)) if scored else None,
    )
    half = recipe.store == "float16"
    if leads():
        made = {"base": recipe.base, "weights": weights, "budget": str(budget), "recipe": asked}
        checkpoints.write(out / "model", tuned.network, {"method": recipe.name, **made}, half=half, adapter=adapter)


def encoder(recipe: Recipe) -> Any:
    """Load the base, whose weights can be trained."""
    planned = plan_model(load_plugins().registry, parse(recipe.base))
    where = f"base {recipe.base}"
    if "embed" not in planned.card.capabilities:
        raise UserError("it embeds no images", where=where, todo="name an encoder: vit-glyphs, hf:PATH")
    model = BoundModel(planned, planned.bind(seed=recipe.seed, device="cpu")).load()
    if not (isinstance(model, HasNetwork) and isinstance(model, Traceable)):
        raise UserError("it has no network to train", where=where, todo="name one: vit-glyphs, hf:PATH")
    return model


def tasks_of(recipe: Recipe) -> tuple[dict[str, FewShotTask], dict[str, FewShotTask]]:
    """The sources, and what they are validated on, by their specs."""
    from .sources import read

    specs = [spec.strip() for spec in recipe.source.split(";")]
    if len(set(specs)) < len(specs):
        raise UserError("a source is given twice", where=recipe.source, todo="give it once")
    shape = {"ways": recipe.ways, "shots": recipe.shots, "queries": recipe.queries, "seed": recipe.seed}
    shares = [recipe.tasks // len(specs) + (place < recipe.tasks % len(specs)) for place in range(len(specs))]
    if not all(shares):
        raise UserError(f"{recipe.tasks} tasks for {len(specs)} sources", where="tasks", todo="ask for more tasks")
    sources = {
        spec: read(spec, "source", **shape, classes=recipe.classes, episodes=share)
        for spec, share in zip(specs, shares, strict=True)
    }
    for spec, task in sources.items():
        if recipe.shots and not task.manifest.support.shape[2]:
            raise UserError(f"{spec} has no support images", where="source", todo="name a few-shot task")
    return sources, {recipe.val: read(recipe.val, "val", seed=recipe.seed)} if recipe.val else {}


def copied(model: Any, recipe: Recipe) -> tuple[Any, Any]:
    """A copy of the base to train, and the adapter if one is trained in its place."""
    import copy

    import torch
    from PIL import Image

    from . import checkpoints

    torch.manual_seed(recipe.seed)
    tuned, adapter = model.with_network(copy.deepcopy(model.network)), None
    if recipe.lora_r:
        alpha = recipe.lora_alpha or 2 * recipe.lora_r
        adapter = checkpoints.add_adapter(tuned.network, recipe.lora_r, alpha, recipe.lora_targets)
    if not tuned.module(**model.prepare([Image.new("RGB", (32, 32))])).requires_grad:
        raise UserError("no gradient reaches its weights", where=f"base {recipe.base}", todo="name another encoder")
    tuned.module.to("cuda" if torch.cuda.is_available() else "cpu")
    return tuned, adapter


multitask_ft, standard_ft, lp_ft, maml = (
    command(kind, kind.name, finetune) for kind in (MultitaskFT, StandardFT, LpFT, Maml)
)
