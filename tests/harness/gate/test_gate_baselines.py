"""Baselines and what is compared with them: every way in which a cell can differ has its own reason."""

import json

import pytest
from adaptbench.harness.contracts import Record
from adaptbench.harness.errors import UserError
from adaptbench.harness.execution import Execution, LayerWork
from adaptbench.harness.gate.accuracy import AccuracyRule
from adaptbench.harness.gate.baselines import Baseline, CellBaseline, SampleBaseline, read_baseline, write_baseline
from adaptbench.harness.gate.cells import compare_accuracy, compare_with_baseline
from adaptbench.harness.gate.check import changes
from adaptbench.harness.gate.exact import compare_exactly
from adaptbench.harness.prefill_cost import PrefillCost
from adaptbench.harness.results import CellId

RULE = AccuracyRule()


def record(i, *, output="yes", parsed=True, score=1.0, layers=2, tokens=7, flops=100, group=None):
    ran = Execution(tuple(LayerWork(layer, tokens, 4) for layer in range(layers)))
    cost = PrefillCost(text_tokens=5, visual_tokens=tokens, flops=flops, ran=ran)
    scores = None if score is None else {"accuracy": score}
    return Record(f"s{i}", "", output, parsed, scores, (cost,), group)


def cell(count=10, *, changed=(), replays=False, **one):
    """A cell of which the first samples in ``changed`` differ."""
    records = [record(i, **(changed[i] if i < len(changed) else {})) for i in range(count)]
    samples = {r.sample: SampleBaseline.of(r) for r in records}
    scores = [s.scores["accuracy"] for s in samples.values() if s.scores]
    told = {
        "cell": CellId(model="m", task="t"), "samples_digest": "d" * 64, "rule": "official/1", "metric": "accuracy",
        "better": "higher", "replays": replays, "flops": 100, "flops_convention": ("FLOP", "forward", "fvcore"),
        "parameters": 9, "metrics": {"accuracy": sum(scores) / max(1, len(scores))}, "samples": samples,
    }  # fmt: skip
    return CellBaseline(**told | one)


class TestExact:
    @pytest.mark.parametrize(
        ("head", "status", "code"),
        [
            (cell(), "pass", "same"),
            (cell(samples_digest="e" * 64), "refused", "samples-changed"),
            (cell(rule="official/2"), "refused", "rule-changed"),
            (cell(metric="f1"), "refused", "rule-changed"),
            (cell(flops=101), "fail", "flops-changed"),
            (cell(flops_convention=("FLOP", "forward", "torch")), "fail", "flops-changed"),
            (cell(flops=None), "fail", "flops-changed"),
            (cell(parameters=10), "fail", "parameters-changed"),
            (cell(changed=[{"flops": 90}]), "fail", "flops-changed"),
            (cell(changed=[{"tokens": 6}]), "fail", "tokens-changed"),
            (cell(changed=[{"layers": 1}]), "fail", "plan-changed"),
            (cell(changed=[{"parsed": None}]), "fail", "parsed-changed"),
            (cell(changed=[{"score": 0.0}]), "fail", "scores-changed"),
            (cell(changed=[{"score": None}]), "fail", "scores-changed"),
            (cell(metrics={"accuracy": 0.9}), "fail", "metrics-changed"),
            (cell(metrics={"accuracy": 1.0 + 1e-13}), "pass", "same"),
        ],
    )
    def test_each_difference_has_its_reason(self, head, status, code):
        found = compare_exactly("m on t", cell(), head)
        assert (found.status, found.code) == (status, code)

    def test_another_answer_may_score_otherwise(self):
        assert compare_exactly("m on t", cell(), cell(changed=[{"output": "no", "score": 0.0}])).status == "pass"

    def test_but_not_if_the_answers_were_stored(self):
        stored = cell(replays=True)
        found = compare_exactly("m on t", stored, cell(replays=True, changed=[{"output": "no"}]))
        assert (found.status, found.code) == ("fail", "outputs-changed")

    def test_the_samples_are_named(self):
        found = compare_exactly("m on t", cell(), cell(changed=[{"score": 0.0}] * 5))
        assert "5 of 10 samples differ (s0, s1, s2, ...)" in found.detail
        assert (found.base, found.head) == ("accuracy 1", "accuracy 0")


