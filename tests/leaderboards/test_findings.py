"""Findings: a verdict is what the intervals say, and what is claimed is what the dissertation prints."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from adaptbench.harness.cards import MethodCard, ModelCard, TaskCard
from adaptbench.harness.contracts import Record, Sample
from adaptbench.harness.errors import UserError
from adaptbench.harness.prefill_cost import LanguageFlops, PrefillCost, Units
from adaptbench.harness.results import CellId, CellResult
from adaptbench.harness.spending import spending
from adaptbench.harness.summary import summarise
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.dissertation.claims import FAILS, HOLDS, NOT_RUN, UNDECIDED, Comparison, File
from adaptbench.leaderboards.dissertation.findings import findings, findings_study, load_findings, verdict
from adaptbench.leaderboards.dissertation.published import read
from adaptbench.leaderboards.dissertation.study import Verdict
from hypothesis import given
from hypothesis import strategies as st

SHIPPED = {finding.id: finding for finding in load_findings()}
CARD = TaskCard(summary="Toy", capability="generate", rule="exact", sample_noun="question", licence="CC0-1.0")
L, N = "toy+adallava-l", 100


def comparison(low, high, *, wide=1.0, bound=0.0, value=None):
    middle = (low + high) / 2 if value is None else value
    return Comparison((), (), bound, value=middle, ends=(low, high), wide=(low - wide, high + wide))


class TestVerdict:
    @pytest.mark.parametrize(
        ("ends", "said"), [((0.1, 5), HOLDS), ((-9, -1.1), FAILS), ((-9, -0.1), UNDECIDED), ((-1, 1), UNDECIDED)]
    )
    def test_what_must_always_hold_fails_by_the_wide_interval_only(self, ends, said):
        assert comparison(*ends).verdict("every") == said

    @pytest.mark.parametrize(
        ("ends", "said"), [((1.1, 5), HOLDS), ((0.1, 5), UNDECIDED), ((-9, -0.1), FAILS), ((-1, 1), UNDECIDED)]
    )
    def test_what_must_hold_once_holds_by_the_wide_interval_only(self, ends, said):
        assert comparison(*ends).verdict("some") == said

    def test_without_an_interval_nothing_is_decided(self):
        assert Comparison((), (), 0.0, value=5.0).verdict("every") == UNDECIDED
        assert Comparison((), (), 0.0).verdict("every") == NOT_RUN

    def test_never_takes_one_answer_to_fail(self):
        assert Comparison((), (), 0.0, value=0.0).verdict("never") == HOLDS
        assert Comparison((), (), 0.0, value=1.0).verdict("never") == FAILS

    GOOD, BAD, OPEN, GONE = comparison(3, 5), comparison(-5, -3), comparison(-3, 3), Comparison((), (), 0.0)

    @pytest.mark.parametrize(
        ("rule", "made", "said"),
        [
            ("every", (GOOD, GOOD), HOLDS),
            ("every", (GOOD, OPEN), UNDECIDED),
            ("every", (GOOD, OPEN, BAD), FAILS),
            ("every", (GOOD, GONE), NOT_RUN),
            ("some", (BAD, OPEN, GOOD), HOLDS),
            ("some", (BAD, OPEN), UNDECIDED),
            ("some", (BAD, BAD), FAILS),
            ("some", (GOOD, GONE), NOT_RUN),
        ],
    )
    def test_of_several_comparisons(self, rule, made, said):
        assert verdict(rule, made) == said

    @given(
        st.sampled_from(["every", "some"]),
        st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5),
    )
    def test_the_opposite_claim_never_has_the_same_verdict(self, rule, drawn):
        made = [comparison(m - h, m + h, wide=w) for m, h, w in drawn]
        turned = [comparison(-m - h, -m + h, wide=w, bound=1e-6) for m, h, w in drawn]
        other = verdict("some" if rule == "every" else "every", turned)
        assert {verdict(rule, made), other} not in ({HOLDS}, {FAILS})


def printed():
    """Row -> benchmark -> what Tables 5.2 and 5.3 print."""
    rows = {}
    for table in ("5.2", "5.3"):
        for cell in read(table):
            rows.setdefault(cell.row, {})[cell.column] = cell.value
    return rows


def changes(row, reference):
    """Changes of six benchmarks in per cent of another row's."""
    rows = printed()
    return [100 * (rows[row][name] / rows[reference][name] - 1) for name in rows[row]]


