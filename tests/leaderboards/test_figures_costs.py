"""The chart of costs: what is drawn is what was computed."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from adaptbench.harness.costing import Cost, Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.roofline import find_accelerator
from adaptbench.harness.outputs import FigureRequest
from adaptbench.harness.plugins import Plugins, load_plugins
from adaptbench.leaderboards.charts import FILE
from adaptbench.leaderboards.figures.costs import costs as figure
from adaptbench.leaderboards.figures.costs import drawing

CHIPS = ("V100", "H100-SXM")


def costs(spec: str, *budgets: float, chips: tuple[str, ...] = CHIPS) -> list[Cost]:
    question = CostRequest(69, accelerators=tuple(find_accelerator(name) for name in chips))
    costing = Costing(load_plugins().registry, spec)
    return [costing.cost(question, budget) for budget in budgets or (None,)]


def specs(drawn: list[Cost]) -> list[dict[str, Any]]:
    """The specification of each panel."""
    return [panel.draw(FILE) for panel in drawing(drawn, "").panels]


def content(drawn: list[Cost], title: str, form: str) -> Any:
    return figure(FigureRequest(runs=(), plugins=Plugins(), form=form, costs=tuple(drawn), title=title))


def bars(panel: dict[str, Any]) -> dict[str, float]:
    """The length of each bar."""
    sums: dict[str, float] = {}
    for value in panel["layer"][0]["data"]["values"]:
        sums[value["spec"]] = sums.get(value["spec"], 0) + value["value"]
    return sums


def test_a_panel_of_flops_and_one_of_time_for_each_accelerator() -> None:
    drawn = costs("llava-1.5-7b+adallava-l", 1.0, 0.6)
    flops, *times = specs(drawn)
    assert bars(flops) == {cost.spec: sum(cost.flops.values()) for cost in drawn}
    titles = [panel.title for panel in drawing(drawn, "").panels]
    assert titles == ["FLOPs of one input", *(f"Predicted time on {chip}" for chip in CHIPS)]
    for chip, panel in zip(CHIPS, times, strict=True):
        first = {cost.spec: sum(v for k, v in cost.predicted[chip].items() if k != "token") for cost in drawn}
        assert bars(panel) == pytest.approx({spec: 1e3 * seconds for spec, seconds in first.items()})
    ends = [panel["layer"][0]["encoding"]["x"]["scale"]["domain"][1] for panel in times]
    assert ends[0] == ends[1] > max(bars(times[0]).values())


@pytest.mark.parametrize(("spec", "phases"), [("dinov2-b", ["vision"]), ("llama-2-7b", ["prefill", "head"])])
def test_phases_that_a_model_lacks_are_not_in_the_legend(spec: str, phases: list[str]) -> None:
    (panel,) = specs(costs(spec, chips=()))
    assert panel["layer"][0]["encoding"]["color"]["scale"]["domain"] == phases


def test_the_drawing_names_every_spec_and_its_sum() -> None:
    drawn = costs("llava-1.5-7b+adallava-l", 1.0, 0.6)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", content(drawn, "where it is from", ".svg"))
    sums = {f"{sum(cost.flops.values()) / 1e12:.2f}T" for cost in drawn}
    assert {"where it is from", *(cost.spec for cost in drawn), *sums, "prefill"} <= set(texts)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A spec whose target is a folder with such a name."""
    monkeypatch.chdir(tmp_path)
    folder = Path("x<") / "script><img src=x onerror=alert(1)>'&"
    folder.mkdir(parents=True)
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return f"hf:{json.dumps(str(folder))}"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_hostile_name_stays_text_on_a_page_that_asks_for_nothing(hostile: str) -> None:
    page = Page(content(costs(hostile), hostile, ".html"))
    names = [tag for tag, _ in page.tags]
    assert names.count("script") == 3
    assert not {"img", "link", "iframe"} & {*names}
    attributes = [item for _, attrs in page.tags for item in attrs.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("src", "href")]
    assert hostile in page.texts
    assert any("default-src 'none'" in str(value) for name, value in attributes if name == "content")


def test_a_hostile_name_stays_text_in_an_image(hostile: str) -> None:
    image = ET.fromstring(content(costs(hostile), "", ".svg"))
    assert not [node for node in image.iter() if node.tag.endswith(("script", "img"))]
    assert "script><img" in "".join(image.itertext())


def test_runs_have_no_costs_of_architectures() -> None:
    with pytest.raises(UserError, match=r"shows costs, not runs; adaptbench cost SPEC --out FILE"):
        content([], "", ".svg")
