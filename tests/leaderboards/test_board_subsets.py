"""The scores by subset on the board."""

import pytest
from adaptbench.harness.cards import Metric
from adaptbench.harness.results import Estimate
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.subsets import subset_tables


@pytest.fixture
def board(plugins):
    return lambda run: make_board([run.directory], plugins)


def estimate(value, n=40):
    return Estimate(value=value, low=value - 0.1, high=value + 0.1, n=n, method="95 % t interval over 40 questions")


@pytest.fixture
def section(new_run, make, board):
    metrics = (*make.task_card.metrics, Metric(name="F1", kind="derived"))
    card = make.task_card.model_copy(update={"metrics": metrics})
    split = {"random": {"accuracy": estimate(0.9), "F1": estimate(0.8)}, "popular <b>": {"accuracy": estimate(0.7, 41)}}
    run = new_run().cell("a", make.scores(0.8), card=card, breakdown={"split": split})
    run.cell("b", make.scores(0.7, seed=2), card=card, breakdown={"split": {"random": {"accuracy": estimate(0.5)}}})
    return board(run.cell("c", make.scores(0.6, seed=3), card=card)).sections[0]


def test_one_table_an_axis_and_metric_and_a_row_a_model_that_has_it(section):
    accuracy, f1 = subset_tables(section)
    assert accuracy.title == "accuracy, % by split"
    assert accuracy.names == ["popular <b> (n = 41)", "random (n = 40)"]
    assert accuracy.rows == [("a", ["70.00 ± 10.00", "90.00 ± 10.00"]), ("b", ["–", "50.00 ± 10.00"])]
    assert f1 == ("F1, % by split", ["random (n = 40)"], [("a", ["80.00 ± 10.00"])])


def test_a_task_without_subsets_has_no_table(new_run, make, board):
    assert subset_tables(board(new_run().cell("a", make.scores(0.8))).sections[0]) == []
