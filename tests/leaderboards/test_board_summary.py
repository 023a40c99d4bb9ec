"""The first screen: who wins, at what cost, against which base, how sure that is, and how much is done."""

import numpy as np
import pytest
from adaptbench.harness.results import CellId
from adaptbench.leaderboards import views
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.summary import summarise
from adaptbench.leaderboards.task_families import blocks, families


@pytest.fixture
def summary(plugins):
    """The summary of a run's only family."""

    def made(run):
        (family,) = families(make_board([run.directory], plugins).sections)
        return summarise(family)

    return made


def lines(found):
    return {line.name: line for line in found.lines}


def adapted(run, make, *tasks):
    """A base and two that adapt it, the second for the better and the third for the worse."""
    for task in tasks or ("toy-a",):
        timing = run.timing
        run.cell("vit", make.scores(0.6, noise=0.05), task=task, flops=make.flops(100), timing=timing(0.064))
        for name, mean, seed, cost in (("vit+lora", 0.7, 2, 150), ("vit+layers", 0.45, 3, 50)):
            scores = make.scores(mean, noise=0.05, seed=seed)
            run.cell(name, scores, task=task, flops=make.flops(cost), timing=timing(0.064 * cost / 100))
        run.cell(
            "random", make.scores(0.25, noise=0.3, seed=5), task=task, model_card=make.baseline_card(), timing=None
        )
    return run


def test_it_names_the_winner_the_base_and_the_baseline(new_run, make, summary):
    found = summary(adapted(new_run(), make))
    assert found.verdict == "vit+lora is significantly better than every other model."
    assert found.base == "vit"
    assert {name: line.roles for name, line in lines(found).items()} == {
        "vit+lora": ("winner", "frontier"),
        "vit": ("base", "frontier"),
        "vit+layers": ("frontier",),
        "random": ("baseline",),
    }
    assert [line.name for line in found.lines] == ["vit+lora", "vit", "vit+layers", "random"]


def test_differences_are_of_the_same_samples_and_costs_are_shares_of_the_base(new_run, make, summary):
    found = lines(summary(adapted(new_run(), make)))
    better, worse = found["vit+lora"], found["vit+layers"]
    assert better.difference.value == pytest.approx(0.1)
    assert better.difference.low > 0
    assert better.told_apart == (1, 0)
    assert found["random"].told_apart is None
    assert worse.told_apart == (0, 1)
    assert better.retained.value == pytest.approx(0.7 / 0.6)
    assert 1 < better.retained.low < better.retained.value < better.retained.high
    assert better.flops == (150, 1.5)
    assert worse.time == (pytest.approx(0.0005), pytest.approx(0.5))
    assert found["vit"].difference is None
    assert found["random"].flops is None


def test_the_interval_of_a_mean_is_no_narrower_than_any_dependence_between_tasks_allows(new_run, make, summary):
    found = lines(summary(adapted(new_run(), make, "toy-a", "toy-b")))["vit"]
    one = found.standings[0].headline
    assert found.score.value == pytest.approx(0.6)
    assert found.score.high - found.score.low == pytest.approx(one.high - one.low), "both tasks have the same samples"


def test_a_tie_is_called_one(new_run, make, summary):
    run = new_run().cell("a", make.scores(0.6, noise=0.2)).cell("b", make.scores(0.6, noise=0.2, seed=2))
    run.cell("c", make.scores(0.1))
    found = summary(run)
    winner = found.lines[0].name
    other = {"a": "b", "b": "a"}[winner]
    assert found.verdict == f"No model is significantly better than {winner}. It cannot be told from {other}."
    assert found.base == ""
    assert [line.roles for line in found.lines if line.name == "c"] == [()]


def test_where_each_leads_somewhere_none_wins(new_run, make, summary):
    run = new_run().cell("a", make.scores(0.8), task="toy-1").cell("b", make.scores(0.4), task="toy-1")
    run.cell("a", make.scores(0.4), task="toy-2").cell("b", make.scores(0.8), task="toy-2")
    found = summary(run)
    assert found.verdict == "No model is among the best on every task; a is among the best on 1 of 2."
    assert lines(found)["a"].ranks == {"1": 1, "2": 1}


