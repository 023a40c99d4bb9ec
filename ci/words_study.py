"""Train what the suite fewshot-words and docs/prompting.md show: prompt-based finetuning of ``tiny-mlm``.

    python ci/words_study.py --out runs/words-study

Every training is one command of `adaptbench train`. What is done is not done again. Its weights, and what it was asked
for, are copied to where the model looks for them: a training on top of another one begins with those.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from adaptbench.models.finetuning.prompt_recipes import multitask_prompt_ft, prompt_ft
from adaptbench.models.finetuning.shipped import shipped
from adaptbench.models.reference.tiny_mlm import tiny_mlm
from adaptbench.tasks.prompting.words_tasks import HELD_OUT, TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHIPPED = Path(__file__).parents[1] / "models" / "finetuning" / "weights" / "tiny-mlm"
SEEDS = (13, 21, 42)
TARGETS = ("states",)
POOL = [name for name in TASKS if name not in HELD_OUT]
COMMON: dict[str, Any] = {
    "learns": "bias/LayerNorm", "rate": 1e-2, "batch": 10, "steps": 100, "save_every": 50, "store": "float16",
    "threads": 1,
}  # fmt: skip


class Training(NamedTuple):
    """A recipe under a name."""

    method: str
    name: str
    base: str
    options: dict[str, Any]


def sources(names: list[str]) -> str:
    """Tasks as a recipe takes them."""
    return "; ".join(f"words-{name}" for name in names)


def trainings(seeds: Sequence[int], targets: Sequence[str]) -> Iterator[Training]:
    """For each seed: on all other tasks, on those selected for a target, on unrelated ones; then on the target."""
    for seed in seeds:
        yield Training("multitask-prompt-ft", f"seed{seed}-all", "tiny-mlm", {"source": sources(POOL), "seed": seed})
        for target in targets:
            task = f"words-{target}"
            others = [name for name in POOL if TASKS[name].group != TASKS[target].group]
            pools = {
                "selected": {"source": sources(POOL), "target": task},
                "unrelated": {"source": sources(others)},
            }
            for pool, options in pools.items():
                yield Training(
                    "multitask-prompt-ft", f"seed{seed}-{target}-{pool}", "tiny-mlm", {**options, "seed": seed}
                )
            bases = {
                "": "",
                "-all": f"+multitask-prompt-ft(checkpoint=seed{seed}-all)",
                "-selected": f"+multitask-prompt-ft(checkpoint=seed{seed}-{target}-selected)",
            }
            for pool, method in bases.items():
                yield Training(
                    "prompt-ft", f"seed{seed}-{target}{pool}", f"tiny-mlm{method}", {"source": task, "seed": seed}
                )


def main() -> None:
    """Train and ship."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--seed", type=int, choices=SEEDS, action="append", help="only this one; may be repeated")
    parser.add_argument("--target", choices=HELD_OUT, action="append", help="instead of those that ship")
    arguments = parser.parse_args()
    out = arguments.out
    recipes = {"prompt-ft": prompt_ft, "multitask-prompt-ft": multitask_prompt_ft}
    for training in trainings(arguments.seed or SEEDS, arguments.target or TARGETS):
        place, kept = out / training.method / training.name, SHIPPED / training.method / training.name
        if kept.exists():
            continue
        print(training.method, training.name, flush=True)
        recipes[training.method](place, base=training.base, **{**COMMON, **training.options})
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(".tmp")
        shutil.copytree(place / "model", draft, dirs_exist_ok=True)
        for name in ("recipe.json", "selection.json"):
            if (place / name).exists():
                shutil.copy(place / name, draft)
        draft.rename(kept)
        tiny_mlm.checkpoints = shipped("tiny-mlm")  # the next one may begin with it


if __name__ == "__main__":
    main()
