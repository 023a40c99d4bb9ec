"""The figure of a selection: what is drawn is what was computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.outputs import FigureRequest
from adaptbench.harness.plugins import Plugins
from adaptbench.harness.selecting import Asked, Candidate, Selected
from adaptbench.harness.selection import Options, select
from adaptbench.harness.task_list import TaskList
from adaptbench.leaderboards.charts import FILE
from adaptbench.leaderboards.figures.selection import drawing, selection


def selected(count: int, *, samples: int = 60, plain: bool = True) -> Selected:
    """A selection of candidates of 60 samples in 32 dimensions, the first of which are the most similar."""
    rng = np.random.default_rng(0)
    middle = np.ones(32)
    pool = [middle * (5 - i % 5) + (i > 4) * rng.normal(size=32) + rng.normal(size=(samples, 32)) for i in range(count)]
    names = [f"glyphs(scripts={'abcdefghijklmnopqrstuvwxyz'[i % 26]}{i},shots=1)" for i in range(count)]
    return Selected(
        asked=Asked(("glyphs",), tuple(names), "vit-glyphs"),
        pool=tuple(Candidate(name, i, (0,), np.arange(3)) for i, name in enumerate(names)),
        left_out=0,
        images=0,
        target_images=0,
        result=select(middle + rng.normal(size=(99, 32)), pool, Options(plain=plain)),
        tasks=TaskList(sources=(), tasks=()),
        digests={},
    )


def panels(found: Selected) -> dict[str, dict[str, Any]]:
    return {panel.title: panel.draw(FILE) for panel in drawing(found).panels}


def drawn(panel: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of the line."""
    data = panel.get("data") or panel["layer"][0]["data"]
    values: list[dict[str, Any]] = data["values"]
    return values


def test_each_panel_has_its_values_in_the_order_of_similarity() -> None:
    found = selected(6)
    shown = panels(found)
    assert [row["value"] for row in drawn(shown["Similarity"])] == found.result.similarities.tolist()
    assert [row["value"] for row in drawn(shown["Coverage"])] == found.result.coverages.tolist()
    assert [row["value"] for row in drawn(shown["Plain coverage"])] == found.result.plain.values.tolist()  # type: ignore[union-attr]


def test_what_was_chosen_is_marked_and_the_walks_end_too() -> None:
    found = selected(6)
    coverage = panels(found)["Coverage"]
    marks = [row["mark"] for row in drawn(coverage)]
    assert marks == ["chosen"] * found.result.stop + ["not chosen"] * (6 - found.result.stop)
    assert [row["place"] for row in coverage["layer"][-1]["data"]["values"]] == [found.result.stop]


def test_a_few_are_named_by_what_tells_them_apart_and_many_are_numbered() -> None:
    labels = {row["label"].split()[1] for row in drawn(panels(selected(3))["Similarity"])}
    assert labels == {"glyphs(scripts=a0)", "glyphs(scripts=b1)", "glyphs(scripts=c2)"}
    assert [row["label"] for row in drawn(panels(selected(13, plain=False))["Similarity"])][:2] == ["1", "2"]


def test_plain_values_that_mean_nothing_are_told_from_others() -> None:
    marks = [row["mark"] for row in drawn(panels(selected(4, samples=20))["Plain coverage"])]
    assert marks[0] == "singular or negative"
    assert marks[-1] == "has an inverse"


def test_without_the_plain_formula_there_are_two_panels() -> None:
    assert [panel.title for panel in drawing(selected(3, plain=False)).panels] == ["Similarity", "Coverage"]


def test_runs_have_no_selection() -> None:
    with pytest.raises(UserError, match="shows a selection, not runs; adaptbench select --figure"):
        selection(FigureRequest(runs=(), plugins=Plugins(), form=".svg"))