def row_of(selection, variant, budget):
    return f"{selection} | w/ AdaLLaVA-{variant} | Vicuna-7B | {budget}"


BASE, PRUNED, FAST = "LLaVA-1.5", "Prumerge+", "FastV (K=2,R=0.5)"


class TestTheFile:
    def bounds(self, finding):
        return [bound for claim in SHIPPED[finding].comparisons for bound in claim.bounds]

    def worst(self, *pairs):
        return [min(changes(row, reference)) for row, reference in pairs]

    def mean(self, *pairs):
        return [sum(changes(row, reference)) / 6 for row, reference in pairs]

    def test_margins_are_the_dissertations_own(self):
        top = f"{BASE} | Vicuna-7B | 100"
        at = [(v, budget) for v in "LH" for budget in (85, 60)]
        full = self.worst(*((row_of(BASE, v, 100), top) for v in "LH"))
        gentle = self.worst(*((row_of(BASE, v, budget), row_of(BASE, v, 100)) for v, budget in at))
        close = self.mean(*((row_of(BASE, v, budget), top) for v, budget in at))
        pruned = self.worst(*((row_of(PRUNED, "L", budget), f"{PRUNED} | Vicuna-7B | 100") for budget in (85, 60)))
        fast = self.worst(*((row_of(FAST, "L", budget), f"{FAST} | Vicuna-7B | 100") for budget in (85, 60)))
        for finding, values in (
            ("full-budget", full), ("gentle", gentle), ("close-to-base", close),
            ("with-prumerge-plus", pruned), ("with-fastv", fast),
        ):  # fmt: skip
            assert self.bounds(finding) == pytest.approx(values, abs=0.11), finding
            assert all(bound <= value + 1e-9 for bound, value in zip(self.bounds(finding), values, strict=True))

    def test_means_are_quoted_as_the_tables_give_them(self):
        top = f"{BASE} | Vicuna-7B | 100"
        for finding, pairs in (
            ("full-budget", [(row_of(BASE, v, 100), top) for v in "LH"]),
            ("close-to-base", [(row_of(BASE, v, b), top) for v in "LH" for b in (85, 60)]),
            ("gentle", [(row_of(BASE, v, b), row_of(BASE, v, 100)) for v in "LH" for b in (85, 60)]),
            ("with-prumerge-plus", [(row_of(PRUNED, "L", b), f"{PRUNED} | Vicuna-7B | 100") for b in (85, 60)]),
            ("with-fastv", [(row_of(FAST, "L", b), f"{FAST} | Vicuna-7B | 100") for b in (85, 60)]),
        ):
            for value in self.mean(*pairs):
                assert f"{value:.1f} %" in SHIPPED[finding].theirs, (finding, value)

    def test_heads_beat_pruning_where_the_tables_say_so(self):
        for finding, selection in (("heads-beat-prumerge-plus", PRUNED), ("heads-beat-fastv", FAST)):
            ours, base = printed()[row_of(selection, "H", 85)], printed()[f"{selection} | Vicuna-7B | 100"]
            better = {name for name in ours if ours[name] > base[name]}
            assert better == {"POPE", "MME"}
            for name in better:
                assert f"{name} {ours[name]} against {base[name]}" in SHIPPED[finding].theirs

    def test_table_5_5_is_quoted_as_it_is_printed(self):
        cells = {(cell.row, cell.column): cell.value for cell in read("5.5")}
        one, two = (f"AdaLLaVA-L ({name} scheduler)" for name in ("probabilistic", "deterministic"))
        for finding, column in (("probabilistic-as-good", "Accuracy"), ("probabilistic-uses-more", "Utilization (%)")):
            shown = [f"{cells[b, f'{one} | {column}'] - cells[b, f'{two} | {column}']:+.1f}" for b in
                     ("0.95", "0.85", "0.75", "0.65")]  # fmt: skip
            theirs = SHIPPED[finding].theirs.replace("0.0,", "+0.0,", 1)
            assert all(value in theirs for value in shown), shown
        assert all(cells[b, f"{one} | Success (%)"] == 100 for b in ("0.95", "0.85", "0.75", "0.65"))
        assert 100 - cells["0.95", f"{two} | Success (%)"] == pytest.approx(3.9)

    def test_every_bound_has_a_reason(self):
        for finding in SHIPPED.values():
            if any(any(claim.bounds) for claim in finding.comparisons):
                assert finding.why, finding.id

    def test_what_is_wrong_is_said(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text(
            "findings:\n- {id: a, statement: s, source: t, theirs: u, comparisons: [{of: base, budget: 1}]}\n"
        )
        with pytest.raises(UserError, match=r"mine.yaml: .*budget.*findings.yaml"):
            load_findings(path)


def cost(units):
    return PrefillCost(units=Units(units, 10), language=LanguageFlops(100 * units, 1000, 1000))


@pytest.fixture
def study(new_run, tmp_path):
    """A run that is filled with trainings: ``study.add("L", mean, ...)``."""
    run = new_run("study")

    def add(name, means, *, model=L, budgets=(1.0,), units=None, task="toy", noise=0.0, **recipe):
        for seed in range(len(means) if recipe else 1):
            spec = model
            if recipe:
                folder = tmp_path / f"{name}{seed}"
                folder.mkdir(exist_ok=True)
                (folder / "recipe.json").write_text(json.dumps({"seed": seed, "pruning": "", **recipe}))
                spec = model + f'(checkpoint="{folder}/model")'
            for budget in budgets:
                _cell(run, spec, means[seed], budget, task, noise, units or (lambda b, _: int(10 * b)))

    run.add = add
    return run


def _cell(run, model, mean, budget, task, noise, units):
    rng = np.random.default_rng(abs(hash((noise, budget))) % 2**32 if noise else 0)
    hard = np.random.default_rng(0).permutation(N)
    right = (hard < mean * N) ^ (rng.random(N) < noise)
    samples = [Sample(f"q{i}", [i], group=f"image {i // 5}") for i in range(N)]
    records = [
        Record(f"q{i}", f"{i:064}", "yes", "yes", {"accuracy": float(right[i])}, (cost(units(budget, i)),),
               group=f"image {i // 5}")
        for i in range(N)
    ]  # fmt: skip
    cell = CellId(model=model, task=task, budget=budget)
    journal = run.directory.claim(f"{len(run.directory.journals()):032x}", cell)
    journal.acquire()
    journal.append(records)
    fields = {
        "key": journal.folder.name, "cell": cell,
        "model_card": ModelCard(summary="toy", capabilities=("generate",)),
        "method_cards": {"adallava-l": MethodCard(takes_budget=True)}, "task_card": CARD,
        "samples_digest": "5a" * 32, "partial": None, "flops": None, "settings": {},
        "records_sha256": journal.digest(), "spending": spending(records, budget),
        **summarise(CARD, samples, records),
    }  # fmt: skip
    journal.finish(CellResult(**fields), None)
    journal.release()


@pytest.fixture
def decided(plugins):
    """Finding -> its verdict and its comparisons as rows for programs."""

    def verdicts(run, *ids):
        made = findings_study(make_board([run.directory], plugins), [SHIPPED[name] for name in ids])
        said = [row[-1].text for row in made.tables[0].rows]
        assert all(isinstance(row[-1], Verdict) for row in made.tables[0].rows)
        return said, made.values

    return verdicts


PROBABILISTIC, DETERMINISTIC, RANDOM = ({"scheduler": s} for s in ("probabilistic", "deterministic", "random"))
FOUR = (0.95, 0.85, 0.75, 0.65)


class TestOnRuns:
    def test_the_probabilistic_scheduler_is_as_the_dissertation_says(self, study, decided):
        study.add("L", (0.80, 0.81, 0.82), budgets=FOUR, **PROBABILISTIC)
        study.add("D", (0.60, 0.61, 0.62), budgets=FOUR, units=lambda b, i: 10 if i % 5 == 0 else 4, **DETERMINISTIC)
        ids = ("deterministic-violates", "probabilistic-uses-more", "probabilistic-as-good")
        said, rows = decided(study, *ids)
        assert said == [HOLDS, HOLDS, HOLDS]
        (row,) = [r for r in rows if r["finding"] == ids[2] and "0.95" in r["compared"]]
        assert row["value"] == pytest.approx(20)
        assert row["low"] < 20 < row["high"]
        assert row["trainings"] == "3 3"

    def test_the_other_way_about(self, study, decided):
        study.add("L", (0.60, 0.61, 0.62), budgets=FOUR, units=lambda b, i: 5, **PROBABILISTIC)
        study.add("D", (0.80, 0.81, 0.82), budgets=FOUR, **DETERMINISTIC)
        said, _ = decided(study, "probabilistic-uses-more", "probabilistic-as-good")
        assert said == [FAILS, FAILS]

    def test_what_is_equal_is_not_below(self, study, decided):
        study.add("L", (0.8, 0.7), budgets=FOUR, units=lambda b, i: 6, **PROBABILISTIC)
        study.add("D", (0.8, 0.7), budgets=FOUR, units=lambda b, i: 10 if i % 5 == 0 else 5, **DETERMINISTIC)
        assert decided(study, "probabilistic-uses-more")[0] == [HOLDS]  # 6 against a mean of 6 in every image

    def test_what_trainings_scatter_over_is_undecided(self, study, decided):
        study.add("L", (0.4, 0.6, 0.8), budgets=FOUR, **PROBABILISTIC)
        study.add("D", (0.35, 0.55, 0.75), budgets=FOUR, **DETERMINISTIC)
        assert decided(study, "probabilistic-as-good")[0] == [UNDECIDED]

    def test_no_answer_beyond_the_budget_out_of_few_images_does_not_say_never(self, study, decided):
        study.add("D", (0.8, 0.8, 0.8), budgets=FOUR, **DETERMINISTIC)
        said, rows = decided(study, "deterministic-violates")
        assert said == [UNDECIDED]  # 20 images without one leave room for 16 %
        assert {row["value"] for row in rows} == {0}
        assert rows[0]["high"] == pytest.approx(100 * 1.96**2 / (20 + 1.96**2), abs=0.01)

    def test_one_answer_beyond_is_one_too_many(self, study, decided):
        budgets = (1.0, 0.95, 0.85, 0.75, 0.65, 0.6)
        study.add(
            "L", (0.8,), budgets=budgets, units=lambda b, i: int(10 * b) + (b == 0.85 and i == 7), **PROBABILISTIC
        )
        study.add("H", (0.8,), model="toy+adallava-h", budgets=(1.0, 0.85, 0.6), **PROBABILISTIC)
        said, rows = decided(study, "probabilistic-keeps")
        assert said == [FAILS]
        assert [row["value"] for row in rows if row["verdict"] == FAILS] == [1]

    def test_random_plans_may_vary_more(self, study, decided):
        budgets = (0.95, 0.85, 0.75, 0.6)
        study.add("L", (0.7, 0.75, 0.8), budgets=budgets, **PROBABILISTIC)
        study.add("R", (0.3, 0.5, 0.8), budgets=budgets, **RANDOM)
        (said,), (row,) = decided(study, "random-varies")
        assert (said, row["value"]) == (UNDECIDED, pytest.approx((0.19 / 3) ** 0.5 / 0.05, abs=0.01))

    def test_relative_is_the_mean_of_the_tasks_changes(self, study, decided):
        for task, means in (("toy", (0.8, 0.4)), ("riddles", (0.4, 0.3))):
            study.add("base", means[:1], model="toy", task=task)
            study.add("L", means[1:], task=task, **PROBABILISTIC)
            study.add("H", means[1:], model="toy+adallava-h", task=task, **PROBABILISTIC)
        (said,), rows = decided(study, "full-budget")
        assert said == FAILS
        assert rows[0]["value"] == pytest.approx(100 * (0.5 + 0.75) / 2 - 100)

    def test_relative_to_what_has_no_error_is_the_difference_over_it(self, study, decided):
        study.add("base", (1.0,), model="toy")
        study.add("L", (0.9, 0.95), **PROBABILISTIC)
        study.add("H", (0.9,), model="toy+adallava-h", **PROBABILISTIC)
        _, (row, _) = decided(study, "full-budget")
        trained = 0.025**2
        assert row["value"] == pytest.approx(-7.5)
        assert (row["high"] - row["low"]) / 2 > 100 * 1.96 * trained**0.5

    def test_what_is_missing_is_named(self, study, decided):
        study.add("L", (0.8,), budgets=FOUR, **PROBABILISTIC)
        (said,), rows = decided(study, "learned-over-random")
        assert said == NOT_RUN
        assert f"{L}@0.6" in rows[-1]["lacks"]
        assert f"{L}, trained with scheduler=random" in rows[0]["lacks"]

    def test_the_spread_of_one_training_is_not_known(self, study, decided):
        for name, recipe in (("L", PROBABILISTIC), ("R", RANDOM)):
            study.add(name, (0.5,), budgets=(0.95, 0.85, 0.75, 0.6), **recipe)
        (said,), (row,) = decided(study, "random-varies")
        assert (said, row["lacks"]) == (NOT_RUN, "two trainings on either side")

    def test_cells_that_do_not_say_what_they_spent(self, new_run, make, decided):
        run = new_run()
        for budget in (1.0, 0.95, 0.85, 0.75, 0.65, 0.6):
            run.cell(L, make.scores(0.5), budget=budget)
            run.cell("toy+adallava-h", make.scores(0.5), budget=budget)
        said, rows = decided(run, "probabilistic-keeps", "one-model")
        assert said == [NOT_RUN, NOT_RUN]
        assert {row["lacks"] for row in rows} == {"what the answers spent"}

    def test_tasks_without_a_percentage_decide_nothing(self, new_run, make, decided):
        card = make.task_card.model_copy(update={"metrics": (make.metric(name="loss", unit="", better="lower"),)})
        run = new_run().cell("toy", make.scores(0.5), card=card).cell(L, make.scores(0.4), card=card)
        assert decided(run, *SHIPPED)[0] == [NOT_RUN] * len(SHIPPED)

    def test_each_base_has_its_own(self, study, plugins):
        study.add("L", (0.8,), budgets=FOUR, **PROBABILISTIC)
        study.add("M", (0.8,), model="other+adallava-l", budgets=FOUR, **PROBABILISTIC)
        made = findings_study(make_board([study.directory], plugins), load_findings())
        assert [table.title for table in made.tables] == [
            f"{title} ({base})" for base in ("other", "toy") for title in ("Findings", "What decides")
        ]

    def test_every_format_has_every_finding(self, study, write, tmp_path):
        study.add("L", (0.8,), budgets=FOUR, **PROBABILISTIC)
        for ending in ("md", "html", "csv"):
            write(findings, tmp_path / f"f.{ending}", study)
        page, text = ((tmp_path / f"f.{e}").read_text("utf-8") for e in ("html", "md"))
        for finding in SHIPPED.values():
            assert finding.statement in text
            assert finding.statement.replace("'", "&#39;") in page
        rows = list(csv.DictReader((tmp_path / "f.csv").read_text("utf-8").splitlines()))
        assert {row["finding"] for row in rows} == set(SHIPPED)
        assert f"{sum(row['value'] != '' for row in rows)} comparisons" in text


def test_a_file_needs_one_bound_or_one_for_each_budget():
    claim = {"of": "base", "budgets": [0.5, 1], "bound": [1]}
    finding = {"id": "a", "statement": "s", "source": "t", "theirs": "u", "comparisons": [claim]}
    with pytest.raises(ValueError, match="one for each budget"):
        File.model_validate({"findings": [finding]})
