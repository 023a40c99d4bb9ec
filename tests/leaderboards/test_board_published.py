"""Scores that others have published, beside the same scores of a run."""

import json
import types
from collections import Counter

import adaptbench
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.hooks import PublishedScore
from adaptbench.harness.planned_models import takes_budget
from adaptbench.harness.planning import Request, plan_tasks
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.harness.store import RunDirectory
from adaptbench.harness.suites import load_suite
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.dissertation.scores import published_scores
from adaptbench.leaderboards.leaderboard import leaderboard
from adaptbench.leaderboards.published import with_published
from adaptbench.leaderboards.tables import frame
from adaptbench.leaderboards.views.task import task_table

LLAVA = "llava:llava-hf/llava-1.5-7b-hf"


def pope_card(make, **changes):
    metrics = (make.metric(name="accuracy"), make.metric(name="F1"))
    return make.task_card.model_copy(update={"capability": "generate", "metrics": metrics, **changes})


def table_of(run, plugins, *published):
    plugin = types.ModuleType("mine")
    plugin.board_context = adaptbench.hookimpl(lambda event: event.published.extend(published))
    assert plugins.add("mine", "a test", lambda: plugin).error == ""
    (section,) = make_board([run.directory], plugins).sections
    return task_table(section)


def shown(table, model):
    """Heading -> text and note, of the columns of published scores."""
    (row,) = (row for row in table["rows"] if row.name == model)
    place = next((i for i, head in enumerate(table["heads"]) if ": " in head), 0)
    return [(cell.text, cell.note) for cell in row.cells[place : place + 2]] if place else []


def test_the_dissertations_scores_stand_beside_those_of_the_same_model_budget_task_and_rule(new_run, make, plugins):
    right = [float(number % 20 != 0) for number in range(8910)]
    run, fields = new_run(), {"task": "pope(annotations=coco)", "card": pope_card(make, rule="official")}
    adaptive = LLAVA + "+adallava-l(checkpoint=zhuoyanxu/ada-llava-L-v1.5-7b)"
    run.cell(LLAVA, right, **fields)
    run.cell(adaptive, right, budget=0.85, **fields)
    run.cell(adaptive, right, budget=0.7, **fields)
    run.cell("llava:/mine/llava-1.5-7b-hf", right, **fields)
    table = table_of(run, plugins)
    assert table["heads"][2:4] == ["F1, %: Xu 2026, Table C.4", "difference"]
    assert "the difference is ours less theirs" in table["caption"]
    assert shown(table, LLAVA) == [("85.9", ""), ("+9.09", "outside the interval")]
    assert shown(table, f"{adaptive}@0.85") == [("86.4", ""), ("+8.59", "outside the interval")]
    assert shown(table, f"{adaptive}@0.7") == shown(table, "llava:/mine/llava-1.5-7b-hf") == [("–", ""), ("–", "")]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"samples": 40}, [("55", ""), ("−5.00", "within the interval")]),
        ({}, [("55", ""), ("−5.00", "within the interval")]),
        ({"samples": 1234}, [("55", "of 1,234 questions"), ("–", "")]),
        ({"rule": "strict"}, []),
        ({"metric": "F2"}, []),
        ({"budget": 0.5}, []),
        ({"task": "toys"}, []),
    ],
)
def test_a_difference_needs_the_same_rule_metric_and_number_of_samples(new_run, make, plugins, changes, found):
    run = new_run().cell("mine", [1.0, 0.0] * 20, card=pope_card(make))
    fields = {"model": "mine", "task": "toy", "metric": "F1", "value": 55.0, "source": "a paper", "rule": "exact"}
    assert shown(table_of(run, plugins, PublishedScore(**(fields | changes))), "mine") == found


def test_a_partial_cell_is_beside_nothing(new_run, make, plugins):
    run = new_run().cell("mine", [1.0, 0.0] * 20, partial="--limit 40")
    score = PublishedScore(model="mine", task="toy", metric="accuracy", value=55, source="a paper", rule="exact")
    assert shown(table_of(run, plugins, score), "mine") == []


def test_every_format_has_them(new_run, make, plugins, write, tmp_path):
    run = new_run().cell("mine", [1.0, 0.0] * 20)
    score = PublishedScore(model="mine", task="toy", metric="accuracy", value=55, source="<b>a_paper</b>", rule="exact")
    table_of(run, plugins, score)
    text = {form: write(leaderboard, tmp_path / f"board{form}", run).read_text("utf-8") for form in (".md", ".html")}
    assert "−5.00 (within the interval)" in text[".md"]
    assert "accuracy, %: &lt;b&gt;a_paper&lt;/b&gt;" in text[".html"]
    (row,) = frame(make_board([run.directory], plugins)).to_dict("records")
    assert (row["published"], row["published_source"]) == (0.55, "<b>a_paper</b>")


def test_what_is_not_a_score_is_refused(new_run, make, plugins):
    (section,) = make_board([new_run().cell("mine", [1.0] * 20).directory], plugins).sections
    with pytest.raises(UserError, match="a plugin published a float"):
        with_published([section], [55.0])


def test_stored_predictions_are_compared_with_what_was_published_of_them(tmp_path, write, plugins):
    answers = tmp_path / "answers.jsonl"
    task = "shapes-pope(scenes=3)"
    run = adaptbench.run("says:yes", task, out=tmp_path / "first")
    (first,) = run.results
    records = (tmp_path / "first" / "cells" / first.key / "records.jsonl").read_text().splitlines()
    lines = [{name: record[name] for name in ("sample", "output")} for record in map(json.loads, records)]
    answers.write_text("\n".join(map(json.dumps, lines)))
    replayed = adaptbench.run(f"replay:{answers}", task, out=tmp_path / "second")
    (result,) = replayed.results
    fields = {"metric": "accuracy", "value": 52.5, "source": "a paper", "samples": len(lines)}
    score = PublishedScore(model=f"replay:{answers}", task="shapes-pope", **fields)
    run = types.SimpleNamespace(directory=RunDirectory.existing(tmp_path / "second"))
    assert shown(table_of(run, plugins, score), result.cell.model) == [("52.5", ""), ("−2.50", "within the interval")]


@pytest.mark.parametrize("name", ["adaptive-llava-1.5", "llava-1.5-broad"])
def test_each_model_of_the_suites_of_the_tables_is_found_by_its_name(monkeypatch, name):
    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
    registry = load_plugins().registry
    suite = load_suite(registry.find("suite", name).factory()())
    scores = Counter((score.model, score.budget, score.task, score.rule, score.metric) for score in published_scores())
    for task in plan_tasks(registry, Request((), suite.tasks)):
        name, rule = task.step.call.name, task.card.rule
        for model in map(parse, suite.models):
            for budget in suite.budgets if takes_budget(registry, model) else (1.0,):
                found = [scores[str(model), budget, name, rule, metric.name] for metric in task.card.metrics]
                assert sum(found) == 1, (model, budget, task)
