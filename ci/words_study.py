"""Train what the suite fewshot-words and docs/prompting.md show: prompt-based finetuning of ``tiny-mlm``.

    python ci/words_study.py --out runs/words-study

Every training is one command of `adaptbench train`. What is done is not done again. Its weights, and what it was asked
for, are copied to where the model looks for them: a training on top of another one begins with those. The suite that
compares them is written last.

The learning rate is, of three, the best for the first seed on development samples: those of the sources for multitask
finetuning, those of the targets for finetuning on a target. No test sentence is read.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from adaptbench.harness.identity import BoundModel
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.finetuning.prompt_recipes import multitask_prompt_ft, prompt_ft
from adaptbench.models.finetuning.shipped import shipped
from adaptbench.models.reference.tiny_mlm import tiny_mlm
from adaptbench.tasks.prompting.factories import words_task
from adaptbench.tasks.prompting.sampling import SEEDS
from adaptbench.tasks.prompting.words_tasks import HELD_OUT, TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adaptbench.tasks.prompting.task import PromptTask

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "models" / "finetuning" / "weights" / "tiny-mlm"
SUITE = ROOT / "tasks" / "suites" / "fewshot-words.yaml"
MULTITASK, ON_TARGET = "multitask-prompt-ft", "prompt-ft"
RECIPES = {ON_TARGET: prompt_ft, MULTITASK: multitask_prompt_ft}
POOL = [name for name in TASKS if name not in HELD_OUT]
COMMON: dict[str, Any] = {
    "learns": "bias/LayerNorm", "batch": 10, "steps": 100, "save_every": 50, "store": "float16", "threads": 1,
}  # fmt: skip
RATES = (3e-3, 1e-2, 3e-2)


class Training(NamedTuple):
    """A recipe under a name.

    Attributes:
        pool: What multitask finetuning saw: ``all`` sources, those ``selected`` or ``unrelated`` ones; empty for none.
        parent: The name of the multitask finetuning that it builds on, if it does.
    """

    method: str
    name: str
    pool: str
    options: dict[str, Any]
    parent: str = ""

    @property
    def base(self) -> str:
        """Model spec that it begins with."""
        return f"tiny-mlm+{MULTITASK}(checkpoint={self.parent})" if self.parent else "tiny-mlm"

    def spec(self, checkpoint: str = "") -> str:
        """Model spec of what was trained, as shipped or from a folder."""
        return f"{self.base}+{self.method}(checkpoint={checkpoint or self.name})"


def sources(names: Sequence[str]) -> str:
    """Tasks as a recipe takes them."""
    return "; ".join(f"words-{name}" for name in names)


def trainings(seeds: Sequence[int]) -> Iterator[Training]:
    """For each seed: on all sources, on those selected for a target, on unrelated ones; then on the target."""
    for seed in seeds:
        yield Training(MULTITASK, f"seed{seed}-all", "all", {"source": sources(POOL), "seed": seed})
        for target in HELD_OUT:
            others = [name for name in POOL if TASKS[name].group != TASKS[target].group]
            pools: dict[str, dict[str, Any]] = {
                "selected": {"source": sources(POOL), "target": f"words-{target}"},
                "unrelated": {"source": sources(others)},
            }
            for pool, options in pools.items():
                yield Training(MULTITASK, f"seed{seed}-{target}-{pool}", pool, {**options, "seed": seed})
            parents = {"": "", "all": f"seed{seed}-all", "selected": f"seed{seed}-{target}-selected"}
            for pool, parent in parents.items():
                name = f"seed{seed}-{target}-{pool}".removesuffix("-")
                yield Training(ON_TARGET, name, pool, {"source": sources([target]), "seed": seed}, parent)


def train(training: Training, place: Path, rate: float) -> None:
    """Train, unless it is done."""
    RECIPES[training.method](place, base=training.base, **COMMON, rate=rate, **training.options)


def best_rate(method: str, pool: str, out: Path) -> float:
    """Return the learning rate that is best on development samples, for the first seed."""
    found = {}
    for rate in RATES:
        accuracies = []
        for training in trainings(SEEDS[:1]):
            if (training.method, training.pool) == (method, pool):
                place = out / f"rate-{rate:g}" / method / training.name
                train(training, place, rate)
                accuracies.append(on_development(training, place))
        found[rate] = fmean(accuracies)
        print(f"{method} {pool} {rate:g}: {found[rate]:.1%} of development samples", flush=True)
    return max(found, key=lambda rate: found[rate])


def ship(training: Training, place: Path) -> None:
    """Copy the weights to where the model looks for them."""
    kept = SHIPPED / training.method / training.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(".tmp")
    shutil.copytree(place / "model", draft, dirs_exist_ok=True)
    for name in ("recipe.json", "selection.json"):
        if (place / name).exists():
            shutil.copy(place / name, draft)
    draft.rename(kept)
    tiny_mlm.checkpoints = shipped("tiny-mlm")  # the next one may begin with it


def on_development(training: Training, place: Path) -> float:
    """Return the accuracy on development samples of what a training was trained on."""
    planned = plan_model(load_plugins().registry, parse(training.spec(f'"{place / "model"}"')))
    model: Any = BoundModel(planned, planned.bind(seed=0, device="cpu")).load()
    names = [spec.removeprefix("words-") for spec in training.options["source"].split("; ")]
    return fmean(accuracy(model, words_task(name, part="dev", seed=training.options["seed"])) for name in names)


def accuracy(model: Any, task: PromptTask) -> float:
    """Return the share of a task's samples that a model answers rightly."""
    logits = model.fill_mask([prompt.load() for prompt in task.inputs])
    scores = [task.score(one, task.parse(one, list(said))) for one, said in zip(task.samples, logits, strict=True)]
    return fmean(score["accuracy"] for score in scores if score)


def suite() -> str:
    """Return the suite that asks every model its task."""
    models = ["tiny-mlm", *(training.spec() for training in trainings(SEEDS))]
    tasks = [f"words-{target}" for target in HELD_OUT]
    lines = [
        "name: fewshot-words",
        "description: Prompt-based finetuning of tiny-mlm on three held-out tasks, alone and after multitask "
        f"finetuning on all, selected or unrelated tasks, {len(SEEDS)} trainings each; offline on the CPU.",
        *("models:", *(f"  - {model}" for model in models)),
        *("tasks:", *(f"  - {task}" for task in tasks)),
        *("only:", *(f'  "*-{target}*": {task}' for target, task in zip(HELD_OUT, tasks, strict=True))),
    ]
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Train and ship."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--seed", type=int, choices=SEEDS, action="append", help="only this one; may be repeated")
    arguments = parser.parse_args()
    for method, pools in ((MULTITASK, ("all",)), (ON_TARGET, ("", "all"))):
        rates = {pool: best_rate(method, pool, arguments.out) for pool in pools}
        for training in trainings(arguments.seed or SEEDS):
            if training.method == method and not (SHIPPED / method / training.name).exists():
                place = arguments.out / method / training.name
                print(method, training.name, flush=True)
                train(training, place, rates.get(training.pool, rates["all"]))
                ship(training, place)
    SUITE.write_text(suite(), encoding="utf-8")


if __name__ == "__main__":
    main()