class TestAccuracy:
    @pytest.mark.parametrize(
        ("changed", "status", "code"),
        [
            ([], "pass", "same"),
            ([{"output": "no", "score": 0.0}], "refused", "accuracy-undecided"),
            ([{"output": "no", "score": 0.0}] * 20, "fail", "accuracy-lost"),
            ([{"output": "", "score": None}], "refused", "unscored"),
        ],
    )
    def test_each_outcome_has_its_reason(self, changed, status, code):
        found = compare_accuracy("m on t", cell(100), cell(100, changed=changed), RULE)
        assert (found.kind, found.status, found.code) == ("accuracy", status, code)

    def test_lower_may_be_better(self):
        worse = [{"output": "no", "score": 0.0}] * 20
        errors = {"better": "lower"}
        assert compare_accuracy("c", cell(100, **errors), cell(100, changed=worse, **errors), RULE).status == "pass"
        assert compare_accuracy("c", cell(100, changed=worse, **errors), cell(100, **errors), RULE).status == "fail"

    def test_samples_of_one_group_are_one_loss(self):
        grouped = [{"group": "g"}] * 10
        lost = [{"group": "g", "output": "no", "score": 0.0}] * 10
        assert compare_accuracy("c", cell(500), cell(500, changed=lost), RULE).status == "fail"
        found = compare_accuracy("c", cell(500, changed=grouped), cell(500, changed=lost), RULE)
        assert found.code == "accuracy-undecided"


def suite(**cells):
    return Baseline(suite="s", cells=cells)


class TestSuite:
    def test_cells_come_and_go_by_renewal_only(self):
        found = compare_with_baseline(suite(a=cell(), b=cell()), suite(b=cell(), c=cell()), RULE, ("exact", "accuracy"))
        assert [(f.cell, f.kind, f.code) for f in found] == [
            ("a", "exact", "cell-missing"), ("b", "exact", "same"), ("b", "accuracy", "same"),
            ("c", "exact", "no-baseline"),
        ]  # fmt: skip

    def test_without_a_baseline_nothing_passes(self):
        assert {f.status for f in compare_with_baseline(None, suite(a=cell()), RULE, ("exact",))} == {"refused"}

    def test_what_is_not_comparable_has_no_accuracy(self):
        found = compare_with_baseline(suite(a=cell()), suite(a=cell(rule="x/1")), RULE, ("exact", "accuracy"))
        assert [f.code for f in found] == ["rule-changed"]


class TestFiles:
    def test_a_file_is_read_as_it_was_written(self, tmp_path):
        written = suite(a=cell(changed=[{"score": None, "output": "\ud800\x00"}]), b=cell(replays=True))
        write_baseline(tmp_path / "x" / "s.json", written)
        assert read_baseline(tmp_path / "x" / "s.json") == written

    def test_the_same_run_has_the_same_text(self):
        one, other = suite(a=cell(), b=cell()), suite(b=cell(), a=cell())
        assert one.text() == other.text()

    def test_a_sample_is_a_line(self):
        before, after = (
            suite(a=cell()).text(),
            suite(a=cell(changed=[{"score": 0.0}], metrics={"accuracy": 1.0})).text(),
        )
        lines = [(x, y) for x, y in zip(before.splitlines(), after.splitlines(), strict=True) if x != y]
        assert len(lines) == 1
        assert '"s0"' in lines[0][0]

    def test_no_time_is_stored(self):
        assert not {"seconds", "time", "median", "date"} & set(json.loads(suite(a=cell()).text())["cells"]["a"])

    def test_there_may_be_none_yet(self, tmp_path):
        assert read_baseline(tmp_path / "none.json") is None

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", "{nonsense", '{"format": 2, "suite": "s", "cells": {}}', '{"suite": "s", "x": 1}']
    )
    def test_what_is_not_a_baseline_is_refused(self, tmp_path, content):
        path = tmp_path / "s.json"
        path.write_text(content)
        with pytest.raises(UserError, match=r"s\.json: .*--update"):
            read_baseline(path)


def test_renewal_says_what_changes():
    before = suite(a=cell(), b=cell(), c=cell(100), d=cell())
    after = suite(a=cell(), b=cell(flops=7), c=cell(100, changed=[{"output": "no", "score": 0.0}]), e=cell(500))
    assert changes(before, after, RULE) == [
        "~ b: flops-changed: 100 -> 7 (FLOPs of an input)",
        "~ c: accuracy 1.0000 -> accuracy 0.9900",
        "- d: no longer in the suite",
        "+ e: accuracy 1.0000; 500 samples, of which 4 may be lost, "
        "and a loss of 0.04 is stopped with a chance of 1.00",
    ]
    assert changes(after, after, RULE) == ["nothing changes"]
