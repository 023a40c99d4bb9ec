"""Two sides are compared where they can be, and refused with the reason where they cannot."""

import json

import numpy as np
import pytest
from adaptbench.harness.cards import Metric, ModelCard, TaskCard
from adaptbench.harness.comparison import Comparison, Side, compare
from adaptbench.harness.contracts import Record, Sample
from adaptbench.harness.errors import UserError
from adaptbench.harness.results import CellId, CellResult, FlopCount, Timing
from adaptbench.harness.stats import mcnemar_p
from adaptbench.harness.store import RunDirectory, Session
from adaptbench.harness.summary import summarise

CARD = TaskCard(capability="generate", rule="exact", sample_noun="question")
SESSION = {"started": "2026-01-02T03:04:05+00:00", "command": "run", "environment": {}}


def flops(value, **changes):
    return FlopCount(**({"value": value, "phase": "prefill", "counter": "fvcore", "attention": "eager"} | changes))


def timing(median, **changes):
    fields = {"session": "s", "machine": "CPU", "device": "cpu", "what": "prefill", "inputs": 8, "warmup": 1}
    fields |= {"repeats": 9, "median": median, "q1": median, "q3": median, "p95": median, "peak_memory": 100}
    return Timing(**(fields | changes))


@pytest.fixture
def runs(tmp_path):
    """Make run directories cell by cell: ``add(run, model, scores)``."""

    class Runs:
        def add(self, name, model, scores, *, task="toy", budget=1.0, seed=0, card=CARD, groups=None, **changes):
            run = RunDirectory(tmp_path / name)
            if not run.path.exists():
                run.begin(Session(id="s", **SESSION))
            groups = groups or [None] * len(scores)
            samples = [Sample(f"q{i}", [i], group=group) for i, group in enumerate(groups)]
            metric = card.metrics[0].name
            records = [
                Record(s.id, "0" * 64, "out", "out", None if v is None else {metric: v}, group=s.group)
                for s, v in zip(samples, scores, strict=True)
            ]
            journal = run.claim(f"{len(run.journals()):032x}", CellId(model=model, task=task, budget=budget, seed=seed))
            timed = changes.pop("timing", None)
            journal.acquire()
            journal.append(records)
            fields = {
                "key": journal.folder.name,
                "cell": CellId(model=model, task=task, budget=budget, seed=seed),
                "model_card": ModelCard(capabilities=("generate",)),
                "task_card": card,
                "samples_digest": "5a" * 32,
                "partial": None,
                "flops": None,
                "flops_missing": "not counted: toy",
                "settings": {},
                "records_sha256": journal.digest(),
                **summarise(card, samples, records),
            }
            whole = changes.pop("end_to_end", None)
            journal.finish(CellResult(**(fields | changes)), timed, whole)
            journal.release()
            return self

        def __call__(self, name):
            return RunDirectory(tmp_path / name)

        def compared(self, *sides):
            return compare(*(Side.at(tmp_path / side) for side in sides))

        def one(self, *sides):
            (task,) = self.compared(*sides).tasks
            return task

    return Runs()


def right(*places, n=40):
    return [float(i in places) for i in range(n)]


def test_accuracy_is_compared_sample_by_sample(runs):
    runs.add("a", "m", right(*range(30))).add("b", "m", right(*range(2, 40)))
    task = runs.one("a", "b")
    assert (task.n, task.baseline_score.value, task.candidate_score.value) == (40, 0.75, 0.95)
    assert task.difference.value == pytest.approx(0.2)
    assert task.difference.low < 0.2 < task.difference.high
    assert task.p == task.p_adjusted == mcnemar_p(10, 2)
    assert task.flips.lost == ("q0", "q1")
    assert task.flips.gained == tuple(f"q{i}" for i in range(30, 40))
    assert task.retained.value == pytest.approx(0.95 / 0.75)
    assert (task.verdict, task.refused, task.notes) == ("better", "", ())


def test_one_run_twice_differs_in_nothing(runs):
    task = runs.add("a", "m", right(*range(30))).add("b", "m", right(*range(30))).one("a", "b")
    assert (task.difference.value, task.p, task.retained.value, task.verdict) == (0, 1, 1, "not told apart")
    assert task.flips.gained == task.flips.lost == ()


