"""``adaptbench train locked-text-ft|contrastive-ft|cocoop``: finetuning of models of images and texts (A.7).

Sources are zero-shot tasks. Zero-shot classification by the base, untrained, is what they are compared with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...harness.errors import UserError
from .commands import command
from .recipes import ImageRecipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from .batches import Steps
    from .contrastive import Loss
    from .finetune import Data
    from .trainee import Trainee


class DualRecipe(ImageRecipe):
    """What the recipes for models of images and texts are asked."""

    capability = "dual"
    uses = ("tokenise", "text_features")
    lacks = "it embeds no texts"
    wanted = "a CLIP or a SigLIP: hf-dual:PATH"

    shots: ClassVar[int] = 0  # type: ignore[misc]  # no option: texts stand for the support
    ways: int = Field(50, ge=2)
    """Classes of a task."""
    queries: int = Field(1, ge=1)
    """Images of each class."""

    def data(self, model: Any, out: Path) -> Data:
        """Return the sources, whose classes have names, and what they are validated on."""
        from .named_classes import classes_of

        data = super().data(model, out)
        classes_of(data.sources)
        for spec, task in data.held_out.items():
            classes_of({spec: task})
        return data

    def validation(self, tuned: Any, data: Data, trainee: Any) -> Callable[[], float]:
        """Return what scores the model by the texts of classes."""
        from .named_classes import NamedValidation

        [task] = data.held_out.values()
        score = NamedValidation(task, tuned, data.out / "val-images")
        return lambda: score(self.answering(tuned, trainee))

    def answering(self, tuned: Any, trainee: Any) -> Any:  # noqa: ARG002 - for subclasses
        """Return the model as it is, to be validated."""
        return tuned


class LockedTextFT(DualRecipe):
    """Locked-text tuning: the image side learns, by cross-entropy among text centroids."""

    name = "locked-text-ft"
    among: Literal["task", "all"] = "task"
    """Whether an image is classified among the classes of its task, or all."""

    def trainee(self, tuned: Any, data: Data, batches: Steps) -> Trainee:
        """Return the image side and the centroids."""
        from .locked_text import LockedText, freeze_unreached
        from .named_classes import centroids, classes_of

        tasks = batches.tasks
        freeze_unreached(tuned.module, {name: part[:1] for name, part in tasks.images.inputs.items()})
        shape = tasks.shape if self.among == "task" else None
        return LockedText(tuned.module, scale(tuned), centroids(tuned, classes_of(data.sources)), shape)


class ContrastiveFT(DualRecipe):
    """Contrastive finetuning: both encoders learn, by the loss of their pretraining."""

    name = "contrastive-ft"
    loss: Literal["auto", "softmax", "sigmoid"] = "auto"
    """CLIP's softmax or SigLIP's sigmoid; auto is sigmoid for a model whose logits have a bias."""

    def batches(self, tuned: Any, data: Data) -> Steps:
        """Return the steps, which draw a template for each image."""
        from .named_classes import PromptedSteps, classes_of

        tasks, templates = super().batches(tuned, data).tasks, classes_of(data.sources).templates
        return PromptedSteps(tasks, self.epochs, self.tasks_per_step, self.seed, len(templates))

    def trainee(self, tuned: Any, data: Data, batches: Steps) -> Trainee:
        """Return both sides."""
        from .contrastive import Contrastive
        from .named_classes import classes_of

        scale(tuned)
        own: Loss = "sigmoid" if hasattr(tuned.network, "logit_bias") else "softmax"
        classes = classes_of(data.sources)
        rows = (len(classes.names), len(classes.templates))
        tokens = {name: part.unflatten(0, rows) for name, part in tuned.tokenise(classes.texts).items()}
        return Contrastive(tuned, tokens, batches.tasks.shape, own if self.loss == "auto" else self.loss)


class CoCoOp(DualRecipe):
    """CoCoOp: the context of prompts learns, and a net that shifts it by the image; the model stays as it is."""

    name = "cocoop"
    lora_r: ClassVar[int] = 0  # type: ignore[misc]  # no options: no weights of the model are trained
    lora_alpha: ClassVar[None] = None  # type: ignore[misc]
    lora_targets: ClassVar[str] = ""  # type: ignore[misc]
    ways: int = Field(5, ge=2)
    """Classes of a task."""
    epochs: int = Field(20, ge=1)
    """How often each task is seen."""
    rate: float = Field(0.002, gt=0)
    """Learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """What becomes of the learning rate after the warm-up."""
    warmup: float = Field(0.05, ge=0, le=1)
    """Share of the steps in which the learning rate rises: one epoch of twenty."""
    context: str = "a photo of a"
    """Words whose embeddings the context begins as; it has as many vectors as they have tokens."""
    among: Literal["task", "all"] = "task"
    """Whether an image is classified among the classes of its task (multitask CoCoOp), or all (CoCoOp)."""

    def trainee(self, tuned: Any, data: Data, batches: Steps) -> Trainee:
        """Return a context for the classes."""
        from .cocoop import CoCoOpTrainee, Prompts, Scorer, new_context
        from .named_classes import classes_of

        shape = batches.tasks.shape if self.among == "task" else None
        prompts = Prompts(tuned, self.context, classes_of(data.sources).names)
        return CoCoOpTrainee(Scorer(tuned, new_context(tuned, self.context, self.seed), prompts), scale(tuned), shape)

    def answering(self, tuned: Any, trainee: Any) -> Any:
        """Return the model with the context as it is."""
        from .cocoop import CoCoOpModel

        return CoCoOpModel(tuned, trainee.scorer.context, self.context)

    def learned(self, tuned: Any, trainee: Any) -> torch.nn.Module:  # noqa: ARG002 - the model stays as it is
        """Return the context."""
        context: torch.nn.Module = trainee.scorer.context
        return context


def scale(model: Any) -> float:
    """Return what a model multiplies its cosines with.

    Raises:
        UserError: Its architecture has no such scale.
    """
    found = getattr(model.network, "logit_scale", None)
    if found is None:
        raise UserError("its logits have no scale", where="base", todo="name a CLIP or a SigLIP")
    return float(found.detach().exp())


locked_text_ft, contrastive_ft, cocoop = (command(kind) for kind in (LockedTextFT, ContrastiveFT, CoCoOp))
