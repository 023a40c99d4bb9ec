"""``adaptbench train multitask-ft|standard-ft|lp-ft|maml``: finetuning as in chapter 3, on any encoder of images.

All recipes see the same images: M tasks of ways x (shots + queries) of them, each in every epoch once. What they are
compared with, direct adaptation, is the base itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ...harness.errors import UserError
from .commands import command
from .finetune import Data, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .batches import Steps
    from .loop import Loop
    from .trainee import Trainee


class ImageRecipe(Recipe):
    """What every recipe for encoders of images is asked. The defaults are the dissertation's (section 3.4 and A.5)."""

    capability = "embed"
    lacks = "it embeds no images"
    wanted = "an encoder: vit-glyphs, hf:PATH"

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
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Numbers to compute in."""
    save_every: int = Field(1, ge=1)
    """Epochs between two checkpoints."""

    def data(self, model: Any, out: Path) -> Data:  # noqa: ARG002 - the same for every model
        """Return the sources, which share the tasks, and what they are validated on."""
        from .batches import Budget
        from .sources import read, shape_of

        specs = self.specs()
        if self.tasks < len(specs):
            raise UserError(f"{self.tasks} tasks for {len(specs)} sources", where="tasks", todo="ask for more tasks")
        asked = {name: getattr(self, name) for name in ("ways", "shots", "queries", "classes", "seed")}
        shares = [self.tasks // len(specs) + (place < self.tasks % len(specs)) for place in range(len(specs))]
        sources = {
            spec: read(spec, "source", **asked, episodes=share) for spec, share in zip(specs, shares, strict=True)
        }
        for spec, task in sources.items():
            if self.shots and not task.manifest.support.shape[2]:
                raise UserError(f"{spec} has no support images", where="source", todo="name a few-shot task")
        held_out = {self.val: read(self.val, "val", seed=self.seed)} if self.val else {}
        shown = sum(len(task.manifest.query) for task in sources.values())
        budget = Budget(shown, shape_of(sources).images, self.epochs)
        return Data(sources, held_out, budget, out, {"budget": str(budget)})

    def batches(self, tuned: Any, data: Data) -> Steps:
        """Return the tasks of every step."""
        from .batches import Steps
        from .sources import gather

        tasks = gather(data.sources, tuned, data.out / "images")
        steps = Steps(tasks, self.epochs, self.tasks_per_step, self.seed)
        steps.check(data.budget)
        return steps

    def loop(self, batches: Steps) -> Loop:
        """Return how it is trained; every epoch ends with a validation and a line of the log."""
        from .loop import Loop

        return Loop(
            steps=len(batches),
            rate=self.rate,
            optimizer=self.optimizer,
            momentum=self.momentum,
            decay=self.decay,
            schedule=self.schedule,
            warmup=self.warmup,
            precision=self.precision,
            save_every=self.save_every * batches.per_epoch,
            log_every=batches.per_epoch,
            validate_every=batches.per_epoch,
            seed=self.seed,
        )

    def validation(self, tuned: Any, data: Data, trainee: Any) -> Callable[[], float]:  # noqa: ARG002 - for subclasses
        """Return what scores the encoder by the nearest centroid."""
        from .sources import Validation

        [task] = data.held_out.values()
        score = Validation(task, tuned, data.out / "val-images")
        return lambda: score(tuned.module)


class MultitaskFT(ImageRecipe):
    """Multitask finetuning: every task is solved by the nearest centroid (Algorithm 2)."""

    name = "multitask-ft"
    temperature: float = Field(10.0, gt=0)
    """Factor of the cosines to begin with; it is learned."""

    def trainee(self, tuned: Any, data: Data, batches: Steps) -> Trainee:  # noqa: ARG002 - for subclasses
        """Return encoder and temperature."""
        from .multitask import Multitask

        return Multitask(tuned.module, batches.tasks.shape, self.temperature)


class StandardFT(ImageRecipe):
    """Standard finetuning: one head over all classes of the sources, dropped afterwards."""

    name = "standard-ft"
    head_rate: float | None = Field(None, gt=0)
    """Learning rate of the head; that of the encoder, if it is not given."""

    def trainee(self, tuned: Any, data: Data, batches: Steps) -> Trainee:  # noqa: ARG002 - for subclasses
        """Return encoder and head."""
        from .standard import Standard, new_head

        return Standard(tuned.module, new_head(tuned.module, batches.tasks, self.seed))

    def loop(self, batches: Steps) -> Loop:
        """Return how it is trained."""
        from .standard import HEAD

        return replace(super().loop(batches), rates={} if self.head_rate is None else {HEAD: self.head_rate})


class LpFT(StandardFT):
    """Linear probing, then finetuning: the head learns alone on frozen features, then everything does."""

    name = "lp-ft"
    probe_epochs: int = Field(10, ge=1)
    """Epochs of the head alone, over the same tasks."""
    probe_rate: float = Field(1.0, gt=0)
    """Learning rate of the head alone, by sgd with momentum 0.9."""

    def trainee(self, tuned: Any, data: Data, batches: Steps) -> Trainee:
        """Return encoder and probed head."""
        from .batches import Steps
        from .loop import Loop, fit
        from .standard import Standard, Vectors, features, new_head

        encoder, tasks = tuned.module, batches.tasks
        steps = Steps(features(encoder, tasks), self.probe_epochs, self.tasks_per_step, self.seed)
        head = new_head(encoder, tasks, self.seed)
        save_every = self.save_every * steps.per_epoch
        loop = Loop(len(steps), self.probe_rate, save_every=save_every, log_every=steps.per_epoch, seed=self.seed)
        fit(Standard(Vectors(), head), steps, loop, data.out / "probe")
        return Standard(encoder, head)


class Maml(ImageRecipe):
    """First-order MAML: weights that few steps on the support of a task make good."""

    name = "maml"
    inner_steps: int = Field(5, ge=1)
    """Steps of sgd on the support of each task."""
    inner_rate: float = Field(0.01, gt=0)
    """Their learning rate."""

    def trainee(self, tuned: Any, data: Data, batches: Steps) -> Trainee:  # noqa: ARG002 - for subclasses
        """Return the encoder."""
        from .maml import Maml

        return Maml(tuned.module, batches.tasks.shape, self.inner_steps, self.inner_rate)


multitask_ft, standard_ft, lp_ft, maml = (command(kind) for kind in (MultitaskFT, StandardFT, LpFT, Maml))
