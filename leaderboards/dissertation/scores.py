"""The benchmark scores of the dissertation's Tables 5.2, 5.3, C.1, C.3 and C.4, beside those of a run on the board.

The rows are LLaVA-1.5 of both sizes, pruned and not, and the AdaLLaVA checkpoints that are public, at 7B. Its own row
prints what LLaVA-1.5 reports, so the numbers of samples are those of LLaVA-1.5's protocol: VQAv2's test-dev and
VizWiz's test part, which only a server scores; ScienceQA's questions with an image; POPE with 2,910 random questions;
MME's pairs; MMBench's file of 12 July 2023; GQA's balanced test-dev; LLaVA's own file of SEED-Bench, with the middle
frames of videos.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ...harness.hooks import PublishedScore
from .published import read

if TYPE_CHECKING:
    from collections.abc import Iterator

_BASES = {"Vicuna-7B": "llava:llava-hf/llava-1.5-7b-hf", "Vicuna-13B": "llava:llava-hf/llava-1.5-13b-hf"}
_PRUNINGS = {
    "LLaVA-1.5": ("", ""),
    "Prumerge": ("+prumerge", "-prumerge"),
    "Prumerge+": ("+prumerge-plus", "-prumerge-plus"),
    "FastV (K=2,R=0.5)": ("+fastv(k=2,r=0.5)", ""),
}
"""Methods, and how the name of the checkpoint that was trained with them ends."""
_OTHER_LABELS = re.compile(r"(AdaLLaVA-L)-7B-(\d+)%")
"""Of Table C.1."""
_SCHEDULERS = {"w/ AdaLLaVA-L": "L", "w/ AdaLLaVA-H": "H"}


class _Benchmark(NamedTuple):
    task: str
    metric: str
    samples: int
    rule: str = "official"


_BENCHMARKS = {
    "VQAv2": _Benchmark("vqav2", "accuracy", 107_394, "llava"),
    "SQAI": _Benchmark("scienceqa", "accuracy", 2_017),
    "VQAT": _Benchmark("textvqa", "accuracy", 5_000),
    "POPE": _Benchmark("pope", "F1", 8_910),
    "MME": _Benchmark("mme", "perception", 1_187),
    "MMBench": _Benchmark("mmbench", "accuracy", 1_176),
    "GQA": _Benchmark("gqa", "accuracy", 12_578),
    "VizWiz": _Benchmark("vizwiz", "accuracy", 8_000, "llava"),
    "SEED-Bench": _Benchmark("seed-bench", "accuracy", 19_242),
    "LLaVa-WILD": _Benchmark("llava-bench", "ratio", 60),
    "MM-Vet": _Benchmark("mm-vet", "score", 218),
}


def published_scores() -> Iterator[PublishedScore]:
    """The scores of the models that can be run here."""
    for table in ("C.1", "C.3", "C.4"):
        for cell in read(table):
            model, budget = _model(cell.row)
            if model and isinstance(cell.value, float):
                own = _BENCHMARKS[cell.column]
                yield PublishedScore(
                    model=model,
                    budget=budget,
                    task=own.task,
                    rule=own.rule,
                    metric=own.metric,
                    samples=own.samples,
                    value=cell.value,
                    source=f"Xu 2026, Table {table}",
                )


def _model(row: str) -> tuple[str, float]:
    """Spec and budget of a row such as ``LLaVA-1.5 | w/ AdaLLaVA-L | Vicuna-7B | 85``; no spec if it cannot be run."""
    row = _OTHER_LABELS.sub(
        r"LLaVA-1.5 | w/ \1 | Vicuna-7B | \2", row.replace("LLaVA-1.5-7B", "LLaVA-1.5 | Vicuna-7B | 100")
    )
    pruning, *scheduler, size, budget = row.split(" | ")
    if pruning not in _PRUNINGS or (scheduler and size != "Vicuna-7B"):
        return "", 1.0
    methods, ending = _PRUNINGS[pruning]
    for name in scheduler:
        kind = _SCHEDULERS[name]
        methods += f"+adallava-{kind.lower()}(checkpoint=zhuoyanxu/ada-llava-{kind}-v1.5-7b{ending})"
    return _BASES[size] + methods, float(budget) / 100
