"""What every training of chapter 3 goes through: from what a recipe is asked to a checkpoint.

A recipe is a pydantic model. Its fields are the options of its command, its methods say what differs: which model it
takes, what it trains on, what learns and how, by what the best weights are chosen, and which of them are the result.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ...harness.abilities import HasNetwork, Traceable
from ...harness.errors import UserError
from ...harness.identity import BoundModel
from ...harness.methods import Seed
from ...harness.planned_models import plan_model
from ...harness.plugins import load_plugins
from ...harness.progress import Lines
from ...harness.samples import sample_digests, samples_digest
from ...harness.specs import parse
from ...harness.store.files import write_atomic
from .asked import same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    from .loop import Batches, Loop
    from .trainee import Trainee


class Data(NamedTuple):
    """What a recipe trains on.

    Attributes:
        sources: Spec -> task that is learned.
        held_out: Spec -> task whose score decides which weights are kept. If there is none, the last ones are.
        budget: How much is seen; its text is printed and kept.
        out: Folder of the training.
        noted: What ``recipe.json`` says besides the options.
        selection: How the sources were selected, if they were.
    """

    sources: Mapping[str, Any]
    held_out: Mapping[str, Any]
    budget: Any
    out: Path
    noted: Mapping[str, str] = {}
    selection: Mapping[str, Any] | None = None


class Recipe(BaseModel):
    """What every recipe is asked, and what it has to say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
    name: ClassVar[str]
    capability: ClassVar[str]
    """What its model must be able to do."""
    uses: ClassVar[tuple[str, ...]] = ()
    """What its model must have besides a network."""
    lacks: ClassVar[str]
    """What is said of a model that cannot do it."""
    wanted: ClassVar[str]
    """What to name in its place."""

    base: str
    """The model spec to begin with."""
    source: str
    """The tasks to train on; several are separated by a semicolon."""
    rate: float = Field(1e-5, gt=0)
    """Learning rate."""
    lora_r: int = Field(0, ge=0)
    """Rank of a LoRA adapter, which is trained instead of the weights; 0 for none."""
    lora_alpha: int | None = Field(None, ge=1)
    """The adapter is scaled by lora_alpha / lora_r; twice the rank, if it is not given."""
    lora_targets: str = "all-linear"
    """Ends of the names of the layers that are adapted, separated by a slash."""
    store: Literal["float32", "float16"] = "float32"
    """Numbers that the trained weights are written in."""
    seed: Seed = 0
    """The seed of whatever is drawn."""
    threads: int = Field(0, ge=0)
    """Processor cores to use; 0 for all."""

    def asked(self) -> dict[str, Any]:
        """Return the options that have an influence on the result."""
        return self.model_dump(exclude={"save_every", "threads"})

    def specs(self) -> list[str]:
        """Return the specs of the sources.

        Raises:
            UserError: One is given twice.
        """
        specs = [spec.strip() for spec in self.source.split(";")]
        if len(set(specs)) < len(specs):
            raise UserError("a source is given twice", where=self.source, todo="give it once")
        return specs

    def load(self, spec: str) -> Any:
        """Load a model that this recipe can train.

        Raises:
            UserError: It is something else.
        """
        planned, where = plan_model(load_plugins().registry, parse(spec)), f"model {spec}"
        if self.capability not in planned.card.capabilities:
            raise UserError(self.lacks, where=where, todo=f"name {self.wanted}")
        model = BoundModel(planned, planned.bind(seed=self.seed, device="cpu")).load()
        whole = isinstance(model, HasNetwork) and isinstance(model, Traceable)
        if not whole or not all(hasattr(model, name) for name in self.uses):
            raise UserError("it has no network to train", where=where, todo=f"name {self.wanted}")
        return model

    def data(self, model: Any, out: Path) -> Data:
        """Return what is trained on; nothing is written yet.

        Args:
            model: The base.
            out: Folder of the training.
        """
        raise NotImplementedError

    def batches(self, tuned: Any, data: Data) -> Batches:
        """Return the batches of all steps.

        Args:
            tuned: The model to be trained, in place.
            data: From `data`.
        """
        raise NotImplementedError

    def trainee(self, tuned: Any, data: Data, batches: Any) -> Trainee:
        """Return what is trained.

        Args:
            tuned: The model to be trained, in place.
            data: From `data`.
            batches: From `batches`.
        """
        raise NotImplementedError

    def loop(self, batches: Any) -> Loop:
        """Return how it is trained."""
        raise NotImplementedError

    def validation(self, tuned: Any, data: Data, trainee: Any) -> Callable[[], float]:
        """Return what scores the model as it is on ``data.held_out``, which is not empty."""
        raise NotImplementedError

    def learned(self, tuned: Any, trainee: Any) -> torch.nn.Module:  # noqa: ARG002 - for subclasses
        """Return the module whose trained parameters are the result."""
        network: torch.nn.Module = tuned.network
        return network


