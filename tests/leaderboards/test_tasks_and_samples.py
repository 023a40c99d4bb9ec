"""The figure of tasks and samples: every training stands where its recipe says, and only what is alike is joined."""

import json

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.outputs import FigureRequest
from adaptbench.leaderboards.charts import FILE
from adaptbench.leaderboards.dissertation import tasks_and_samples as figure


@pytest.fixture
def draw(plugins, monkeypatch):
    def drawn(run, **arguments):
        monkeypatch.setattr(figure, "render", lambda drawing, _: drawing)
        request = FigureRequest(runs=(run.directory,), plugins=plugins, form=".svg")
        return figure.tasks_and_samples(request, **arguments)

    return drawn


def points(panel):
    """Line -> its points, by rising x."""
    spec = panel.draw(FILE)
    found = {}
    for value in spec["data"]["values"]:
        found.setdefault(value["name"], []).append((value["place"], round(value["y"], 1)))
    return found


def test_lines_are_of_one_number_of_samples_or_of_tasks(episodes, draw):
    episodes.add("", 0.3)
    for tasks, queries, mean in ((100, 4, 0.5), (100, 9, 0.6), (200, 4, 0.62), (200, 9, 0.7)):
        episodes.add("multitask-ft", mean, tasks=tasks, queries=queries)
    episodes.add("multitask-ft", 0.1, source="digits")
    (panel,) = draw(episodes).panels
    assert panel.title == "vit+multitask-ft on glyphs"
    assert points(panel) == {
        "m = 75": [("100", 50.0), ("200", 62.0)],
        "m = 150": [("100", 60.0), ("200", 70.0)],
        "direct adaptation": [("100", 30.0), ("200", 30.0)],
    }
    (panel,) = draw(episodes, x="samples").panels
    assert points(panel)["M = 100"] == [("75", 50.0), ("150", 60.0)]
    assert "2 trainings" in json.dumps(panel.draw(FILE))
    with pytest.raises(UserError, match="no method of these runs was trained with several shots"):
        draw(episodes, x="shots")


def test_shots_are_joined_at_one_total(episodes, draw):
    for tasks, shots, mean in ((200, 1, 0.5), (100, 2, 0.52), (100, 1, 0.4)):
        episodes.add("multitask-ft", mean, tasks=tasks, shots=shots, queries=9 * shots)
    (panel,) = draw(episodes, x="shots").panels
    assert points(panel) == {"M m = 30,000": [("1", 50.0), ("2", 52.0)], "M m = 15,000": [("1", 40.0)]}


def test_an_unknown_axis_is_one_line(episodes, draw):
    with pytest.raises(UserError, match="no axis 'M'; use x=tasks, x=samples, x=shots"):
        draw(episodes, x="M")
