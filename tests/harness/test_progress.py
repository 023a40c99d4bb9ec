import io

import pytest
from adaptbench import Metric, ModelCard, TaskCard
from adaptbench.harness.progress import SILENT, Bars, Lines, Progress, StepBars, describe, outcome
from adaptbench.harness.results import CellId, CellResult, Estimate


def result(metric=None, estimate=None, **cell):
    metric = metric or Metric(name="accuracy")
    return CellResult(
        key="k", cell=CellId(model="m", task="t", **cell), model_card=ModelCard(capabilities=("embed",)),
        task_card=TaskCard(capability="embed", metrics=(metric,)), samples_digest="d", samples=2, unscored=0,
        unparsed=0, partial=None, metrics={metric.name: estimate} if estimate else {}, flops=None, settings={},
        records_sha256="",
    )  # fmt: skip


HALF = Estimate(value=0.5, low=0.4, high=0.6, n=9, method="t")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ({}, "m on t"),
        ({"budget": 0.85}, "m @0.85 on t"),
        ({"seed": 3}, "m on t (seed 3)"),
        ({"budget": 0.5, "seed": 1}, "m @0.5 on t (seed 1)"),
    ],
)
def test_a_cell_is_named_by_what_is_not_usual_about_it(cell, text):
    assert describe(CellId(model="m", task="t", **cell)) == text


def test_an_outcome_has_the_unit_and_the_interval_of_its_metric():
    assert outcome(result(estimate=HALF)) == "accuracy 50.00 +- 10.00 %"
    assert outcome(result(Metric(name="loss", unit=""), HALF)) == "loss 0.50 +- 0.10"
    assert outcome(result(estimate=Estimate(value=0.5, low=None, high=None, n=1, method=""))) == "accuracy 50.00 %"
    two = Estimate(value=0.0, low=0.0, high=0.66, n=2, method="")
    assert outcome(result(estimate=two)) == "accuracy 0.00 [0.00, 66.00] %"
    assert outcome(result()) == "nothing could be scored"


def test_a_log_has_a_line_when_a_cell_begins_and_one_when_it_ends():
    stream = io.StringIO()
    lines = Lines(2, stream)
    lines.start(CellId(model="m", task="t"), 20, 5)
    lines.answered(3, 9)
    lines.recorded(10)
    lines.finish(result(estimate=HALF), None, reused=False)
    lines.finish(result(estimate=HALF), None, reused=True)
    assert stream.getvalue().splitlines() == [
        "[1/2] m on t: 20 samples, 5 done before",
        "[1/2] m on t: accuracy 50.00 +- 10.00 %",
        "[2/2] m on t: accuracy 50.00 +- 10.00 % (complete before)",
    ]


def test_a_terminal_has_bars_and_keeps_the_outcomes(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with Bars(1) as bars:
        bars.start(CellId(model="[red]m", task="t"), 20, 5)
        bars.answered(3, 9)
        bars.recorded(10)
        bars.finish(result(estimate=HALF), None, reused=False)
        bars.note("waiting [for] another")
    shown = capsys.readouterr().err
    assert "m on t: accuracy 50.00 +- 10.00 %" in shown
    assert "waiting [for] another" in shown, "names are text, not markup"


def test_silence_is_the_default(capsys):
    silent = Progress()
    silent.note("x")
    silent.start(CellId(model="m", task="t"), 1, 0)
    silent.answered(1, 1)
    silent.recorded(1)
    silent.finish(result(), None, reused=False)
    assert capsys.readouterr() == ("", "")


def test_steps_are_given_on_one_by_one_and_a_terminal_has_a_bar_for_them(capsys, monkeypatch):
    assert list(SILENT.over(["a", "b"], "tasks")) == ["a", "b"]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with StepBars() as bars:
        assert list(bars.over(["a", "b"], "tasks")) == ["a", "b"]
    found = capsys.readouterr()
    assert "tasks" in found.err
    assert "2/2" in found.err
    assert found.out == ""
