"""Tables over several trainings: which cells belong together, and intervals that cover questions and trainings."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.specs import parse
from adaptbench.harness.stats import mean_interval
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.dissertation.contrasts import Term, contrast, spread_ratio
from adaptbench.leaderboards.dissertation.seeds import seeds, seeds_study
from adaptbench.leaderboards.dissertation.trainings import Place, groups
from adaptbench.leaderboards.study import html, markdown
from hypothesis import given, settings
from hypothesis import strategies as st

L = "toy+adallava-l"
IMAGES = {"a": [f"group {i // 5}" for i in range(100)], "b": [f"group {i // 5}" for i in range(100)]}


def noise(shape, scale=0.3, seed=0):
    return np.random.default_rng(seed).normal(0.5, scale, shape)


def halves(*terms, clusters=IMAGES):
    return contrast(terms, clusters).half()


class TestContrast:
    def test_one_training_has_the_interval_of_its_mean(self):
        values = noise((1, 100))
        own = mean_interval(values[0], IMAGES["a"])
        found = contrast([Term("m", {"a": values})], IMAGES)
        assert found.value == pytest.approx(own.value)
        assert found.ends() == pytest.approx((own.low, own.high))

    def test_covers_the_truth_where_trainings_differ_more_than_questions(self):
        rng, hits = np.random.default_rng(1), 0
        for _ in range(400):
            values = rng.normal(0, 0.2, (3, 1)) + np.repeat(rng.normal(0, 0.05, 20), 5) + rng.normal(0, 0.1, (3, 100))
            low, high = contrast([Term("m", {"a": values})], IMAGES).ends()
            hits += low <= 0 <= high
        assert 0.92 <= hits / 400 <= 0.98  # drawing trainings and images with replacement covers 0.77 of these

    def test_covers_the_truth_where_questions_differ_more(self):
        rng, hits = np.random.default_rng(2), 0
        for _ in range(400):
            values = rng.normal(0, 0.01, (3, 1)) + np.repeat(rng.normal(0, 0.2, 20), 5) + rng.normal(0, 0.3, (3, 100))
            low, high = contrast([Term("m", {"a": values})], IMAGES).ends()
            hits += low <= 0 <= high
        assert 0.93 <= hits / 400 <= 0.99

    def test_tasks_about_the_same_images_are_not_independent(self):
        values = noise((1, 100))
        alone, twice = Term("m", {"a": values}), Term("m", {"a": values, "b": values})
        assert halves(twice) == pytest.approx(halves(alone))
        others = IMAGES | {"b": [f"another {i // 5}" for i in range(100)]}
        assert halves(twice, clusters=others) < 0.75 * halves(alone)

    def test_the_same_trainings_are_paired(self):
        values = noise((3, 100), 0.01) + np.array([[0.0], [0.3], [0.6]])
        less = {"a": 0.2 - values}
        assert halves(Term("m", {"a": values}), Term("m", less)) == pytest.approx(0, abs=1e-9)
        assert halves(Term("m", {"a": values}), Term("other", less)) > 0.5

    def test_a_sample_without_a_score_counts_for_no_term(self):
        values, other = noise((2, 100)), noise((2, 100), seed=1)
        gone = values.copy()
        gone[0, 3:8] = np.nan
        kept = np.r_[0:3, 8:100]
        clusters = {"a": [IMAGES["a"][i] for i in kept]}
        found = contrast([Term("m", {"a": gone}), Term("n", {"a": other})], IMAGES)
        same = contrast([Term("m", {"a": values[:, kept]}), Term("n", {"a": other[:, kept]})], clusters)
        assert (found.value, found.half()) == (pytest.approx(same.value), pytest.approx(same.half()))

    def test_one_image_has_no_interval(self):
        assert contrast([Term("m", {"a": noise((3, 100))})], {"a": ["one"] * 100}).ends() is None

    @settings(max_examples=30, deadline=None)
    @given(st.permutations(range(4)), st.floats(-3, 3), st.floats(0.1, 5))
    def test_trainings_have_no_order_and_values_no_unit(self, order, shift, scale):
        values = noise((4, 100))
        one = contrast([Term("m", {"a": values})], IMAGES)
        two = contrast([Term("m", {"a": scale * values[list(order)] + shift})], IMAGES)
        assert two.value == pytest.approx(scale * one.value + shift)
        assert two.half() == pytest.approx(scale * one.half())


class TestSpread:
    def test_the_interval_of_three_trainings_is_that_of_f(self):
        ratio, (low, high) = spread_ratio(np.array([[0.0], [2.0], [4.0]]), np.array([[0.0], [1.0], [2.0]]))
        assert ratio == pytest.approx(2)
        assert (low, high) == (pytest.approx(2 / 39**0.5), pytest.approx(2 * 39**0.5))  # F(2, 2) at 0.975 is 39

    def test_what_does_not_vary_has_no_interval(self):
        same, other = np.zeros((3, 2)), np.arange(6.0).reshape(3, 2)
        assert spread_ratio(other, same) == (float("inf"), None)
        assert spread_ratio(same, other)[1] is None


@pytest.fixture
def trained(tmp_path):
    """Make the folder of a training, and return the spec of its model."""

    def make(name, *, seed, model=L, **fields):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recipe.json").write_text(json.dumps({"seed": seed, "scheduler": "probabilistic", **fields}))
        return f'{model}(checkpoint="{folder}/model")'

    return make


@pytest.fixture
def found(plugins):
    return lambda run: {
        group.name: group for group in groups(make_board([run.directory], plugins).sections, plugins.registry)
    }


class TestGroups:
    def test_trainings_that_differ_in_the_seed_are_one_group(self, new_run, make, trained, found):
        run = new_run()
        for seed in (0, 1, 2):
            run.cell(trained(f"L{seed}", seed=seed, pruning=""), make.scores(0.5), budget=0.5)
        (group,) = found(run).values()
        assert (group.model, group.base, group.methods, group.told_by) == (L, "toy", ("adallava-l",), ())
        assert group.trainings([Place(0.5, "toy")]) == ["0", "1", "2"]

    def test_another_recipe_is_another_group_and_says_what_tells_it(self, new_run, make, trained, found):
        run = new_run()
        run.cell(trained("L0", seed=0, steps=9), make.scores(0.5))
        run.cell(trained("D0", seed=0, steps=9, scheduler="deterministic"), make.scores(0.5))
        assert set(found(run)) == {f"{L}, trained with scheduler={s}" for s in ("probabilistic", "deterministic")}

    def test_what_an_earlier_version_did_not_note_is_as_in_the_others(self, new_run, make, trained, found):
        run = new_run()
        run.cell(trained("old", seed=0), make.scores(0.5))
        for seed in (1, 2):
            run.cell(trained(f"new{seed}", seed=seed, tau=5.0), make.scores(0.5))
        run.cell(trained("cold", seed=3, tau=1.0), make.scores(0.5))
        trainings = {name: group.trainings([Place(1, "toy")]) for name, group in found(run).items()}
        assert trainings == {f"{L}, trained with tau=5.0": ["0", "1", "2"], f"{L}, trained with tau=1.0": ["3"]}

    def test_what_ships_is_known_by_its_name(self, new_run, make, plugins, tmp_path):
        shipped = {"multitask-ft": {f"seed{seed}": str(tmp_path / f"seed{seed}") for seed in (0, 1)}}
        factory = SimpleNamespace(checkpoints=shipped)
        run = new_run()
        for seed in (0, 1):
            (tmp_path / f"seed{seed}").mkdir()
            recipe = {"seed": seed, "ways": 15, "shots": 1, "queries": 9}
            (tmp_path / f"seed{seed}" / "recipe.json").write_text(json.dumps(recipe))
            run.cell(f"vit+multitask-ft(checkpoint=seed{seed})", make.scores(0.5))
        registry = SimpleNamespace(find=lambda kind, name: SimpleNamespace(factory=lambda: factory))
        (group,) = groups(make_board([run.directory], plugins).sections, registry)
        assert group.model == "vit+multitask-ft"
        assert group.trainings([Place(1, "toy")]) == ["0", "1"]
        assert group.recipe == {"ways": "15", "shots": "1", "samples": "150"}

    def test_scenes_that_a_seed_drew_do_not_part_its_training_from_others(
        self, new_run, make, trained, found, tmp_path
    ):
        run = new_run()
        for seed in (0, 1):
            run.cell(trained(f"L{seed}", seed=seed, data=f"digest {seed}"), make.scores(0.5))
        assert len(found(run)) == 2
        for seed in (0, 1):
            (tmp_path / f"L{seed}" / "data").mkdir()
        assert len(found(run)) == 1

    def test_without_a_recipe_the_checkpoint_stays_in_the_name(self, new_run, make, found):
        run = new_run()
        for name in ("x", "y"):
            run.cell(f"{L}(checkpoint={name})", make.scores(0.5))
        assert set(found(run)) == {f"{L}(checkpoint=x)", f"{L}(checkpoint=y)"}

    @pytest.mark.parametrize("content", ["", "[]", '{"steps": 3}', "{"])
    def test_a_recipe_that_cannot_be_read_is_none(self, new_run, make, found, tmp_path, content):
        (tmp_path / "recipe.json").write_text(content)
        spec = str(parse(f'{L}(checkpoint="{tmp_path}/model")'))
        assert set(found(new_run().cell(spec, make.scores(0.5)))) == {spec}

    def test_baselines_and_partial_cells_are_left_out(self, new_run, make, found):
        run = new_run().cell("good", make.scores(0.5)).cell("chance", make.scores(0.1), model_card=make.baseline_card())
        run.cell("part", make.scores(0.5), partial="--limit 3")
        assert set(found(run)) == {"good"}


@pytest.fixture
def study(new_run, make, trained):
    """A base, and a method at two budgets with three trainings, on two tasks about the same images."""
    run = new_run("study")
    images = [f"image {i // 5}" for i in range(200)]
    specs = [trained(f"L{seed}", seed=seed) for seed in (0, 1, 2)]
    for task in ("toy", "riddles"):
        run.cell("toy", make.scores(0.7), task=task, groups=images)
        for place, spec in enumerate(specs):
            for budget, mean in ((1.0, 0.6), (0.5, 0.4)):
                run.cell(spec, make.scores(mean + place / 10), task=task, budget=budget, groups=images)
    return run


class TestTable:
    def test_mean_interval_and_range_over_trainings(self, study, plugins):
        (table,) = seeds_study(make_board([study.directory], plugins), plugins.registry).tables
        assert table.heads[:6] == ["model", "budget, %", "trainings", "riddles: accuracy", "toy: accuracy", "average"]
        rows = [[cell if isinstance(cell, str) else cell.text for cell in row] for row in table.rows]
        assert [(row[0], row[1], row[2]) for row in rows] == [("toy", "100", "–"), (L, "100", "3"), (L, "50", "3")]
        value, _, half, low, high = rows[1][5].replace("[", "").replace("]", "").replace(",", "").split()
        assert (value, low, high) == ("70.0", "60.0", "80.0")
        assert 20 < float(half) < 30  # t(2) at 0.975 times 10 points over the root of 3 is 24.8
        assert rows[0][5].startswith("70.0 ± ")
        assert "[" not in rows[0][5]

    def test_a_training_without_all_tasks_is_left_out_of_the_row(self, study, make, plugins):
        spec = study.directory.manifest().cells
        one = next(cell.model for cell in spec.values() if "L2" in cell.model)
        study.cell(one, make.scores(0.1), task="toy", budget=0.25)
        study.cell(one.replace("L2", "L1"), make.scores(0.1), task="toy", budget=0.25)
        study.cell(one, make.scores(0.1), task="riddles", budget=0.25)
        (table,) = seeds_study(make_board([study.directory], plugins), plugins.registry).tables
        assert [row[2].text for row in table.rows if row[1].text == "25"] == ["1"]

    def test_every_format_says_the_same(self, study, write, tmp_path):
        for ending in ("md", "html", "csv", "json"):
            write(seeds, tmp_path / f"t.{ending}", study)
        rows = list(csv.DictReader((tmp_path / "t.csv").read_text("utf-8").splitlines()))
        (row,) = [r for r in rows if (r["model"], r["budget"], r["task"]) == (L, "1.0", "average")]
        assert float(row["value"]) == pytest.approx(0.7)
        assert (float(row["least"]), float(row["most"])) == (pytest.approx(0.6), pytest.approx(0.8))
        assert (row["trainings"], row["clusters"]) == ("0 1 2", "40")
        assert [str(r["value"]) for r in json.loads((tmp_path / "t.json").read_text())] == [r["value"] for r in rows]
        shown = f"70.0 ± {50 * (float(row['high']) - float(row['low'])):.1f} [60.0, 80.0]"
        assert shown in (tmp_path / "t.html").read_text("utf-8")
        assert shown.replace("[", "\\[").replace("]", "\\]") in (tmp_path / "t.md").read_text("utf-8")

    def test_spread_may_be_a_standard_deviation(self, study, write, tmp_path):
        text = write(seeds, tmp_path / "t.md", study, spread="deviation").read_text("utf-8")
        assert "(10.0)" in text
        assert "\\[60.0" not in text
        with pytest.raises(UserError, match=r"no spread 'sd'; use range or deviation"):
            write(seeds, tmp_path / "t.md", study, spread="sd")

    def test_columns_that_no_row_fills_are_left_out(self, new_run, make, plugins):
        run = new_run().cell("good", make.scores(0.5)).cell("better", make.scores(0.6))
        (table,) = seeds_study(make_board([run.directory], plugins), plugins.registry).tables
        assert table.heads == ["model", "budget, %", "toy: accuracy", "retained, %"]

    def test_names_are_shown_as_text(self, new_run, make, plugins):
        run = new_run("<b>x</b>").cell('m:"<script>alert(1)</script>|*"', make.scores(0.5))
        made = seeds_study(make_board([run.directory], plugins), plugins.registry)
        assert "<script>" not in html(made)
        assert "&lt;script&gt;" in html(made)
        assert "<script>" not in markdown(made)
        assert "\\|\\*" in markdown(made)