def finetune(recipe: Recipe, out: Path) -> None:
    """Train, or go on training, and write ``out/model``; what was done before is not done again.

    Args:
        recipe: What is asked for.
        out: Folder of the checkpoints, ``log.jsonl``, ``recipe.json``, ``tasks.json`` and ``model``.

    Raises:
        UserError: The base cannot be trained, a source does not suit it, a loss is not finite, or ``out`` holds another
            training.
    """
    import torch

    from . import checkpoints
    from .loop import fit, leads

    if recipe.threads:
        torch.set_num_threads(recipe.threads)

    # 1. The base, and what it is trained on.
    model = recipe.load(recipe.base)
    data = recipe.data(model, out)

    # 2. What is asked for. Another training in the same folder is refused; one that is finished stays as it is.
    asked, weights = recipe.asked(), checkpoints.weights_digest(model.network)
    same(out, {"method": recipe.name, **asked, "weights": weights, **data.noted})
    same(out, _digests(data), "tasks.json")
    if data.selection is not None:
        write_atomic(out / "selection.json", (json.dumps(data.selection, indent=2) + "\n").encode())
    Lines(0).note(str(data.budget))
    if (out / "model" / checkpoints.CARD).exists():
        return

    # 3. A copy of the base, the batches, and what learns of the copy.
    tuned, adapter = _copied(model, recipe, data)
    batches = recipe.batches(tuned, data)
    trainee = recipe.trainee(tuned, data, batches)
    validate = recipe.validation(tuned, data, trainee) if data.held_out else None

    # 4. The training, and its result with a card that says how it was made.
    fit(trainee, batches, recipe.loop(batches), out, validate)
    if leads():
        made = {"method": recipe.name, "base": recipe.base, "weights": weights, "budget": str(data.budget)}
        learned, half = recipe.learned(tuned, trainee), recipe.store == "float16"
        checkpoints.write(out / "model", learned, {**made, "recipe": asked}, half=half, adapter=adapter)


def _digests(data: Data) -> dict[str, str]:
    """What tells each task from others: its episodes if it has any, else its samples."""
    held_out = {f"{spec} (val)" if spec in data.sources else spec: task for spec, task in data.held_out.items()}
    return {spec: _digest(task) for spec, task in {**data.sources, **held_out}.items()}


def _digest(task: Any) -> str:
    manifest = getattr(task, "manifest", None)
    if manifest is not None:
        return str(manifest.digest)
    return samples_digest(task.samples, sample_digests(task, task.samples))


def _copied(model: Any, recipe: Recipe, data: Data) -> tuple[Any, Any]:
    """A copy of the base to train, and the adapter if one is trained in its place."""
    import torch

    from . import checkpoints

    torch.manual_seed(recipe.seed)
    tuned, adapter = model.with_network(copy.deepcopy(model.network)), None
    if recipe.lora_r:
        alpha = recipe.lora_alpha or 2 * recipe.lora_r
        adapter = checkpoints.add_adapter(tuned.network, recipe.lora_r, alpha, recipe.lora_targets)
    task = next(iter(data.sources.values()))
    shown = task.inputs[task.samples[0].inputs[0]].load()
    if not tuned.module(**model.prepare([shown])).requires_grad:
        todo = f"name {recipe.wanted}"
        raise UserError("no gradient reaches its weights", where=f"model {recipe.base}", todo=todo)
    tuned.module.to("cuda" if torch.cuda.is_available() else "cpu")
    return tuned, adapter