def test_without_a_base_the_best_baseline_is_what_others_are_compared_with(new_run, make, summary):
    run = new_run().cell("a", make.scores(0.6)).cell("random", make.scores(0.2), model_card=make.baseline_card())
    found = summary(run)
    assert found.base == "random"
    assert lines(found)["a"].retained is None
    assert lines(found)["a"].difference.value == pytest.approx(0.4)
    assert found.verdict == "a is the only model that is ranked."


def test_a_loss_has_no_share_that_is_retained(new_run, make, summary):
    card = make.task_card.model_copy(update={"metrics": (make.metric(name="loss", unit="", better="lower"),)})
    run = new_run().cell("m", make.scores(0.6), card=card).cell("m+x", make.scores(0.3, noise=0.01), card=card)
    found = summary(run)
    assert found.lines[0].name == "m+x"
    assert found.lines[0].retained is None


def test_a_stopped_run_is_summed_up_over_what_is_done_and_says_how_much_that_is(new_run, make, plugins):
    run = adapted(new_run(), make, "toy-a", "toy-b").cell("late", make.scores(0.9), task="toy-a")
    names = ("vit", "vit+lora", "vit+layers", "random", "late")
    run.directory.ask_for(CellId(model=name, task=task) for name in names for task in ("toy-a", "toy-b", "other"))
    board = make_board([run.directory], plugins)
    toy, other = views.summaries(board)
    assert toy["done"] == "9 of 10 cells"
    assert other == {"title": "other", "tasks": "", "done": "0 of 5 cells", "verdict": "No cell is done.", "rows": []}
    assert "late" not in [row["name"] for row in toy["rows"]]
    assert "9 of 15 cells done" in views.facts(board)
    (why,) = views.unranked(board)
    assert (why["reason"], len(why["cells"])) == ("not started", 6)


def test_a_limited_run_says_so_once(new_run, make, plugins):
    run = new_run()
    for name in ("a", "b"):
        run.cell(name, make.scores(0.5)[:12], partial="--limit 12", samples_digest="1b" * 32)
    board = make_board([run.directory], plugins)
    (found,) = views.summaries(board)
    assert found["verdict"] == "Not ranked (partial: --limit 12). The highest score is that of a."
    (section,) = board.sections
    assert [row.remarks for row in views.task_table(section)["rows"]] == [[], []]
    assert [(row["reason"], row["cells"]) for row in views.unranked(board)] == [
        ("partial: --limit 12", ["a on toy", "b on toy"])
    ]


def test_families_are_of_one_word_capability_and_metric(new_run, make, plugins):
    run, other = new_run(), make.task_card.model_copy(update={"capability": "generate"})
    for task in ("glyphs-15way-1shot", "digits-5way", "glyphs-15way-5shot", "glyphs-5way"):
        run.cell("a", make.scores(0.5), task=task)
    run.cell("b", make.scores(0.5), task="glyphs-read", card=other)
    found = families(make_board([run.directory], plugins).sections)
    assert [(family.title, len(family.sections)) for family in found] == [
        ("digits-5way", 1),
        ("glyphs", 3),
        ("glyphs-read", 1),
    ]


def test_a_suite_of_pairs_and_settings_is_several_narrow_tables(new_run, make, plugins):
    run = new_run()
    for pair in ("ab", "ac"):
        for setting in ("first", "second", "composite", "composite-in-context"):
            run.cell("a", make.scores(0.5), task=f"logical-{pair}(setting={setting})")
    run.cell("a", make.scores(0.5), task="logical")
    (family,) = families(make_board([run.directory], plugins).sections)
    assert family.title == "logical"
    assert [(block.title, block.heads) for block in blocks(family)] == [
        ("logical-ab", ["setting=composite", "setting=composite-in-context", "setting=first", "setting=second"]),
        ("logical-ac", ["setting=composite", "setting=composite-in-context", "setting=first", "setting=second"]),
        ("", ["logical"]),
    ]


def test_a_name_that_no_spec_can_say_is_summed_up_too(new_run, make, summary):
    name = "<script>+alert(1"
    found = summary(new_run().cell(name, make.scores(0.5)).cell("b", make.scores(0.4)))
    assert found.verdict.startswith(name)


def test_a_difference_leaves_out_what_one_of_both_has_no_score_for(new_run, make, summary):
    values = make.scores(0.5)
    run = new_run().cell("m", values).cell("m+x", [None, *(np.array(values) + 0.1)[1:]])
    assert lines(summary(run))["m+x"].difference.value == pytest.approx(0.1)
