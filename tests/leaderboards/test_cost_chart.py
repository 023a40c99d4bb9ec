"""The chart of costs: what is drawn is what was computed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from adaptbench.harness.costing import Cost, Costing, Question
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.roofline import find_accelerator
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.registry import Registrar
from adaptbench.leaderboards.cost_chart import specification, write_chart

if TYPE_CHECKING:
    from pathlib import Path

CHIPS = ("V100", "H100-SXM")


def costs(spec: str, *budgets: float, chips: tuple[str, ...] = CHIPS) -> list[Cost]:
    question = Question(69, accelerators=tuple(find_accelerator(name) for name in chips))
    costing = Costing(load_plugins().registry, spec)
    return [costing.cost(question, budget) for budget in budgets or (None,)]


def bars(panel: dict[str, Any]) -> dict[str, float]:
    """The length of each bar."""
    sums: dict[str, float] = {}
    for value in panel["layer"][0]["data"]["values"]:
        sums[value["spec"]] = sums.get(value["spec"], 0) + value["value"]
    return sums


def test_a_panel_of_flops_and_one_of_time_for_each_accelerator() -> None:
    drawn = costs("llava-1.5-7b+adallava-l", 1.0, 0.6)
    flops, *times = specification(drawn, "a title")["vconcat"]
    assert bars(flops) == {cost.spec: sum(cost.flops.values()) for cost in drawn}
    assert [panel["title"] for panel in times] == [f"Predicted time on {chip}" for chip in CHIPS]
    for chip, panel in zip(CHIPS, times, strict=True):
        first = {cost.spec: sum(v for k, v in cost.predicted[chip].items() if k != "token") for cost in drawn}
        assert bars(panel) == pytest.approx({spec: 1e3 * seconds for spec, seconds in first.items()})
    ends = [panel["layer"][0]["encoding"]["x"]["scale"]["domain"][1] for panel in times]
    assert ends[0] == ends[1] > max(bars(times[0]).values())


@pytest.mark.parametrize(("spec", "phases"), [("dinov2-b", ["vision"]), ("llama-2-7b", ["prefill", "head"])])
def test_phases_that_a_model_lacks_are_not_in_the_legend(spec: str, phases: list[str]) -> None:
    (panel,) = specification(costs(spec, chips=()), "")["vconcat"]
    assert panel["layer"][0]["encoding"]["color"]["scale"]["domain"] == phases


def test_the_drawing_names_every_spec_and_its_sum(tmp_path: Path) -> None:
    drawn = costs("llava-1.5-7b+adallava-l", 1.0, 0.6)
    write_chart(drawn, "where it is from", tmp_path / "c.svg")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "c.svg").read_text())
    sums = {f"{sum(cost.flops.values()) / 1e12:.2f}T" for cost in drawn}
    assert {"where it is from", *(cost.spec for cost in drawn), *sums, "prefill"} <= set(texts)


def test_the_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    write_chart(costs("llama-2-7b"), "", tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "llama-2-7b" in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)


def test_a_plugin_may_add_a_format() -> None:
    registrar = Registrar("mine")
    registrar.chart(".txt", "mine.charts:write")
    assert [(entry.kind, entry.name) for entry in registrar.entries] == [("chart", ".txt")]
    with pytest.raises(UserError, match="no ending"):
        registrar.chart("txt", "mine.charts:write")
