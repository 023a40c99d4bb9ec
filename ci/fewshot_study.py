"""Train what the suite fewshot-glyphs and docs/fewshot-study.md show: three small encoders, finetuned in every way.

    python ci/fewshot_study.py train --out runs/fewshot-study
    python ci/fewshot_study.py ship --out runs/fewshot-study

Every training is one command of `adaptbench train`. What is done is not done again. ``ship`` copies the weights, and
what each was asked for, to where the models look for them.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.tasks.fewshot import glyphs

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED = Path(__file__).parents[1] / "models" / "finetuning" / "weights"
SEEDS = range(3)
RECIPES = ("multitask-ft", "standard-ft", "lp-ft", "maml")
ENCODERS = ("glyphs-contrastive", "glyphs-random", "glyphs-supervised")
TASKS, SHOTS, QUERIES = 200, 1, 9
GRID = [(tasks, queries) for tasks in (50, 100, 200) for queries in (2, 4, 9)]
COMMON: dict[str, Any] = {
    "source": "glyphs(split=base,per_class=10)",
    "val": "glyphs(split=val,per_class=16,ways=15,shots=1,queries=15,episodes=50)",
    "epochs": 1,
    "optimizer": "adamw",
    "rate": 3e-3,
    "schedule": "cosine",
    "warmup": 0.05,
    "store": "float16",
    "threads": 1,
}
OWN: dict[str, dict[str, Any]] = {"lp-ft": {"probe_epochs": 2}}


class Training(NamedTuple):
    """A recipe on an encoder, under a name."""

    base: str
    recipe: str
    name: str
    options: dict[str, Any]


def trainings() -> Iterator[Training]:
    """The methods on every encoder (Table 3.2); on one, M and m (Figure 3.3)."""
    for seed in SEEDS:
        for base in ENCODERS:
            for recipe in RECIPES:
                yield Training(base, recipe, f"seed{seed}", {"seed": seed, **OWN.get(recipe, {})})
    for seed in SEEDS:
        for tasks, queries in GRID:
            if (tasks, queries) != (TASKS, QUERIES):
                name = f"M{tasks}-m{15 * (SHOTS + queries)}-seed{seed}"
                options = {"seed": seed, "tasks": tasks, "queries": queries}
                yield Training("glyphs-contrastive", "multitask-ft", name, options)


def train(out: Path, workers: int) -> None:
    """Do each training, several at a time; what they have in common is drawn and imported once, before they part."""
    glyphs.draw = functools.cache(glyphs.draw)
    registry = load_plugins().registry
    for spec in (COMMON["source"], COMMON["val"]):
        call = parse(spec).base
        registry.find("task", call.name).factory()(**dict(call.args))
    registry.find("model", ENCODERS[0]).factory()()
    registry.find("recipe", RECIPES[0]).factory()
    with multiprocessing.get_context("fork").Pool(workers, maxtasksperchild=1) as pool:
        for folder in pool.imap(functools.partial(_train, out), trainings()):
            notes = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
            score = max(note["score"] for note in notes if "score" in note)
            print(f"{folder}: {100 * score:.2f} % on val", flush=True)


def _train(out: Path, training: Training) -> Path:
    folder = out / training.base / training.recipe / training.name
    asked = {"base": training.base, "tasks": TASKS, "shots": SHOTS, "queries": QUERIES, **COMMON, **training.options}
    load_plugins().registry.find("recipe", training.recipe).factory()(folder, **asked)
    return folder


def ship(out: Path) -> None:
    """Copy what was trained to where it ships from."""
    for training in trainings():
        folder = out / training.base / training.recipe / training.name
        target = SHIPPED / training.base / training.recipe / training.name
        if (folder / "model").is_dir():
            shutil.copytree(folder / "model", target, dirs_exist_ok=True)
            shutil.copy(folder / "recipe.json", target)


def main() -> int:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "ship"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time")
    arguments = parser.parse_args()
    if arguments.what == "ship":
        ship(arguments.out)
    else:
        train(arguments.out, arguments.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