def test_a_lower_loss_is_a_gain(runs):
    card = CARD.model_copy(update={"metrics": (Metric(name="loss", unit="", better="lower"),)})
    rng = np.random.default_rng(0)
    losses = rng.normal(3, 0.1, 40)
    task = (
        runs.add("a", "m", losses, card=card)
        .add("b", "m", losses - 1 + rng.normal(0, 0.1, 40), card=card)
        .one("a", "b")
    )
    assert task.difference.value == pytest.approx(-1, abs=0.05)
    assert (task.verdict, len(task.flips.gained), task.retained) == ("better", 40, None)
    assert task.gain == -task.difference.value


def test_samples_that_share_a_group_are_tested_together(runs):
    groups = [f"image {i // 10}" for i in range(40)]
    a, b = right(), right(*range(10))  # ten questions, but on one image
    plain = runs.add("a", "m", a).add("b", "m", b).one("a", "b")
    grouped = runs.add("c", "m", a, groups=groups).add("d", "m", b, groups=groups).one("c", "d")
    assert plain.p < 0.01
    assert grouped.p == 1
    assert grouped.difference.high - grouped.difference.low > plain.difference.high - plain.difference.low


def test_samples_without_a_score_are_left_out_and_counted(runs):
    task = runs.add("a", "m", [None, *right(n=39)]).add("b", "m", [1.0, None, *right(n=38)]).one("a", "b")
    assert task.n == 38
    assert task.notes == ("2 of 40 questions lack a score on one side",)


def test_the_p_values_of_all_tasks_are_adjusted(runs):
    for task, gained in (("x", 9), ("y", 6), ("z", 0)):
        runs.add("a", "m", right(), task=task).add("b", "m", right(*range(gained)), task=task)
    compared = runs.compared("a", "b")
    assert [task.p_adjusted for task in compared.tasks] == pytest.approx([3 * 2**-8, 2 * 2**-5, 1.0])
    assert [task.verdict for task in compared.tasks] == ["better", "not told apart", "not told apart"]


