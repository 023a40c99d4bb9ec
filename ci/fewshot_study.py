"""Train what docs/fewshot-study.md shows: three small encoders of letters, finetuned in every way.

    python ci/fewshot_study.py search --out runs/fewshot-study
    python ci/fewshot_study.py train --out runs/fewshot-study
    python ci/fewshot_study.py ship --out runs/fewshot-study

``search`` scores learning rates of each method on each encoder on the scripts for validation, and writes
docs/fewshot-rates.json. ``train`` takes the best ones, and selects the tasks that some trainings see. ``ship`` copies
the weights, and what each was asked for, to where the models look for them. Every training is one command of
`adaptbench train`; what is done, or ships, is not done again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.selecting import Asked, select_tasks
from adaptbench.harness.selection import Options
from adaptbench.harness.specs import parse
from adaptbench.models.finetuning import loop  # noqa: F401 - its imports take as long as a training
from adaptbench.tasks.fewshot import glyphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "models" / "finetuning" / "weights"
RATES = ROOT / "docs" / "fewshot-rates.json"
SEEDS = range(3)
ENCODERS = ("glyphs-contrastive", "glyphs-random", "glyphs-supervised")
CANDIDATES: dict[str, list[dict[str, float]]] = {
    "multitask-ft": [{"rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)],
    "standard-ft": [
        *({"rate": rate} for rate in (1e-5, 1e-4, 1e-3, 3e-3)),
        *({"rate": rate, "head_rate": 0.03} for rate in (1e-4, 1e-3)),
    ],
    "lp-ft": [
        *({"rate": rate} for rate in (1e-5, 1e-4, 1e-3, 3e-3)),
        *({"rate": 1e-3, "probe_rate": probe} for probe in (0.1, 3.0)),
    ],
    "maml": [
        *({"rate": rate, "inner_rate": 0.01} for rate in (1e-5, 1e-4, 1e-3)),
        *({"rate": rate, "inner_rate": 0.1} for rate in (1e-4, 1e-3)),
        {"rate": 1e-3, "inner_rate": 0.5},
    ],
}
"""As many for each method."""
TASKS, SHOTS, QUERIES = 200, 1, 9
COMMON: dict[str, Any] = {
    "source": "glyphs(split=base,per_class=10)",
    "val": "glyphs(split=val,per_class=16,ways=15,shots=1,queries=15,episodes=50)",
    "tasks": TASKS,
    "shots": SHOTS,
    "queries": QUERIES,
    "epochs": 1,
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup": 0.05,
    "store": "float16",
    "threads": 1,
}
OWN: dict[str, dict[str, Any]] = {"lp-ft": {"probe_epochs": 2}}
STUDIED = ("glyphs-contrastive", "multitask-ft")
GRID = [(tasks, queries) for tasks in (50, 100, 200) for queries in (2, 4, 9)]
CLASSES = (25, 100, 400)
RELATED, UNRELATED = "cyrillic", "canadian-syllabics"
MODES: dict[str, dict[str, Any]] = {"selected": {}, "all": {}, "first-k": {"count": 1}, "random": {}}


class Training(NamedTuple):
    """A recipe on an encoder.

    Attributes:
        name: Of its folder.
        options: That differ from those that all have in common.
        ships: The name that its weights ship under.
    """

    base: str
    recipe: str
    name: str
    options: dict[str, Any]
    ships: str = ""

    @property
    def asked(self) -> dict[str, Any]:
        """All options."""
        return {"base": self.base, **COMMON, **OWN.get(self.recipe, {}), **self.options}

    def folder(self, out: Path) -> Path:
        """Where it is trained."""
        return out / self.base / self.recipe / self.name

    def is_shipped(self) -> bool:
        """Whether weights ship that were trained so."""
        file = SHIPPED / self.base / self.recipe / self.ships / "recipe.json"
        recipe = json.loads(file.read_text()) if file.exists() else {}
        return all(recipe.get(name) == value for name, value in self.asked.items() if name != "threads")


def candidates() -> Iterator[Training]:
    """What the search tries, with seed 0."""
    for base in ENCODERS:
        for recipe, tried in CANDIDATES.items():
            for rates in tried:
                yield Training(base, recipe, _label(rates), {**rates, "seed": 0})


def _label(rates: dict[str, float], seed: int = 0) -> str:
    return ",".join(f"{name}={value:g}" for name, value in [*rates.items(), *([("seed", seed)] if seed else [])])


def trainings() -> Iterator[Training]:
    """The methods on every encoder (Table 3.2); then, of one, what its tasks are drawn from, and how many there are."""
    for base, (recipe, tried) in itertools.product(ENCODERS, CANDIDATES.items()):
        rates = best(base, recipe, tried)
        for seed in SEEDS:
            yield Training(base, recipe, _label(rates, seed), {**rates, "seed": seed}, f"seed{seed}")
    rates = best(*STUDIED, CANDIDATES[STUDIED[1]])
    for (name, options), seed in itertools.product(studies(), SEEDS):
        ships = f"{name}-seed{seed}"
        yield Training(*STUDIED, ships, {**rates, "seed": seed, **options}, ships)


def studies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Classes (Tables A.1 to A.3), scripts (A.4 to A.6), selection (3.1, A.7), tasks and samples (Figure 3.3)."""
    for count in CLASSES:
        yield f"classes{count}", {"classes": count}
    related, unrelated = (f"glyphs(split=base,scripts={script},per_class=10)" for script in (RELATED, UNRELATED))
    yield "related", {"source": related}
    yield "unrelated", {"source": unrelated}
    yield "mixed", {"source": f"{related};{unrelated}"}
    yield "added", {"source": f"{related};{unrelated}", "tasks": 2 * TASKS}
    for target, mode in itertools.product(glyphs.SPLITS["test"], MODES):
        yield f"{target}-{mode}", {"source": f"task-list:{target}/{mode}/tasks.json"}
    for tasks, queries in GRID:
        if (tasks, queries) != (TASKS, QUERIES):
            yield f"M{tasks}-m{15 * (SHOTS + queries)}", {"tasks": tasks, "queries": queries}


