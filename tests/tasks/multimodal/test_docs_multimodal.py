"""docs/multimodal.md says what the cards say."""

import re
from pathlib import Path

import pytest
from adaptbench.harness.plugins import load_plugins

PAGE = (Path(__file__).parents[3] / "docs" / "multimodal.md").read_text(encoding="utf-8")
MULTIMODAL = [entry for entry in load_plugins().registry.entries("task") if ".multimodal." in str(entry.target)]
CARDS = {entry.name: entry.card for entry in MULTIMODAL}
REAL = [name for name in CARDS if not name.startswith("shapes")]


def table(heading):
    """First cell -> the other cells, of the table whose first heading it is; a name a row."""
    body = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()[2:]]
    return {name: cells for first, *cells in rows for name in re.findall(r"`([\w-]+)`", first)}


@pytest.mark.parametrize("name", REAL)
def test_every_benchmark_is_listed_with_its_metrics_and_sample(name):
    metrics, sample, _ = table("task | metrics, the first ranks | sample | subsets")[name]
    assert re.findall(r"`([\w +-]+)`", metrics) == [metric.name for metric in CARDS[name].metrics]
    noun = CARDS[name].sample_noun
    assert sample.startswith({"pair": "the two questions", "question": ("question", "a question")}[noun])


def test_every_benchmark_whose_rules_differ_says_how():
    differing = {name for name in REAL if len(CARDS[name].rules) > 1} - {"mmbench-cn", "llava-bench"}
    assert set(table("task | `official` | `lmms-eval` | `vlmevalkit`")) == differing