class TestPairs:
    def test_two_runs_are_paired_by_model_task_budget_and_seed(self, runs):
        for name in ("a", "b"):
            for model in ("m", "n"):
                for budget in (0.5, 1.0):
                    runs.add(name, model, right(*range(20)), budget=budget)
        pairs = [(t.baseline, t.candidate) for t in runs.compared("a", "b").tasks]
        assert len(pairs) == 4
        assert all(one == other for one, other in pairs)

    def test_runs_of_one_model_each_are_paired_whatever_it_is_called(self, runs):
        task = runs.add("a", "m", right()).add("b", "m+layers(keep=3)", right()).one("a", "b")
        assert (task.baseline.model, task.candidate.model) == ("m", "m+layers(keep=3)")

    def test_two_models_of_one_run(self, runs):
        runs.add("a", "m", right()).add("a", "m+fastv(k=2)", right()).add("a", "other", right())
        assert runs.one("a#m", "a#m+fastv( k=2 )".replace(" ", "")).candidate.model == "m+fastv(k=2)"

    def test_one_budget_of_the_baseline_is_held_against_all_of_the_candidate(self, runs):
        runs.add("a", "m", right())
        for budget in (0.5, 0.7, 1.0):
            runs.add("a", "m+ada", right(), budget=budget)
        compared = runs.compared("a#m", "a#m+ada")
        assert [task.candidate.budget for task in compared.tasks] == [0.5, 0.7, 1.0]
        assert runs.one("a#m", "a#m+ada@0.7").candidate.budget == 0.7

    def test_one_model_against_all_others_of_its_run(self, runs):
        runs.add("a", "m", right()).add("a", "n", right()).add("a", "o", right())
        assert [task.candidate.model for task in runs.compared("a#m", "a").tasks] == ["n", "o"]

    def test_what_has_no_partner_is_listed(self, runs):
        runs.add("a", "m", right()).add("a", "m", right(), task="x").add("b", "m", right()).add("b", "n", right())
        unpaired = {(one.side, one.cell.model, one.cell.task, one.reason) for one in runs.compared("a", "b").unpaired}
        assert unpaired == {("a", "m", "x", "not in b"), ("b", "n", "toy", "not in a")}

    def test_a_cell_that_is_not_complete_is_listed(self, runs):
        runs.add("a", "m", right()).add("b", "m", right()).add("a", "m", right(), task="x")
        runs("b").claim("f" * 32, CellId(model="m", task="x"))
        assert [(u.side, u.cell.task, u.reason) for u in runs.compared("a", "b").unpaired] == [
            ("b", "x", "not complete")
        ]

    def test_nothing_in_common_is_one_readable_line(self, runs):
        runs.add("a", "m", right()).add("b", "m", right(), task="x")
        with pytest.raises(UserError, match=r"no complete cells to compare \(m on x: not in a; m on toy: not in b\)"):
            runs.compared("a", "b")

    def test_a_model_that_the_run_lacks_is_named_with_its_neighbours(self, runs):
        runs.add("a", "pixels", right())
        with pytest.raises(UserError, match=r"no model pixel.*did you mean 'pixels'"):
            Side.of(runs("a"), "pixel")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"samples_digest": "1b" * 32}, "other samples: 5a5a5a5a, and 1b1b1b1b"),
        ({"partial": "--limit 40"}, "one is partial: whole, and --limit 40"),
        ({"card": CARD.model_copy(update={"rule_version": 2})}, "other scoring rule: exact v1, and exact v2"),
        ({"card": CARD.model_copy(update={"rule": "lmms-eval"})}, "other scoring rule: exact v1, and lmms-eval v1"),
        (
            {"card": CARD.model_copy(update={"metrics": (Metric(name="f1"),)})},
            "other metric: accuracy (higher is better), and f1 (higher is better)",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(runs, changes, reason):
    task = runs.add("a", "m", right()).add("b", "m", right(*range(30)), **changes).one("a", "b")
    assert (task.refused, task.verdict) == (reason, "not comparable")
    assert task.difference is task.p is task.p_adjusted is None


def test_two_runs_limited_alike_are_compared_and_marked(runs):
    partial = {"partial": "--limit 40"}
    task = runs.add("a", "m", right(), **partial).add("b", "m", right(), **partial).one("a", "b")
    assert (task.refused, task.notes) == ("", ("partial: --limit 40",))


class TestCosts:
    def costs(self, runs, one, other):
        runs.add("a", "m", right(), **one).add("b", "m", right(), **other)
        return {cost.name: cost for cost in runs.one("a", "b").costs}

    def test_ratios_are_the_candidates_over_the_baselines(self, runs):
        found = self.costs(
            runs,
            {"flops": flops(100), "timing": timing(0.8), "parameters": 10},
            {"flops": flops(50), "timing": timing(0.4, peak_memory=25), "parameters": 5},
        )
        ratios = {name: cost.ratio for name, cost in found.items()}
        assert ratios == {"FLOPs": 0.5, "time": 0.5, "memory": 0.25, "parameters": 0.5}
        assert (found["time"].baseline, found["time"].unit) == (0.1, "s")

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"machine": "GPU box"}, "timed elsewhere: CPU, cpu, and GPU box, cpu"),
            ({"session": "t"}, "timed in other sessions: run both in one"),
            ({"what": "embed()"}, "timed in different ways: prefill, and embed()"),
        ],
    )
    def test_times_need_one_machine_session_and_way(self, runs, change, reason):
        found = self.costs(runs, {"timing": timing(0.8)}, {"timing": timing(0.4, **change)})
        assert [(found[name].ratio, found[name].reason) for name in ("time", "memory")] == [(None, reason)] * 2

    def test_times_from_beginning_to_end_are_compared_where_both_have_them(self, runs):
        part = {"timing": timing(0.8), "end_to_end": timing(1.6, what="embed()")}
        whole = {"timing": timing(0.4, what="embed()", peak_memory=None), "end_to_end": timing(0.4, what="embed()")}
        found = self.costs(runs, part, whole)
        assert found["time"].ratio == 0.25
        assert found["memory"].ratio is None

    def test_flops_need_one_convention(self, runs):
        found = self.costs(runs, {"flops": flops(9)}, {"flops": flops(9, counter="profiler")})
        assert found["FLOPs"].ratio is None
        assert "counted under other conventions: FLOP, prefill, fvcore, and" in found["FLOPs"].reason

    def test_what_only_one_side_knows_is_said(self, runs):
        found = self.costs(runs, {"flops": flops(9), "flops_missing": ""}, {"parameters": 7})
        assert found["FLOPs"].reason == "not counted: toy"
        assert found["parameters"].reason == "not known of the baseline"


def test_it_is_the_same_after_a_round_through_json(runs):
    runs.add("a", "m", right(*range(30)), flops=flops(9)).add("b", "m", right(*range(25)), flops=flops(9))
    compared = runs.compared("a", "b")
    text = compared.model_dump_json()
    assert Comparison.model_validate_json(text) == compared
    assert json.loads(text)["tasks"][0]["flips"]["lost"] == [f"q{i}" for i in range(25, 30)]
