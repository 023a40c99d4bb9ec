import math
from dataclasses import replace

import numpy as np
import pytest
from adaptbench import Metric, Record, Sample, TaskCard, UserError
from adaptbench.harness.prefill_cost import PrefillCost
from adaptbench.harness.stats import mean_interval, share_interval
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
    assert summary["metrics"]["accuracy"] == share_interval(np.array([0, 0.5, 1]), noun="sum")
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
    assert summary["metrics"]["accuracy"] == share_interval(np.array(values), list(groups), noun="sum")


def test_groups_of_unscored_samples_do_not_count():
    summary = summarise(CARD, *cell([score(0.0), score(1.0), None], [None, None, "g"]))
    assert summary["metrics"]["accuracy"] == share_interval(np.array([0.0, 1.0]), noun="sum")


def test_a_sample_without_a_group_is_alone_even_if_a_group_has_its_name():
    scores = [score(v) for v in (0.0, 1.0, 1.0)]
    named = summarise(CARD, *cell(scores, [None, "s0", "s0"]))
    assert named == summarise(CARD, *cell(scores, [None, "g", "g"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"accuracy": math.nan, "length": 1}, "gave nan as 'accuracy', which is not finite"),
        ({"accuracy": 1, "length": math.inf}, "gave inf as 'length', which is not finite"),
        ({"accuracy": 1, "length": 1, "more": -math.inf}, "gave -inf as 'more', which is not finite"),
        ({"accuracy": "high", "length": 1}, "gave 'high' as 'accuracy', which is not finite"),
        ({"accuracy": None, "length": 1}, "gave None as 'accuracy', which is not finite"),
        ({"accuracy": 10**400, "length": 1}, "as 'accuracy', which is not finite"),
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


class TestDerivedFigures:
    CARD = TaskCard(
        capability="generate", metrics=(Metric(name="right"), Metric(name="yes"), Metric(name="f1", kind="derived"))
    )

    @staticmethod
    def f1(scores):
        right, yes, weights = scores.values["right"], scores.values["yes"], scores.weights
        hits, false, missed = (
            weights @ (right * yes),
            weights @ ((1 - right) * yes),
            weights @ ((1 - right) * (1 - yes)),
        )
        return {"f1": 2 * hits / (2 * hits + false + missed)} if hits + false + missed else {}

    def cell(self, n=60):
        samples = [Sample(f"s{i}", (0,), group=f"g{i // 3}", subsets={"split": "ab"[i % 2]}) for i in range(n)]
        values = [{"right": float(i % 4 != 0), "yes": float(i % 3 == 0)} for i in range(n)]
        return samples, [Record(s.id, "", "", "", v, group=s.group) for s, v in zip(samples, values, strict=True)]

    def test_are_those_of_the_task_with_an_interval_around_them(self):
        samples, records = self.cell()
        summary = summarise(self.CARD, samples, records, self.f1)
        made = summary["metrics"]["f1"]
        assert list(summary["metrics"]) == ["right", "yes", "f1"]
        assert made.value == 30 / (30 + 5 + 10)
        assert made.low < made.value < made.high
        assert made.method == "95 % bootstrap interval over 60 samples in 20 groups"

    def test_are_made_of_every_subset(self):
        samples, records = self.cell()
        (axis,) = (summary := summarise(self.CARD, samples, records, self.f1))["breakdown"]
        assert axis == "split"
        for name, metrics in summary["breakdown"]["split"].items():
            own = [i for i, sample in enumerate(samples) if sample.subsets["split"] == name]
            alone = summarise(self.CARD, [samples[i] for i in own], [records[i] for i in own], self.f1)
            assert metrics == alone["metrics"]

    def test_may_be_made_of_what_was_read_from_each_sample(self):
        samples, records = self.cell(6)
        records = [replace(record, parsed=["a", "b"] if i < 3 else "c") for i, record in enumerate(records)]

        def aggregate(scores):
            wanted = {record.sample: record.parsed for record in records}
            assert [wanted[name] for name in scores.ids] == scores.parsed
            return {"f1": scores.weights @ np.array([isinstance(said, list) for said in scores.parsed]) / 6}

        assert summarise(self.CARD, samples, records, aggregate)["metrics"]["f1"].value == 0.5

    def test_may_keep_what_no_weight_changes_for_all_draws_of_the_same_samples(self):
        made = []

        def aggregate(scores):
            if not scores.kept:
                scores.kept["ids"] = list(scores.ids)
                made.append(scores.kept["ids"])
            assert scores.kept["ids"] == scores.ids
            return {"f1": 1.0}

        samples, records = self.cell(6)
        records[1] = replace(records[1], scores=None)
        summarise(self.CARD, samples, records, aggregate)
        assert made == [["s0", "s2", "s3", "s4", "s5"], ["s0", "s2", "s4"], ["s3", "s5"]]

    def test_may_come_with_a_mean_that_an_official_script_rounds(self):
        samples, records = self.cell()
        plain = summarise(self.CARD, samples, records, self.f1)["metrics"]
        rounded = summarise(self.CARD, samples, records, lambda scores: {**self.f1(scores), "yes": 0.3})["metrics"]
        assert (rounded["yes"].value, rounded["yes"].low) == (0.3, plain["yes"].low)
        assert rounded["f1"] == plain["f1"]

    def test_that_do_not_exist_are_left_out(self):
        summary = summarise(self.CARD, *self.cell(), lambda scores: {"f1": math.nan})
        assert list(summary["metrics"]) == ["right", "yes"]

    def test_that_the_card_does_not_know_are_refused(self):
        with pytest.raises(UserError, match=r"aggregate\(\) gave 'f2', which is not a metric"):
            summarise(self.CARD, *self.cell(), lambda scores: {"f2": 1.0})

    def test_cover_the_truth_about_as_often_as_they_say(self):
        generator, covered = np.random.default_rng(3), 0
        for _ in range(60):
            values = [
                {"right": float(generator.random() < 0.8), "yes": float(generator.random() < 0.5)} for _ in range(150)
            ]
            records = [Record(f"s{i}", "", "", "", value) for i, value in enumerate(values)]
            samples = [Sample(record.sample, (0,)) for record in records]
            made = summarise(self.CARD, samples, records, self.f1)["metrics"]["f1"]
            covered += made.low <= 0.8 <= made.high  # precision and recall are both 0.8
        assert covered >= 51


def test_costs_are_averaged_over_the_samples_that_have_them():
    samples = [Sample(f"s{i}", (0,)) for i in range(4)]
    costs = [[PrefillCost(flops=10)], [PrefillCost(2, 5, flops=30), PrefillCost(2, 5)], [], [PrefillCost(2, 8)]]
    records = [Record(s.id, "", "", "", score(1.0), tuple(c)) for s, c in zip(samples, costs, strict=True)]
    made = summarise(CARD, samples, records)["costs"]
    assert {name: (cost.value, cost.n) for name, cost in made.items()} == {
        "flops": (20, 2), "text_tokens": (2, 3), "visual_tokens": (6, 3),
    }  # fmt: skip


def test_values_beyond_a_share_keep_the_t_interval():
    scores = [{"accuracy": v, "length": 1.0} for v in (0.5, 1.5, 1.0)]
    assert summarise(CARD, *cell(scores))["metrics"]["accuracy"] == mean_interval(np.array([0.5, 1.5, 1.0]), noun="sum")
