"""Findings: a verdict is what the intervals say, and what is claimed is what the dissertation prints."""

from __future__ import annotations

import csv
import functools
import json
from itertools import pairwise

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
from adaptbench.leaderboards.dissertation.claims import FAILS, HOLDS, NOT_RUN, UNDECIDED, Chapter, Comparison
from adaptbench.leaderboards.dissertation.findings import CHAPTERS, findings, findings_study, load_chapter, verdict
from adaptbench.leaderboards.dissertation.published import read
from adaptbench.leaderboards.study import Verdict
from hypothesis import given
from hypothesis import strategies as st

LOADED = {number: load_chapter(number) for number in CHAPTERS}
SHIPPED = {finding.id: finding for finding in LOADED[5].findings}
THIRD = {finding.id: finding for finding in LOADED[3].findings}
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
        finding = "{id: a, statement: s, source: t, theirs: u, comparisons: [{of: base, budget: 1}]}"
        path.write_text(f"chapter: 1\nabout: a\nfindings: [{finding}]\n")
        with pytest.raises(UserError, match=r"mine.yaml: .*budget.*findings-5.yaml"):
            load_chapter(path)


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
        own = LOADED[3 if ids[0] in THIRD else 5]
        chosen = own.model_copy(update={"findings": [one for one in own.findings if one.id in ids]})
        made = findings_study(make_board([run.directory], plugins), plugins.registry, [chosen])
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
        made = findings_study(make_board([study.directory], plugins), plugins.registry, LOADED.values())
        assert made.tables[0].heads[3:] == ("other", "toy")
        assert [table.title for table in made.tables] == [
            "Findings of chapter 5",
            *(f"What decides the findings of chapter 5 ({base})" for base in ("other", "toy")),
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


class TestChapter3:
    def test_methods_are_held_against_the_base_and_each_other_target_by_target(self, episodes, decided):
        for method, mean in (("", 0.5), ("multitask-ft", 0.7), ("standard-ft", 0.6), ("maml", 0.4)):
            episodes.add(method, mean, on=("letters", "glyphs"))
        said, rows = decided(
            episodes, "multitask-over-direct", "multitask-over-lp-ft", "standard-over-direct", "maml-varies"
        )
        assert said == [HOLDS, NOT_RUN, HOLDS, FAILS]
        assert [row["task"] for row in rows[:2]] == ["glyphs", "letters"]
        assert (rows[0]["value"], rows[0]["trainings"]) == (pytest.approx(20), "2 0")

    GRID = ("more-tasks", "more-samples", "total-decides", "more-classes")

    def test_a_grid_is_compared_step_by_step(self, episodes, decided):
        for tasks, queries, mean in ((100, 4, 0.5), (100, 9, 0.6), (200, 4, 0.6), (200, 9, 0.7)):
            episodes.add("multitask-ft", mean, tasks=tasks, queries=queries)
        said, rows = decided(episodes, *self.GRID)
        assert said == [HOLDS, HOLDS, HOLDS, NOT_RUN]
        told = [(row["finding"], row["compared"].replace("vit+multitask-ft, trained with ", "")) for row in rows]
        one, two = "samples=75, tasks=100", "samples=150, tasks=200"
        assert told == [
            ("more-tasks", f"samples=75, tasks=200 against {one}"),
            ("more-tasks", f"{two} against samples=150, tasks=100"),
            ("more-samples", f"samples=150, tasks=100 against {one}"),
            ("more-samples", f"{two} against samples=75, tasks=200"),
            ("total-decides", "samples=150, tasks=100 against samples=75, tasks=200"),
            ("total-decides", "samples=75, tasks=200 against samples=150, tasks=100"),
            ("more-classes", "classes=more against classes=less"),
        ]
        assert [row["bound"] for row in rows[4:6]] == [-1, -1]

    def test_a_grid_that_does_not_rise(self, episodes, decided):
        for tasks, queries, mean in ((100, 4, 0.7), (100, 9, 0.6), (200, 4, 0.5), (200, 9, 0.4)):
            episodes.add("multitask-ft", mean, tasks=tasks, queries=queries)
        assert decided(episodes, *self.GRID)[0] == [FAILS, FAILS, FAILS, NOT_RUN]

    def test_no_limit_of_classes_is_the_largest(self, episodes, decided):
        for classes, mean in ((None, 0.7), (100, 0.6), (25, 0.5)):
            episodes.add("multitask-ft", mean, classes=classes)
        said, rows = decided(episodes, "more-classes")
        told = [row["compared"].replace("vit+multitask-ft, trained with ", "") for row in rows]
        assert told == ["classes=100 against classes=25", "classes=none against classes=100"]
        assert said == [HOLDS]

    def test_fewer_classes_than_ways_take_more_tasks(self, episodes, decided):
        episodes.add("multitask-ft", 0.7, classes=43)
        episodes.add("multitask-ft", 0.6, classes=10, ways=10, tasks=300)
        episodes.add("multitask-ft", 0.5, classes=10, ways=10, tasks=200)
        said, (row,) = decided(episodes, "more-classes")
        assert said == [HOLDS]
        assert row["value"] == pytest.approx(10)

    def test_selections_are_compared_target_by_target(self, episodes, decided):
        for target in ("greek", "hebrew", "thai"):
            for mode, mean in (("selected", 0.6), ("all", 0.5), ("random", 0.7)):
                if (target, mode) != ("thai", "all"):
                    episodes.add("multitask-ft", mean, on=(target,), source=f"task-list:{target}/{mode}/tasks.json")
        said, rows = decided(episodes, "selected-over-all", "selected-over-random", "selected-over-first")
        assert said == [HOLDS, FAILS, NOT_RUN]
        assert [row["task"] for row in rows] == ["greek", "hebrew", "greek", "hebrew", "thai", "average"]

    def test_other_sources_are_told_by_their_names(self, episodes, decided):
        like, other = (f"glyphs(split=base,scripts={name},per_class=10)" for name in ("cyrillic", "canadian-syllabics"))
        both = f"{like};{other}"
        for source, tasks, mean in ((like, 200, 0.7), (both, 200, 0.6), (both, 400, 0.8), (other, 200, 0.51)):
            episodes.add("multitask-ft", mean, source=source, tasks=tasks)
        said, rows = decided(episodes, "related-over-unrelated", "mixing-hurts", "related-over-mixed")
        assert said == [HOLDS, FAILS, HOLDS]
        assert [round(row["value"]) for row in rows] == [19, -10, 10]

    def test_digits_are_what_letters_do_not_help(self, episodes, decided):
        for method, letters, digits in (("", 0.3, 0.5), ("multitask-ft", 0.6, 0.51), ("standard-ft", 0.5, 0.6)):
            episodes.add(method, letters)
            episodes.add(method, digits, on=("digits-5way-1shot",))
        ids = ("multitask-over-direct", "unrelated-little", "unrelated-standard-hurts")
        said, rows = decided(episodes, *ids)
        assert said == [HOLDS, HOLDS, FAILS]
        assert [row["task"] for row in rows] == ["glyphs", "digits-5way-1shot", "digits-5way-1shot"]

    def test_prompts_are_compared_over_targets_each_with_trainings_of_its_own(self, episodes, decided):
        for task in ("tense", "topic"):
            add = functools.partial(episodes.add, on=(task,), capability="masked")
            add("", 0.4)
            add("prompt-ft", 0.6, source=task)
            for target, mean in (("", 0.7), (task, 0.65)):
                add("multitask-prompt-ft", 0.5, source="a;b", target=target)
                add("multitask-prompt-ft", mean, then="prompt-ft", source="a;b", target=target)
        said, rows = decided(episodes, "prompts-zero-shot", "prompts-few-shot", "prompts-selected")
        assert said == [HOLDS, HOLDS, FAILS]
        assert {row["task"] for row in rows} == {"average of 2"}

    def test_prompts_on_the_same_samples_are_compared_seed_by_seed(self, episodes, decided):
        add = functools.partial(episodes.add, on=("tense",), capability="masked", spread=0.2)
        add("prompt-ft", 0.4, source="tense")
        add("multitask-prompt-ft", 0.5, then="prompt-ft", source="a;b", target="")
        said, (row,) = decided(episodes, "prompts-few-shot")
        assert (said, row["trainings"]) == ([HOLDS], "2 2")
        assert row["high"] - row["low"] < 10  # trainings of one side are 40 points apart

    def test_of_several_trainings_the_common_recipe_is_meant(self, episodes, decided):
        episodes.add("", 0.5)
        episodes.add("multitask-ft", 0.3, tasks=50)
        for method in ("multitask-ft", "standard-ft"):
            episodes.add(method, 0.7)
        assert decided(episodes, "multitask-over-direct")[0] == [HOLDS]

    def test_tasks_that_one_side_lacks_are_left_out(self, episodes, decided):
        episodes.add("multitask-ft", 0.6, classes=10, on=("letters", "glyphs"))
        episodes.add("multitask-ft", 0.7)
        episodes.add("", 0.5)
        _, rows = decided(episodes, "more-classes", "multitask-over-direct")
        assert [row["task"] for row in rows] == ["glyphs", "glyphs"]

    def test_a_run_without_the_methods_is_one_clear_line(self, episodes, plugins):
        episodes.add("", 0.5)
        with pytest.raises(UserError, match="no finding is about a model"):
            findings_study(make_board([episodes.directory], plugins), plugins.registry, LOADED.values())


def by(table):
    return {(cell.row, cell.column): cell.value for cell in read(table)}


def gains(table, ours, theirs, within=""):
    """What one method gains over another in every row and column of a table."""
    cells = by(table)
    return [
        round(value - cells[f"{row.removesuffix(f' | {ours}')} | {theirs}", column], 2)
        for (row, column), value in cells.items()
        if row.endswith(f" | {ours}") and within in column
    ]


def between(values):
    """As the file writes it: ``+0.3 to +17.5``."""
    return f"{min(values):+.1f} to {max(values):+.1f}"


class TestTheFileOfChapter3:
    def test_quotes_the_tables_of_methods(self):
        for finding, theirs, within in (
            ("multitask-over-direct", "Adaptation", ("1-shot", "5-shot")),
            ("multitask-over-standard", "Standard FT", ("1-shot", "5-shot")),
        ):
            one, five = (between(gains("3.2", "Ours", theirs, shots)) for shots in within)
            assert THIRD[finding].theirs == f"{one} points with 1 shot, {five} with 5"
        assert THIRD["multitask-over-maml"].theirs == f"{between(gains('A.12', 'Ours', 'MAML'))} points"
        maml = gains("A.12", "MAML", "Adaptation")
        better = sum(gain > 1e-9 for gain in maml)
        assert THIRD["maml-varies"].theirs == f"better in {better} of {len(maml)} settings, {between(maml)} points"
        assert THIRD["standard-over-direct"].theirs == f"{between(gains('3.2', 'Standard FT', 'Adaptation'))} points"

    def test_quotes_the_grid(self):
        cells = {(int(row), int(column.split("| ")[1])): value for (row, column), value in by("A.11").items()}
        sizes = (200, 400, 600, 800), (150, 300, 450, 600)
        tasks = [cells[high, m] - cells[low, m] for low, high in pairwise(sizes[0]) for m in sizes[1]]
        samples = [cells[M, high] - cells[M, low] for low, high in pairwise(sizes[1]) for M in sizes[0]]
        assert THIRD["more-tasks"].theirs.startswith(between(tasks))
        assert THIRD["more-samples"].theirs.startswith(between(samples))
        totals = {}
        for (count, size), value in cells.items():
            totals.setdefault(count * size, []).append(value)
        assert f"{max(max(v) - min(v) for v in totals.values()):.2f}" in THIRD["total-decides"].theirs
        doubled = [np.mean(totals[2 * t]) - np.mean(v) for t, v in totals.items() if 2 * t in totals]
        assert f"{min(doubled):.1f} to {max(doubled):.1f} points" in THIRD["total-decides"].why
        assert THIRD["total-decides"].comparisons[0].margin < min(doubled)

    def test_quotes_the_studies_of_data(self):
        rows = [by(table) for table in ("A.1", "A.2")] + [
            {column: value for (own, column), value in by("A.3").items() if own == row}
            for row in ("DINOv2", "CLIP", "Supervised")
        ]
        limited = [[value for name, value in row.items() if not str(name).endswith("| 0')")] for row in rows]
        steps = [high - low for values in limited for high, low in pairwise(values)]
        assert f"+{min(steps):.2f} to +{max(steps):.1f} points" in THIRD["more-classes"].theirs
        related = gains("A.4", "DomainNet", "ImageNet")
        assert THIRD["related-over-unrelated"].theirs == f"{between(related)} points"
        adapted = {row: value for (row, column), value in by("3.2").items() if column == "DomainNet | 1-shot"}
        unrelated = {row.removesuffix(" | ImageNet"): value for (row, _), value in by("A.4").items() if "Image" in row}
        gained = [
            round(value - adapted[f"{row.replace('Supervised', 'Supervised pretraining on ImageNet')} | Adaptation"], 2)
            for row, value in unrelated.items()
        ]
        assert THIRD["unrelated-little"].theirs.startswith(f"{between(gained)} points")
        assert -THIRD["unrelated-little"].comparisons[0].bound == pytest.approx(max(gained), abs=0.05)
        mixed, studies = by("A.5"), by("A.6")
        lost = [
            mixed[row, "DomainNet + ImageNet"] - mixed[row, "DomainNet"] for row in ("DINOv2", "CLIP", "Supervised")
        ]
        assert THIRD["mixing-hurts"].theirs == "{:+.1f}, {:+.1f} and {:+.1f} points".format(*lost)
        standard = [studies[row, "2 ImageNet (SFT)"] - studies[row, "1 Adaptation"] for row, _ in list(mixed)[::2]]
        assert THIRD["unrelated-standard-hurts"].theirs.startswith("{:+.1f}, {:+.1f} and {:+.1f}".format(*standard))

    def test_quotes_selection(self):
        for finding, other in (("selected-over-random", "Random"), ("selected-over-first", "No Div.")):
            gained = gains("3.1", "Selected", other)
            above = f"above in {sum(gain > 0 for gain in gained)} of 27, by {np.mean(gained):.1f} points on average"
            assert THIRD[finding].theirs == above
        gained, task_level = gains("3.1", "Selected", "No Con."), gains("A.7", "Selected", "All")
        assert THIRD["selected-over-all"].theirs == (
            f"{between(gained)} points, above in {sum(g > 0 for g in gained)} and equal in {gained.count(0)} of 27 "
            f"(Table 3.1); above in {sum(g > 0 for g in task_level)} and equal in {task_level.count(0)} (Table A.7)"
        )

    def test_quotes_prompts(self):
        multi, selected = "Multitask Prompt-based FT", "Multitask Prompt-based FT | + task selection"
        cells = by("A.16")

        def better(ours, theirs):
            gained = [cells[ours, column] - cells[theirs, column] for row, column in cells if row == ours]
            return f"{sum(gain > 1e-9 for gain in gained)} of 15", f"by {np.mean(gained):.1f}"

        zero = "Multitask FT zero-shot"
        for finding, pairs in (
            ("prompts-zero-shot", [(zero, "Prompt-based zero-shot")]),
            ("prompts-few-shot", [(multi, "Prompt-based FT")]),
            ("prompts-selected", [(selected, multi), (f"{zero} | + task selection", zero)]),
        ):
            assert all(text in THIRD[finding].theirs for pair in pairs for text in better(*pair)), finding
        best = {
            c: max(cells[multi, c], cells[selected, c]) - cells["Prompt-based FT", c] for r, c in cells if r == multi
        }
        assert f"({sum(gain > 0 for gain in best.values())} if the better" in THIRD["prompts-few-shot"].theirs

    def test_every_bound_has_a_reason(self):
        for finding in THIRD.values():
            if any(claim.margin or any(claim.bounds) for claim in finding.comparisons):
                assert finding.why, finding.id


def test_a_file_needs_one_bound_or_one_for_each_budget():
    claim = {"of": "base", "budgets": [0.5, 1], "bound": [1]}
    finding = {"id": "a", "statement": "s", "source": "t", "theirs": "u", "comparisons": [claim]}
    with pytest.raises(ValueError, match="one for each budget"):
        Chapter.model_validate({"chapter": 1, "about": "a", "findings": [finding]})
