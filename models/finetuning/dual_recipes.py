"""``adaptbench train locked-text-ft|contrastive-ft|cocoop``: finetuning of models of images and texts (A.7).

Sources are zero-shot tasks. Zero-shot classification by the base, untrained, is what they are compared with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...harness.errors import UserError
from ...harness.progress import Lines
from . import checkpoints
from .asked import same
from .commands import command
from .recipes import Recipe, copied, encoder, tasks_of

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from .batches import Steps
    from .contrastive import Loss
    from .named_classes import Classes
    from .sources import Tasks
    from .trainee import Trainee


class DualRecipe(Recipe):
    """What the recipes for models of images and texts are asked."""

    shots: ClassVar[int] = 0  # type: ignore[misc]  # no option: texts stand for the support
    ways: int = Field(50, ge=2)
    """Classes of a task."""
    queries: int = Field(1, ge=1)
    """Images of each class."""

    def trained(self, model: Any, tasks: Tasks, classes: Classes) -> Trainee:
        """Return what is trained.

        Args:
            model: An `adapters.transformers_dual.HFDualEncoder`, to be trained in place.
            tasks: To train on.
            classes: Of the tasks.
        """
        raise NotImplementedError

    def steps(self, tasks: Tasks, classes: Classes) -> Steps:  # noqa: ARG002 - for subclasses
        """Return the steps of the training."""
        from .batches import Steps

        return Steps(tasks, self.epochs, self.tasks_per_step, self.seed)

    def answering(self, model: Any, trainee: Any) -> Any:  # noqa: ARG002 - for subclasses
        """Return the model as it is trained, to be validated."""
        return model

    def learned(self, model: Any, trainee: Any) -> torch.nn.Module:  # noqa: ARG002 - for subclasses
        """Return the module whose trained parameters are the result."""
        network: torch.nn.Module = model.network
        return network


class LockedTextFT(DualRecipe):
    """Locked-text tuning: the image side learns, by cross-entropy among text centroids."""

    name = "locked-text-ft"
    among: Literal["task", "all"] = "task"
    """Whether an image is classified among the classes of its task, or all."""

    def trained(self, model: Any, tasks: Tasks, classes: Classes) -> Trainee:
        """Return the image side and the centroids."""
        from .locked_text import LockedText, freeze_unreached
        from .named_classes import centroids

        first = {name: part[:1] for name, part in tasks.images.inputs.items()}
        freeze_unreached(model.module, first)
        shape = tasks.shape if self.among == "task" else None
        return LockedText(model.module, scale(model), centroids(model, classes), shape)


class ContrastiveFT(DualRecipe):
    """Contrastive finetuning: both encoders learn, by the loss of their pretraining."""

    name = "contrastive-ft"
    loss: Literal["auto", "softmax", "sigmoid"] = "auto"
    """CLIP's softmax or SigLIP's sigmoid; auto is sigmoid for a model whose logits have a bias."""

    def trained(self, model: Any, tasks: Tasks, classes: Classes) -> Trainee:
        """Return both sides."""
        from .contrastive import Contrastive

        scale(model)
        own: Loss = "sigmoid" if hasattr(model.network, "logit_bias") else "softmax"
        rows = (len(classes.names), len(classes.templates))
        tokens = {name: part.unflatten(0, rows) for name, part in model.tokenise(classes.texts).items()}
        return Contrastive(model, tokens, tasks.shape, own if self.loss == "auto" else self.loss)

    def steps(self, tasks: Tasks, classes: Classes) -> Steps:
        """Return the steps, which draw a template for each image."""
        from .named_classes import PromptedSteps

        return PromptedSteps(tasks, self.epochs, self.tasks_per_step, self.seed, len(classes.templates))


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

    def trained(self, model: Any, tasks: Tasks, classes: Classes) -> Trainee:
        """Return a context for the classes."""
        from .cocoop import CoCoOpTrainee, Prompts, Scorer, new_context

        shape = tasks.shape if self.among == "task" else None
        prompts = Prompts(model, self.context, classes.names)
        return CoCoOpTrainee(Scorer(model, new_context(model, self.context, self.seed), prompts), scale(model), shape)

    def answering(self, model: Any, trainee: Any) -> Any:
        """Return the model with the context as it is."""
        from .cocoop import CoCoOpModel

        return CoCoOpModel(model, trainee.scorer.context, self.context)

    def learned(self, model: Any, trainee: Any) -> torch.nn.Module:  # noqa: ARG002 - the model stays as it is
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


def finetune(recipe: DualRecipe, out: Path) -> None:
    """Train, or go on training, and write ``out/model``, as `recipes.finetune` does.

    Raises:
        UserError: As there; or the base embeds no texts, or a source names no classes.
    """
    import torch

    from ...adapters.transformers_dual import HFDualEncoder
    from .batches import Budget
    from .loop import fit, leads
    from .named_classes import NamedValidation, classes_of
    from .sources import gather, shape_of

    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    model = encoder(recipe)
    if not isinstance(model, HFDualEncoder):
        raise UserError("it embeds no texts", where=f"base {recipe.base}", todo="name a CLIP or a SigLIP: hf-dual:PATH")
    tuned, adapter = copied(model, recipe)
    sources, held_out = tasks_of(recipe)
    classes = classes_of(sources)
    for spec, task in held_out.items():
        classes_of({spec: task})
    shown = sum(len(task.manifest.query) for task in sources.values())
    budget = Budget(shown, shape_of(sources).images, recipe.epochs)
    weights = checkpoints.weights_digest(model.network)
    asked = recipe.model_dump(exclude={"save_every", "threads"})
    same(out, {"method": recipe.name, **asked, "weights": weights, "budget": str(budget)})
    # What it is validated on may be asked among all classes, and then has no episodes to tell it by.
    same(out, {spec: task.manifest.digest for spec, task in sources.items()}, "tasks.json")
    Lines(0).note(str(budget))
    if (out / "model" / checkpoints.CARD).exists():
        return
    tasks = gather(sources, model, out / "images")
    steps = recipe.steps(tasks, classes)
    steps.check(budget)
    trainee = recipe.trained(tuned, tasks, classes)
    scored = [NamedValidation(task, model, out / "val-images") for task in held_out.values()]
    validate = (lambda: scored[0](recipe.answering(tuned, trainee))) if scored else None
    fit(trainee, steps, recipe.loop(steps), out, validate)
    if leads():
        made = {"base": recipe.base, "weights": weights, "budget": str(budget), "recipe": asked}
        card = {"method": recipe.name, **made}
        half = recipe.store == "float16"
        checkpoints.write(out / "model", recipe.learned(tuned, trainee), card, half=half, adapter=adapter)


locked_text_ft, contrastive_ft, cocoop = (
    command(kind, kind.name, finetune) for kind in (LockedTextFT, ContrastiveFT, CoCoOp)
)
