"""The training of ``tiny-icl``: a Llama of 1.6 million parameters that learns to read examples.

    python -m adaptbench.tasks.compositional.lessons --out runs/tiny-icl/lessons.json
    python -m adaptbench.models.reference.train_tiny_icl --data runs/tiny-icl/lessons.json --out runs/tiny-icl

The loss is that of all answers of a prompt, so one prompt trains as many answers as it has examples. Prompts grow
longer over the first third of the training. A stopped training goes on from its last checkpoint with the same command;
checkpoints are safetensors and JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from .tiny_icl_parts import ANSWER, END, make_model, make_tokenizer
from .tiny_icl_prompts import Lessons, Prompts, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

IGNORED = -100
_OFTEN = {"word": 4, "verb": 4, "number word": 40, "opposite": 6, "results": 1}
"""Kind of words -> how often each counts when the tokenizer is made."""
_POOL = 8
"""Batches whose prompts are drawn together and sorted by length, so that little is padding."""


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, the lessons aside."""

    steps: int = 12000
    batch: int = 10
    """Prompts a step; of shorter prompts more, so that steps are alike."""
    rate: float = 3e-3
    warmup: int = 100
    least: int = 6
    """Examples of the longest prompts at the start."""
    most: int = 21
    """Examples of the longest prompts from a third of the training on: the suite's 2 x 10 and a question."""
    tokens: int = 320
    """Where a prompt is cut off."""
    merges: int = 500
    layers: int = 6
    width: int = 128
    decay: float = 0.05
    seed: int = 0


