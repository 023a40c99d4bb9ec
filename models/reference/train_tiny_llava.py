"""The recipe of ``tiny-llava``: a LLaVA of three million parameters, trained from nothing in LLaVA's stages.

    python -m adaptbench.tasks.multimodal.shapes_data --out data/shapes
    python -m adaptbench.models.reference.train_tiny_llava --data data/shapes --out runs/tiny-llava

1. ``tower``: every patch of the tower's last but one layer tells what its cell holds, and CLS of the last layer what is
   anywhere in the image. From then on the tower is frozen, as LLaVA's is.
2. ``captions``: projector and language model describe images, and what a few words single out of them: that is where
   they learn to find in the image what a text speaks of. From short questions alone they had not learned it after 500
   steps. (LLaVA trains the projector alone first, for a language model that can already speak.)
3. ``questions``: many short questions per image. In three of four steps every question is asked as if it were alone, in
   the fourth they are one conversation.

A stopped training goes on from its last checkpoint with the same command; checkpoints are safetensors and JSON.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from .tiny_llava_batches import IGNORED, Conversations, Speech, drawn
from .tiny_llava_parts import PATCH, SIDE, make_model, make_processor, make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import LlavaForConditionalGeneration

    Losses = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Stage:
    """One stage of the training."""

    steps: int
    batch: int
    """Images per step."""
    rate: float
    warmup: int
    trained: tuple[str, ...]
    """Beginnings of the names of the weights that learn."""


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, the data aside."""

    tower: Stage = Stage(1500, 64, 1e-3, 100, ("model.vision_tower.", "heads."))
    captions: Stage = Stage(600, 8, 1e-3, 50, ("model.multi_modal_projector.", "model.language_model.", "lm_head."))
    questions: Stage = Stage(4000, 8, 1e-3, 50, ("model.multi_modal_projector.", "model.language_model.", "lm_head."))
    turns: int = 16
    """Questions per image."""
    together: int = 4
    """In every so manieth step the questions are one conversation."""
    layers: int = 10
    """Of the language model."""
    decay: float = 0.05
    seed: int = 0

    def stages(self) -> dict[str, Stage]:
        """Name -> stage, in order."""
        return {"tower": self.tower, "captions": self.captions, "questions": self.questions}


class Heads(nn.Module):
    """What the tower is taught with; it is thrown away.

    Args:
        width: Of the tower.
        classes: Attribute -> names of its classes.
    """

    def __init__(self, width: int, classes: dict[str, list[str]]) -> None:
        super().__init__()
        self.sizes = [len(names) for names in classes.values()]
        self.patch = nn.Linear(width, sum(self.sizes))
        self.scene = nn.Linear(width, sum(self.sizes))

    def forward(self, patches: torch.Tensor, scene: torch.Tensor, cells: torch.Tensor) -> Losses:
        """Return the losses and the accuracy.

        Args:
            patches: [n, patches, width], row by row.
            scene: [n, width].
            cells: Classes [n, cells, attributes], row by row; -1 for none.
        """
        grid = math.isqrt(cells.shape[1])
        times = SIDE // PATCH // grid
        spread = cells.view(len(cells), grid, grid, -1).repeat_interleave(times, 1).repeat_interleave(times, 2)
        spread = spread.flatten(1, 2)
        loss, right = torch.zeros(()), torch.zeros(())
        told = self.patch(patches).split(self.sizes, dim=-1)
        seen = self.scene(scene).split(self.sizes, dim=-1)
        for number, (patch, anywhere) in enumerate(zip(told, seen, strict=True)):
            wanted = spread[..., number]
            loss = loss + cross_entropy(patch.flatten(0, 1), wanted.flatten(), ignore_index=-1)
            right = right + (patch.argmax(-1) == wanted)[wanted >= 0].float().mean() / len(self.sizes)
            there = torch.zeros(len(cells), patch.shape[-1] + 1).scatter_(1, cells[..., number] + 1, 1.0)[:, 1:]
            loss = loss + binary_cross_entropy_with_logits(anywhere, there)
        return {"loss": loss, "accuracy": right}


class Trainee(nn.Module):
    """The model, with the heads that it is taught with."""

    def __init__(self, model: LlavaForConditionalGeneration, classes: dict[str, list[str]]) -> None:
        super().__init__()
        self.model = model
        self.heads = Heads(model.config.vision_config.hidden_size, classes)

    def train_only(self, beginnings: tuple[str, ...]) -> list[nn.Parameter]:
        """Let the weights whose names begin so learn, and no others; return them."""
        learning = []
        for name, weight in self.named_parameters():
            weight.requires_grad_(name.removeprefix("model.").startswith(beginnings))
            learning += [weight] if weight.requires_grad else []
        return learning

    def tower(self, pixels: torch.Tensor, cells: torch.Tensor) -> Losses:
        """Tell what the cells hold."""
        seen = self.model.model.vision_tower(pixel_values=pixels, output_hidden_states=True)
        losses: Losses = self.heads(seen.hidden_states[-2][:, 1:], seen.pooler_output, cells)
        return losses

    def speak(self, pixels: torch.Tensor, batch: dict[str, torch.Tensor]) -> Losses:
        """Say the answers."""
        labels = batch.pop("labels")
        logits = self.model(pixel_values=pixels, use_cache=False, **batch).logits[:, :-1]
        wanted = labels[:, 1:]
        said = logits[wanted != IGNORED]
        wanted = wanted[wanted != IGNORED]
        return {"loss": cross_entropy(said, wanted), "accuracy": (said.argmax(-1) == wanted).float().mean()}


