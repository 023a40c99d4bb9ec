"""Finetuned models: a base with what a training of chapter 3 made of its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from ...harness.abilities import ShipsCheckpoints
from ...harness.errors import MissingArgument, UserError
from ...harness.methods import Method
from . import checkpoints

if TYPE_CHECKING:
    from ...harness.measure.work import Work


class FromCheckpoint(Method):
    """A method that a training made, of the recipe with its name."""

    name: ClassVar[str]

    checkpoint: str = "auto"
    """The folder DIR/model of a training, or a name under which the model ships one; auto is the usual one."""

    def for_base(self, factory: object) -> Self:
        """Return the method with the checkpoint that ships for the base under the name given."""
        every = factory.checkpoints if isinstance(factory, ShipsCheckpoints) else {}
        shipped = every.get(self.name, {})
        if self.checkpoint == "auto" and "auto" not in shipped:
            todo = f"train one: adaptbench train {self.name} --base ... --source ... --out DIR"
            raise MissingArgument("it needs a checkpoint", where=f"method {self.name}", todo=todo)
        found = self.model_copy(update={"checkpoint": shipped.get(self.checkpoint, self.checkpoint)})
        found.refuse_another()
        return found

    def refuse_another(self) -> None:
        """Refuse a folder that holds no checkpoint, or that of another method."""
        where = f"method {self.name}"
        made_by = checkpoints.read_card(self.checkpoint, where).get("method")
        if made_by != self.name:
            raise UserError(f"{self.checkpoint} is of {made_by}", where=where, todo=f"write {made_by} instead")

    def fingerprint(self) -> str:
        """Identify the weights."""
        return checkpoints.fingerprint(self.checkpoint)


class Finetuned(FromCheckpoint):
    """Other weights, which cost the same; each recipe but CoCoOp's has a method of this kind, under its own name."""

    stage = "weights"

    def apply(self, model: Any) -> Any:
        """Return the model with the weights of the checkpoint."""
        self.refuse_another()
        return model.with_network(checkpoints.finetuned(model.network, self.checkpoint, f"method {self.name}"))

    def leaves(self, work: Work) -> Work:
        """Return the work as it is: an adapter is merged."""
        return work


class CoCoOp(FromCheckpoint):
    """Prompts whose first words are learned, and shifted by the image.

    Texts are embedded anew for each image, so what it costs depends on the number of classes, and is measured.
    """

    name = "cocoop"

    def apply(self, model: Any) -> Any:
        """Return the model with the prompts of the checkpoint."""
        from .cocoop import CoCoOpModel, new_context

        where = f"method {self.name}"
        self.refuse_another()
        checkpoints.check_base(model.network, self.checkpoint, where)
        recipe = checkpoints.read_card(self.checkpoint, where).get("recipe")
        words = recipe.get("context") if isinstance(recipe, dict) else None
        if not isinstance(words, str):
            raise UserError(f"{self.checkpoint} does not say how it was made", where=where, todo="train again")
        context = new_context(model, words, seed=0)
        checkpoints.loaded(context, self.checkpoint, where)
        return CoCoOpModel(model, context, words)


def made_by(recipe: str) -> type[Finetuned]:
    """Return the method that puts on a base what a recipe made of it."""
    told = {"__module__": __name__, "__doc__": f"A base with the weights that `train {recipe}` made of its own."}
    return type(recipe, (Finetuned,), {**told, "name": recipe})


multitask_ft, standard_ft, lp_ft, maml = map(made_by, ("multitask-ft", "standard-ft", "lp-ft", "maml"))
locked_text_ft, contrastive_ft = map(made_by, ("locked-text-ft", "contrastive-ft"))
prompt_ft, multitask_prompt_ft = map(made_by, ("prompt-ft", "multitask-prompt-ft"))
cocoop = CoCoOp