class Batches:
    """Draws batches; what a batch holds depends on recipe, lessons and step alone.

    Args:
        recipe: Tells sizes.
        lessons: What prompts are made of.
        tokenizer: Of the model.
    """

    def __init__(self, recipe: Recipe, lessons: Lessons, tokenizer: PreTrainedTokenizerFast) -> None:
        self._recipe, self._tokenizer = recipe, tokenizer
        self._prompts = Prompts(lessons, recipe.seed)
        self._answer, self._end = tokenizer.convert_tokens_to_ids([ANSWER, tokenizer.tokenize(END)[0]])
        self._number, self._pool = -1, [[[0]]]

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ids of a step and the labels, int64 [batch, length]; only answers and their ends have labels."""
        number, place = divmod(step, _POOL)
        if number != self._number:
            self._number, self._pool = number, self._drawn(number)
        rows = self._pool[place]
        ids = torch.full((len(rows), max(map(len, rows))), self._tokenizer.pad_token_id)
        for row, found in zip(ids, rows, strict=True):
            row[: len(found)] = torch.tensor(found)
        return ids, labels_of(ids, self._answer, self._end)

    def _drawn(self, number: int) -> list[list[list[int]]]:
        recipe = self._recipe
        grown = min(1.0, 3 * number * _POOL / recipe.steps)
        longest = round(recipe.least + (recipe.most - recipe.least) * grown)
        dice = random.Random(f"{recipe.seed}/{number}/batches")  # noqa: S311 - no secrets
        texts = []
        size = recipe.batch * recipe.most // longest
        for place in range(_POOL * size):
            examples = dice.randint(max(2, longest // 3), longest)
            texts.append(written(self._prompts.prompt(f"{number}/{place}", examples)))
        rows = [ids[: recipe.tokens] for ids in self._tokenizer(texts, verbose=False)["input_ids"]]
        rows.sort(key=len)
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        dice.shuffle(batches)
        return batches


def labels_of(ids: torch.Tensor, answer: int, end: int) -> torch.Tensor:
    """Return the ids of what follows ``answer`` up to ``end``, this included, and `IGNORED` elsewhere.

    Args:
        ids: [n, length].
        answer: Id after which an answer begins.
        end: Id that ends it.
    """
    opened, ended = (ids == answer).cumsum(1), (ids == end).cumsum(1)
    inside = (opened - ended + (ids == end) > 0) & (ids != answer)
    return torch.where(inside, ids, IGNORED)


def words_of(lessons: Lessons) -> Iterator[str]:
    """Yield the words that the tokenizer is made of: those that there are, not those that were invented."""
    for kind, words in lessons.words().items():
        for word in words:
            for part in re.findall("[a-z]+", word.lower()):
                yield from [part] * _OFTEN.get(kind, 0)


def train(
    recipe: Recipe, lessons: Lessons, out: Path, *, log_every: int = 50, save_every: int = 100
) -> LlamaForCausalLM:
    """Train, or go on training; write the model to ``out/model`` and return it.

    Args:
        recipe: What to do.
        lessons: What to learn from.
        out: Folder of the checkpoint, of ``log.jsonl`` and of the model.
        log_every: Steps between two lines of the log.
        save_every: Steps between two checkpoints.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer(words_of(lessons), recipe.merges)
    heads = {"num_attention_heads": recipe.width // 32, "num_key_value_heads": recipe.width // 32}
    model = make_model(
        tokenizer, hidden_size=recipe.width, intermediate_size=recipe.width * 27 // 10 // 8 * 8,
        num_hidden_layers=recipe.layers, **heads,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.rate, weight_decay=recipe.decay, betas=(0.9, 0.98), fused=True
    )
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.safetensors"
    batches = Batches(recipe, lessons, tokenizer)
    for step in range(_loaded(checkpoint, recipe, model, optimizer), recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * schedule(step, recipe)
        ids, labels = batches.batch(step)
        loss, accuracy = told(model, ids, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        last = step + 1 == recipe.steps
        if (step + 1) % log_every == 0 or last:
            note = {
                "step": step + 1,
                "length": ids.shape[1],
                "loss": round(loss.item(), 5),
                "accuracy": round(accuracy, 5),
            }
            with (out / "log.jsonl").open("a") as stream:
                stream.write(json.dumps(note) + "\n")
        if (step + 1) % save_every == 0 or last:
            _save(checkpoint, recipe, step + 1, model, optimizer)
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    return model


def told(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the mean loss of the labelled tokens, and how many of them are the model's first choice.

    Args:
        model: Reads the ids.
        ids: [n, length], padded on the right: what comes later is not seen.
        labels: [n, length].
    """
    states = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    logits = model.lm_head(states[wanted != IGNORED])
    wanted = wanted[wanted != IGNORED]
    accuracy = (logits.argmax(dim=-1) == wanted).float().mean().item()
    return cross_entropy(logits, wanted), accuracy


def schedule(step: int, recipe: Recipe) -> float:
    """Return the share of the greatest rate: a linear warm-up, then half a cosine down to zero."""
    return min(1.0, (step + 1) / recipe.warmup) * (1 + math.cos(math.pi * step / recipe.steps)) / 2


def _loaded(path: Path, recipe: Recipe, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer) -> int:
    """Load the checkpoint if it is of this recipe, and return the step to go on with."""
    if not path.exists():
        return 0
    with safe_open(path, "pt") as opened:
        noted = opened.metadata()
    if json.loads(noted["recipe"]) != asdict(recipe):
        return 0
    state = load_file(path)
    weights = {name: state[f"weights.{name}"] for name, _ in model.named_parameters()}
    model.load_state_dict(weights, strict=False)  # the head is the embedding
    slots = {
        number: {slot: state[f"{slot}.{name}"] for slot in ("step", "exp_avg", "exp_avg_sq")}
        for number, (name, _) in enumerate(model.named_parameters())
    }
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(noted["step"])


def _save(path: Path, recipe: Recipe, step: int, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer) -> None:
    """Replace the checkpoint."""
    state = {}
    for name, weight in model.named_parameters():
        state[f"weights.{name}"] = weight.detach()
        state |= {f"{slot}.{name}": value for slot, value in optimizer.state[weight].items()}
    draft = path.with_suffix(".tmp")
    save_file(state, draft, {"step": str(step), "recipe": json.dumps(asdict(recipe))})
    draft.replace(path)


def main() -> None:
    """Train and write a folder that transformers can load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the file of lessons")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint, the log and the model")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="processor cores to use; 0 for all")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(Recipe(steps=arguments.steps, seed=arguments.seed), Lessons.read(arguments.data), arguments.out)


if __name__ == "__main__":
    main()