def train(
    recipe: Recipe, data: Conversations, out: Path, *, log_every: int = 25, save_every: int = 100
) -> LlavaForConditionalGeneration:
    """Train, or go on training; write the model to ``out/model`` and return it.

    Args:
        recipe: What to do.
        data: What to learn from.
        out: Folder of the checkpoint, of ``log.jsonl`` and of the model.
        log_every: Steps between two lines of the log.
        save_every: Steps between two checkpoints.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer(data.texts())
    trainee = Trainee(make_model(tokenizer, num_hidden_layers=recipe.layers), data.classes)
    speech = Speech(tokenizer, recipe.turns)
    out.mkdir(parents=True, exist_ok=True)
    done = _Checkpoint(out, recipe)
    for name, stage in recipe.stages().items():
        if done.is_past(name):
            continue
        weights = trainee.train_only(stage.trained)
        optimizer = torch.optim.AdamW(weights, lr=stage.rate, weight_decay=recipe.decay, betas=(0.9, 0.98))
        start = done.load(name, trainee, optimizer)
        losses = _losses(name, recipe, data, trainee, speech)
        for step in range(start, stage.steps):
            for group in optimizer.param_groups:
                group["lr"] = stage.rate * _schedule(step, stage)
            found = losses(step)
            optimizer.zero_grad(set_to_none=True)
            found["loss"].backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            last = step + 1 == stage.steps
            if (step + 1) % log_every == 0 or last:
                note = {key: round(value.item(), 5) for key, value in found.items()}
                _append(out / "log.jsonl", {"stage": name, "step": step + 1, **note})
            if (step + 1) % save_every == 0 or last:
                done.save(name, step + 1, trainee, optimizer)
    trainee.model.save_pretrained(out / "model")
    make_processor(tokenizer).save_pretrained(out / "model")
    return trainee.model


def _losses(
    name: str, recipe: Recipe, data: Conversations, trainee: Trainee, speech: Speech
) -> Callable[[int], Losses]:
    """Return a function step -> losses of a stage."""
    stage = recipe.stages()[name]
    seed = [recipe.seed, list(recipe.stages()).index(name)]

    def tower(step: int) -> Losses:
        records, _ = drawn(data.captions, stage.batch, step, seed)
        return trainee.tower(data.pixels(records), torch.tensor([record["cells"] for record in records]))

    def spoken(step: int) -> Losses:
        source = data.captions if name == "captions" else data.questions
        records, rng = drawn(source, stage.batch, step, seed)
        together = name == "questions" and step % recipe.together == recipe.together - 1
        return trainee.speak(data.pixels(records), speech.batch(records, rng, together=together))

    return tower if name == "tower" else spoken


def _schedule(step: int, stage: Stage) -> float:
    """Linear warm-up, a plateau, and a linear way down to zero over the last quarter."""
    return min(1.0, (step + 1) / stage.warmup, 4 * (1 - step / stage.steps))


def _append(path: Path, note: dict[str, Any]) -> None:
    with path.open("a") as stream:
        stream.write(json.dumps(note) + "\n")


class _Checkpoint:
    """The weights and the optimizer of the last saved step; one file that is replaced as a whole."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self._path = out / "checkpoint.safetensors"
        self._recipe = recipe
        self._order = list(recipe.stages())
        self._stage, self._step = "", 0
        if self._path.exists():
            with safe_open(self._path, "pt") as opened:
                noted = opened.metadata()
            if json.loads(noted["recipe"]) == json.loads(json.dumps(asdict(recipe))):
                self._stage, self._step = noted["stage"], int(noted["step"])

    def is_past(self, stage: str) -> bool:
        """Whether the checkpoint is of a later stage."""
        return bool(self._stage) and self._order.index(stage) < self._order.index(self._stage)

    def load(self, stage: str, trainee: Trainee, optimizer: torch.optim.Optimizer) -> int:
        """Load the checkpoint if it is of this stage, and return the step to go on with."""
        if stage != self._stage:
            return 0
        state = load_file(self._path)
        trainee.load_state_dict(
            {key.removeprefix("weights."): value for key, value in state.items() if key.startswith("weights.")}
        )
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            if key.startswith("optimizer."):
                _, number, name = key.split(".", 2)
                slots.setdefault(int(number), {})[name] = value
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        return self._step

    def save(self, stage: str, step: int, trainee: Trainee, optimizer: torch.optim.Optimizer) -> None:
        """Replace the checkpoint."""
        state = {f"weights.{name}": tensor for name, tensor in trainee.state_dict().items()}
        for number, slots in optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{number}.{name}": tensor for name, tensor in slots.items()}
        draft = self._path.with_suffix(".tmp")
        save_file(state, draft, {"stage": stage, "step": str(step), "recipe": json.dumps(asdict(self._recipe))})
        draft.replace(self._path)


def main() -> None:
    """Train and write a folder that transformers can load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of training data in LLaVA's format")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint, the log and the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="processor cores to use; 0 for all")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(Recipe(seed=arguments.seed), Conversations(arguments.data), arguments.out)


if __name__ == "__main__":
    main()
