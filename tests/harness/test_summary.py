import math

import numpy as np
import pytest
from adaptbench import Metric, Record, Sample, TaskCard, UserError
from adaptbench.harness.stats import mean_interval
from adaptbench.harness.summary import checked_scores, summarise
from hypothesis import given
from hypothesis import strategies as st

CARD = TaskCard(
    capability="embed", metrics=(Metric(name="accuracy"), Metric(name="length", unit="")), sample_noun="sum"
)


def cell(scores, groups=None, parsed=lambda i: i):
    groups = groups or [None] * len(scores)
    samples = [Sample(f"s{i}", (0,), group=group) for i, group in enumerate(groups)]
    records = [Record(f"s{i}", "", i, parsed(i), score) for i, score in enumerate(scores)]
    return samples, records


def score(value):
    return {"accuracy": value, "length": 2 * value}


def test_each_metric_is_averaged_with_its_interval():
    summary = summarise(CARD, *cell([score(v) for v in (0.0, 0.5, 1.0)]))
    assert summary["metrics"]["accuracy"] == mean_interval(np.array([0, 0.5, 1]), noun="sum")
    assert summary["metrics"]["length"] == mean_interval(np.array([0, 1.0, 2]), noun="sum")
    assert (summary["samples"], summary["unscored"], summary["unparsed"]) == (3, 0, 0)


def test_unscored_is_not_wrong():
    summary = summarise(CARD, *cell([score(1.0), None, score(0.0), None]))
    assert summary["metrics"]["accuracy"].value == 0.5
    assert summary["metrics"]["accuracy"].n == 2
    assert (summary["samples"], summary["unscored"]) == (4, 2)


def test_what_could_not_be_parsed_is_counted_whether_or_not_it_was_scored():
    samples, records = cell([score(0.0), None, score(1.0)], parsed=lambda i: None if i < 2 else i)
    assert summarise(CARD, samples, records)["unparsed"] == 2


def test_where_nothing_could_be_scored_there_is_no_figure():
    summary = summarise(CARD, *cell([None, None]))
    assert (summary["metrics"], summary["unscored"]) == ({}, 2)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abc")), min_size=3, max_size=30))
def test_intervals_are_clustered_by_the_groups_of_the_samples(pairs):
    values, groups = zip(*pairs, strict=True)
    summary = summarise(CARD, *cell([score(v) for v in values], groups))
    assert summary["metrics"]["accuracy"] == mean_interval(np.array(values), list(groups), noun="sum")


def test_groups_of_unscored_samples_do_not_count():
    summary = summarise(CARD, *cell([score(0.0), score(1.0), None], [None, None, "g"]))
    assert summary["metrics"]["accuracy"] == mean_interval(np.array([0.0, 1.0]), noun="sum")


def test_a_sample_without_a_group_is_alone_even_if_a_group_has_its_name():
    scores = [score(v) for v in (0.0, 1.0, 1.0)]
    named = summarise(CARD, *cell(scores, [None, "s0", "s0"]))
    assert named == summarise(CARD, *cell(scores, [None, "g", "g"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"accuracy": math.nan, "length": 1}, "gave nan as 'accuracy', which is no finite number"),
        ({"accuracy": 1, "length": math.inf}, "gave inf as 'length', which is no finite number"),
        ({"accuracy": 1, "length": 1, "more": -math.inf}, "gave -inf as 'more', which is no finite number"),
        ({"accuracy": "high", "length": 1}, "gave 'high' as 'accuracy', which is no finite number"),
        ({"accuracy": None, "length": 1}, "gave None as 'accuracy', which is no finite number"),
        ({"accuracy": 10**400, "length": 1}, "as 'accuracy', which is no finite number"),
        ({"accuracy": 1}, "gave no 'length'"),
        (0.5, "gave a float"),
    ],
)
def test_a_score_that_is_none_is_refused_by_name(given, message):
    with pytest.raises(UserError) as caught:
        checked_scores(CARD, "s7", given)
    assert caught.value.where == "sample s7"
    assert message in caught.value.what


def test_the_scores_of_records_are_checked_too():
    samples, records = cell([score(0.0), {"accuracy": math.nan, "length": 0.0}])
    with pytest.raises(UserError, match=r"^sample s1: score.. gave nan as 'accuracy'"):
        summarise(CARD, samples, records)


def test_numbers_of_any_kind_become_plain_ones():
    scores = checked_scores(CARD, "s", {"accuracy": np.float32(0.5), "length": True, "more": np.int64(3)})
    assert scores == {"accuracy": 0.5, "length": 1.0, "more": 3.0}
    assert all(type(value) is float for value in scores.values())
    assert checked_scores(CARD, "s", None) is None
