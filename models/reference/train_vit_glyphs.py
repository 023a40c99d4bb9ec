"""The recipe of ``vit-glyphs``: a small ViT that tells the letters of the base scripts apart.

    python -m adaptbench.models.reference.train_vit_glyphs --out runs/vit-glyphs

Every step is a 64-way 1-shot episode of base letters, drawn afresh for each epoch: two images a letter, each of which
must find the other by the cosine of their embeddings. (Cross-entropy over all 1,651 letters with a head of its own,
tried first, had learned almost nothing after 1,000 steps.) The embedding is the mean of the patch tokens after the last
norm. A stopped training goes on from its last checkpoint with the same command; checkpoints are safetensors and JSON.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, normalize
from transformers import ViTConfig, ViTModel

from ...adapters.installed import pil_image_processor
from ...harness.plugins import load_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Images = tuple[torch.Tensor, torch.Tensor]

_CONFIG = ViTConfig(
    image_size=32, patch_size=8, num_channels=3, hidden_size=128, num_hidden_layers=6, num_attention_heads=4,
    intermediate_size=512, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    initializer_range=0.09,  # about 1 / sqrt(hidden_size); the default is made for a width of 768
)  # fmt: skip
_MEAN, _STD = 0.5, 0.5


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on."""

    steps: int = 6000
    ways: int = 64
    per_class: int = 8
    """Images of each letter drawn for an epoch; an epoch pairs them all."""
    rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.05
    scale: float = 16.0
    """Factor of the cosines."""
    seed: int = 0


def train(recipe: Recipe, out: Path, images: Callable[[int], Images]) -> ViTModel:
    """Train, or go on training, and return the model.

    Args:
        recipe: What to do.
        out: Folder of the checkpoint and of ``log.jsonl``.
        images: Epoch -> pixels [n, 3, size, size] in [-1, 1] and labels [n].
    """
    torch.manual_seed(recipe.seed)
    model = ViTModel(_CONFIG, add_pooling_layer=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay, betas=(0.9, 0.98))
    start = _resume(out, model, optimizer, recipe)
    right = torch.arange(recipe.ways)
    for step, pixels in _episodes(recipe, start, images):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * _schedule(step, recipe)
        vectors = normalize(model(pixel_values=pixels).last_hidden_state[:, 1:].mean(dim=1), dim=1)
        cosines = vectors[: recipe.ways] @ vectors[recipe.ways :].T
        loss = (cross_entropy(recipe.scale * cosines, right) + cross_entropy(recipe.scale * cosines.T, right)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 250 == 0 or step + 1 == recipe.steps:
            accuracy = (cosines.argmax(dim=1) == right).float().mean().item()
            _checkpoint(out, model, optimizer, {"step": step + 1, "loss": loss.item(), "accuracy": accuracy}, recipe)
    return model


def _schedule(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)))


def _episodes(recipe: Recipe, start: int, images: Callable[[int], Images]) -> Iterator[tuple[int, torch.Tensor]]:
    """The episodes from a step on: first one image of each class, then another.

    They depend on the step alone, so that a resumed training sees the same ones.
    """
    classes = len(images(0)[1]) // recipe.per_class
    per_round = classes // recipe.ways
    size = per_round * (recipe.per_class // 2)
    epoch = -1
    for step in range(start, recipe.steps):
        if step // size != epoch:
            epoch = step // size
            generator = torch.Generator().manual_seed(recipe.seed + epoch)
            pixels = images(epoch)[0].view(classes, recipe.per_class, 3, _CONFIG.image_size, _CONFIG.image_size)
            orders = [torch.randperm(classes, generator=generator) for _ in range(recipe.per_class // 2)]
        turn, place = divmod(step % size, per_round)
        chosen = orders[turn][place * recipe.ways :][: recipe.ways]
        yield step, torch.cat([pixels[chosen, 2 * turn], pixels[chosen, 2 * turn + 1]])


def _checkpoint(
    out: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, note: dict[str, Any], recipe: Recipe
) -> None:
    state = {f"weights.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{index}.{name}": tensor for name, tensor in slots.items()}
    out.mkdir(parents=True, exist_ok=True)
    draft = out / "checkpoint.tmp"
    save_file(state, draft, metadata={"step": str(note["step"]), "recipe": json.dumps(asdict(recipe))})
    draft.replace(out / "checkpoint.safetensors")
    with (out / "log.jsonl").open("a") as stream:
        stream.write(json.dumps(note) + "\n")


def _resume(out: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe) -> int:
    """Load the checkpoint of this recipe, if there is one, and return the step to go on with."""
    from safetensors import safe_open

    path = out / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    if json.loads(metadata["recipe"]) != asdict(recipe):
        return 0
    state = load_file(path)
    model.load_state_dict({k.removeprefix("weights."): v for k, v in state.items() if k.startswith("weights.")})
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for key in state:
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            slots.setdefault(int(index), {})[name] = state[key]
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(metadata["step"])


def glyph_images(per_class: int) -> Callable[[int], Images]:
    """Return a function epoch -> the base letters of ``glyphs``, drawn for that epoch."""
    entry = load_plugins().registry.find("task", "glyphs")

    def images(epoch: int) -> Images:
        drawn = entry.factory()(split="base", per_class=per_class, seed=1 + epoch).images
        pixels = np.stack([np.asarray(image.load(), dtype=np.float32) for image in drawn.images])
        return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - _MEAN) / _STD, torch.from_numpy(drawn.labels)

    return images


def main() -> None:
    """Train and write a folder that transformers can load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint, the log and the model")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    arguments = parser.parse_args()
    recipe = Recipe(steps=arguments.steps)
    model = train(recipe, arguments.out, glyph_images(recipe.per_class))
    model.save_pretrained(arguments.out / "model")
    size = {"height": 32, "width": 32}
    processor = pil_image_processor("ViT", size=size, image_mean=[_MEAN] * 3, image_std=[_STD] * 3)
    processor.save_pretrained(arguments.out / "model")


if __name__ == "__main__":
    main()