def best(base: str, recipe: str, tried: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the rates whose score is the highest."""
    scores = json.loads(RATES.read_text())[base][recipe]
    return max(tried, key=lambda rates: scores[_label(rates)])


def search(out: Path, workers: int) -> None:
    """Score every candidate on the scripts for validation."""
    scores: dict[str, Any] = {base: {recipe: {} for recipe in CANDIDATES} for base in ENCODERS}
    for training in _done(out, list(candidates()), workers):
        scores[training.base][training.recipe][training.name] = round(_score(training, out), 4)
    RATES.write_text(json.dumps(scores, indent=1) + "\n")


def train(out: Path, workers: int) -> None:
    """Do each training that does not ship."""
    select(out)
    for _ in _done(out, [training for training in trainings() if not training.is_shipped()], workers):
        pass


def select(out: Path) -> None:
    """Write task lists: for each target and mode, `TASKS` tasks, as many of each script that the mode chooses."""
    pool = "per_class=10,ways=15,shots=1,queries=9"
    scripts = tuple(f"glyphs(split=base,scripts={name},{pool},episodes={TASKS})" for name in glyphs.SPLITS["base"])
    for seed, target, (mode, more) in itertools.product(SEEDS, glyphs.SPLITS["test"], MODES.items()):
        folder = _lists(out, seed) / target / mode
        if not (folder / "tasks.json").exists():
            asked = Asked(
                targets=(f"glyphs(scripts={target},{pool},episodes=50)",),
                candidates=scripts,
                encoder=STUDIED[0],
                level="dataset",
                options=Options(mode=mode, seed=seed, **more),
                seed=seed,
            )
            found = select_tasks(load_plugins().registry, asked, _lists(out, seed), lambda *_: None)
            every = len(found.tasks.tasks) // TASKS
            scripts_first = sorted(found.tasks.tasks, key=lambda task: found.tasks.sources[task.source].spec)
            chosen = found.tasks.model_copy(update={"tasks": tuple(scripts_first[::every])})
            folder.mkdir(parents=True, exist_ok=True)
            dataclasses.replace(found, tasks=chosen).write(folder)
            print(f"{folder}: {every} of {len(scripts)} scripts", flush=True)


def _lists(out: Path, seed: int) -> Path:
    return out / "lists" / f"seed{seed}"


def _done(out: Path, wanted: list[Training], workers: int) -> Iterator[Training]:
    """Do trainings, several at a time, and say how each scored; images are drawn once, before they part."""
    registry = load_plugins().registry
    for spec, seed in itertools.product((COMMON["source"], COMMON["val"]), {one.options["seed"] for one in wanted}):
        call = parse(spec).base
        registry.find("task", call.name).factory()(**dict(call.args), seed=seed)
    registry.find("model", ENCODERS[0]).factory()()
    with multiprocessing.get_context("fork").Pool(workers, maxtasksperchild=1) as pool:
        for number, training in enumerate(pool.imap(functools.partial(_train, out), wanted), 1):
            of = f"{number} of {len(wanted)}: {training.base} {training.recipe} {training.name}"
            print(f"{of}: {100 * _score(training, out):.2f} % on val", flush=True)
            yield training


def _train(out: Path, training: Training) -> Training:
    if training.asked["source"].startswith("task-list:"):  # its path is in the recipe, and the same for all seeds
        os.chdir(_lists(out, training.options["seed"]))
    load_plugins().registry.find("recipe", training.recipe).factory()(training.folder(out), **training.asked)
    return training


def _score(training: Training, out: Path) -> float:
    notes = map(json.loads, (training.folder(out) / "log.jsonl").read_text().splitlines())
    return max(float(note["score"]) for note in notes if "score" in note)


def ship(out: Path) -> None:
    """Copy what was trained to where it ships from."""
    for training in trainings():
        folder = training.folder(out)
        if (folder / "model").is_dir() and not training.is_shipped():
            target = SHIPPED / training.base / training.recipe / training.ships
            shutil.copytree(folder / "model", target, dirs_exist_ok=True)
            shutil.copy(folder / "recipe.json", target)


def main() -> int:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "train", "ship"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    glyphs.draw = functools.cache(glyphs.draw)
    if arguments.what == "ship":
        ship(out)
    else:
        {"search": search, "train": train}[arguments.what](out, arguments.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
