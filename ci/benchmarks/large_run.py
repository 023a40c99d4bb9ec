"""A run of any size with made-up answers, written through the store as a run writes it.

    python ci/benchmarks/large_run.py DIR --models 200 --tasks 40 --budgets 6

A model's accuracy grows with its size and its budget, a task has its own difficulty, and a sample that is hard for one
model is hard for all.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from adaptbench.harness.cards import ModelCard, TaskCard
from adaptbench.harness.contracts import Record, Sample
from adaptbench.harness.results import CellId, CellResult, FlopCount, Timing
from adaptbench.harness.store import RunDirectory, Session
from adaptbench.harness.summary import summarise

if TYPE_CHECKING:
    import numpy.typing as npt

_FAMILIES = ("reading", "counting", "colours", "places", "letters")
_FLOPS = 2_000_000
_BASELINES = ("constant", "random")


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    models: int = 200
    tasks: int = 40
    budgets: int = 6
    samples: int = 50


def model_names(size: Size) -> list[str]:
    """Bases with seven variants each, and two baselines."""
    variants = [f"net-{i // 8:02}" + (f"+layers(keep={i % 8})" if i % 8 else "") for i in range(size.models)]
    return [*variants[: size.models - len(_BASELINES)], *_BASELINES]


def task_names(size: Size) -> list[str]:
    """Tasks of a few families, each with several settings."""
    return [f"{_FAMILIES[i % len(_FAMILIES)]}-{i // len(_FAMILIES):02}" for i in range(size.tasks)]


def make_run(path: Path, size: Size) -> RunDirectory:
    """Write a run whose every cell is complete."""
    run = RunDirectory(path)
    environment = {"machine": "Made-up CPU, 2 cores", "packages": {"adaptbench": "0"}, "git_revision": "0000000"}
    run.begin(Session(id="s1", started="2026-01-02T03:04:05+00:00", command="large_run.py", environment=environment))
    chance = np.random.default_rng(0)
    cells = {
        f"{number:032x}": CellId(model=model, task=task, budget=(step + 1) / size.budgets)
        for number, (task, model, step) in enumerate(
            (task, model, step)
            for task in task_names(size)
            for model in model_names(size)
            for step in range(size.budgets)
        )
    }
    run.note(cells)
    skill = dict(zip(model_names(size), np.sort(chance.normal(0, 1, size.models)), strict=True))
    hard = {task: chance.normal(chance.normal(0, 1), 1, size.samples) for task in task_names(size)}
    for key, cell in cells.items():
        margin = skill[cell.model] + cell.budget - hard[cell.task] + chance.normal(0, 0.5, size.samples)
        _write_cell(run, key, cell, margin > 0)
    return run


def _write_cell(run: RunDirectory, key: str, cell: CellId, right: npt.NDArray[np.bool_]) -> None:
    baseline = cell.model in _BASELINES
    card = TaskCard(summary=f"Questions about {cell.task}", capability="embed", rule="exact", sample_noun="question")
    samples = [Sample(f"q{i}", [i]) for i in range(len(right))]
    records = [
        Record(f"q{i}", f"{i:064x}", f"answer {i}", f"answer {i}", {"accuracy": float(one)})
        for i, one in enumerate(right)
    ]
    journal = run.journal(key)
    journal.acquire()
    journal.append(records)
    flops = None if baseline else FlopCount(value=_cost(cell), phase="vision", counter="fvcore", attention="eager")
    median = 1e-9 * _cost(cell)
    journal.finish(
        CellResult(
            key=key,
            cell=cell,
            model_card=ModelCard(summary=f"The model {cell.model}", capabilities=("embed",), reference=baseline),
            task_card=card,
            samples_digest=f"{cell.task:>64}",
            partial=None,
            flops=flops,
            flops_missing="" if flops else "not counted: the model is not a torch module",
            parameters=None if baseline else _cost(cell) // 2,
            settings={"batch_size": 64, "device": "cpu"},
            records_sha256=journal.digest(),
            **summarise(card, samples, records),
        ),
        Timing(
            session="s1", machine="Made-up CPU, 2 cores", device="cpu", what="embed() of 64 images", inputs=64,
            warmup=3, repeats=20, median=median, q1=0.9 * median, q3=1.2 * median, p95=1.5 * median,
        ),
    )  # fmt: skip
    journal.release()


def _cost(cell: CellId) -> int:
    """FLOPs of an input: they differ from model to model, and follow the budget."""
    return int(_FLOPS * cell.budget * (1 + sum(map(ord, cell.model)) % 97))


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("path", type=Path)
    for name, value in asdict(Size()).items():
        asked.add_argument(f"--{name}", type=int, default=value)
    given = vars(asked.parse_args())
    os.fsync = lambda _: None  # what is made up need not survive a power failure, and there are 400,000 files
    make_run(given.pop("path"), Size(**given))
