"""Who is ranked, which ranks are open, and what is said of everything else."""

import numpy as np
import pytest
from adaptbench.harness.cards import MethodCard
from adaptbench.harness.errors import UserError
from adaptbench.harness.stats import detectable_difference
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.remarks import Remarks
from adaptbench.leaderboards.views import overviews, task_table


@pytest.fixture
def board(plugins):
    return lambda *runs: make_board([run.directory for run in runs], plugins)


def overview_rows(board):
    ((table,),) = [family["tables"] for family in overviews(board)]
    return {row.name: row for row in table["rows"]}


def ranks(section):
    return {standing.name: standing.rank for standing in section.standings}


def reasons(section):
    return {standing.name: standing.reason for standing in section.standings}


def said(section, name):
    return Remarks(section).warnings(next(standing for standing in section.standings if standing.name == name))


def test_a_clear_order_is_ranked_one_by_one_best_first(new_run, make, board):
    run = new_run().cell("b", make.scores(0.6, noise=0.05)).cell("a", make.scores(0.8, noise=0.05, seed=2))
    (section,) = board(run.cell("c", make.scores(0.4, noise=0.05, seed=3))).sections
    assert list(ranks(section).items()) == [("a", "1"), ("b", "2"), ("c", "3")]
    assert section.paired == 200


def test_what_the_samples_do_not_tell_apart_shares_its_ranks(new_run, make, board):
    run = new_run().cell("best", make.scores(0.9, noise=0.05))
    run.cell("x", make.scores(0.6, noise=0.1, seed=2)).cell("y", make.scores(0.6, noise=0.1, seed=3))
    (section,) = board(run).sections
    assert ranks(section) == {"best": "1", "x": "2–3", "y": "2–3"}


def test_pairing_finds_what_overlapping_intervals_hide(new_run, make, board):
    run = new_run().cell("a", make.scores(0.61, noise=0.01)).cell("b", make.scores(0.6, noise=0.01, seed=2))
    (section,) = board(run).sections
    first, second = (standing.headline for standing in section.standings)
    assert first.low < second.high
    assert ranks(section) == {"a": "1", "b": "2"}


def test_two_copies_of_a_model_are_hardly_ever_told_apart(new_run, make, board):
    run = new_run()
    for seed in range(25):
        for copy in "ab":
            values = np.random.default_rng([seed, ord(copy)]).normal(0.5, 0.1, 40).tolist()
            run.cell(copy, values, task=f"toy-{seed}")
    apart = [section for section in board(run).sections if set(ranks(section).values()) != {"1–2"}]
    assert len(apart) <= 4, "at level 0.05 one or two are expected of 25; five have a chance of 1 %"


def test_lower_can_be_better(new_run, make, board):
    card = make.task_card.model_copy(update={"metrics": (make.metric(name="loss", unit="", better="lower"),)})
    run = new_run().cell("a", make.scores(0.8, noise=0.05), card=card)
    (section,) = board(run.cell("b", make.scores(0.6, noise=0.05, seed=2), card=card)).sections
    assert list(ranks(section).items()) == [("b", "1"), ("a", "2")]


def test_a_baseline_takes_no_rank_and_none_from_others(new_run, make, board):
    run = new_run().cell("good", make.scores(0.6, noise=0.05))
    run.cell("oracle", make.scores(0.9, noise=0.05, seed=2), model_card=make.baseline_card())
    (section,) = board(run).sections
    assert ranks(section) == {"oracle": "baseline", "good": "1"}
    assert "not clearly better than oracle" in said(section, "good")


def test_of_several_baselines_the_weakest_that_a_model_does_not_clear_is_named(new_run, make, board):
    run = new_run().cell("good", make.scores(0.6, noise=0.05))
    for name, score in (("oracle", 0.9), ("close", 0.61), ("random", 0.2)):
        run.cell(name, make.scores(score, noise=0.05, seed=2), model_card=make.baseline_card())
    (section,) = board(run).sections
    assert said(section, "good") == ["not clearly better than 2 of 3 baselines, the weakest close"]


def test_a_model_beyond_a_baseline_is_not_warned_of_it(new_run, make, board):
    run = new_run().cell("good", make.scores(0.9, noise=0.05))
    run.cell("random", make.scores(0.2, noise=0.05, seed=2), model_card=make.baseline_card())
    (section,) = board(run).sections
    assert said(section, "good") == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"partial": "--limit 200"}, "partial: --limit 200"),
        ({"samples_digest": "1b" * 32}, "scored on other samples (1b1b1b1b, the ranked cells on 5a5a5a5a)"),
        ({"scores": [0.5] * 9}, "too few samples: 9 scored, a rank needs 10"),
        ({"scores": [None] * 200}, "nothing could be scored"),
        ({"scores": [None] * 11 + [0.5] * 189}, "6 % of the samples could not be scored, a rank allows at most 5 %"),
        ({"rule_version": 2}, "scored by rule exact v2, the ranked cells by exact v1"),
        ({"rule": "lmms-eval"}, "scored by rule lmms-eval v1, the ranked cells by exact v1"),
        (
            {"better": "lower"},
            "measured by accuracy (lower is better), the ranked cells by accuracy (higher is better)",
        ),
    ],
)
def test_what_is_not_comparable_is_shown_last_with_the_reason(new_run, make, board, changes, reason):
    card = make.task_card.model_copy(update={k: changes.pop(k) for k in ("rule", "rule_version") if k in changes})
    if "better" in changes:
        card = card.model_copy(update={"metrics": (make.metric(name="accuracy", better=changes.pop("better")),)})
    values = changes.pop("scores", make.scores(0.9))
    run = new_run().cell("odd", values, card=card, **changes)
    run.cell("a", make.scores(0.6, noise=0.05)).cell("b", make.scores(0.8, noise=0.05, seed=2))
    result = board(run)
    (section,) = result.sections
    assert list(ranks(section).items()) == [("b", "1"), ("a", "2"), ("odd", "–")]
    assert reasons(section)["odd"] == reason
    assert said(section, "odd")[0] == reason
    assert [standing.name for _, standing in result.unranked] == ["odd"]


def test_what_a_model_says_of_its_answers_is_said(new_run, make, board):
    (section,) = board(new_run().cell("a", make.scores(0.6), notes=("decoded greedily",))).sections
    assert said(section, "a") == ["decoded greedily"]


def test_samples_without_a_score_are_left_out_of_every_pair(new_run, make, board):
    run = new_run().cell("a", [None] * 6 + make.scores(0.6, noise=0.05)[6:])
    (section,) = board(run.cell("b", [*make.scores(0.8, noise=0.05, seed=2)[:-2], None, None])).sections
    assert ranks(section) == {"b": "1", "a": "2"}
    assert section.paired == 192
    assert said(section, "a") == ["6 of 200 questions could not be scored"]


def test_cells_that_share_too_few_scored_samples_are_not_ranked(new_run, make, board):
    n, run = 40, new_run()
    for number in range(16):
        values = make.scores(0.5 + number / 100, n=n)
        values[2 * number], values[2 * number + 1] = None, None
        run.cell(f"m{number}", values)
    (section,) = board(run).sections
    assert set(reasons(section).values()) == {"only 8 samples were scored for every model, a rank needs 10"}
    assert set(ranks(section).values()) == {"–"}


def test_seeds_of_the_samples_are_boards_of_their_own(new_run, make, board):
    run = new_run().cell("a", make.scores(0.6), samples_digest="1b" * 32)
    result = board(run.cell("a", make.scores(0.7), seed=1))
    assert [section.title for section in result.sections] == ["toy", "toy, seed 1"]
    assert not result.unranked


def test_budgets_are_named(new_run, make, board):
    run = new_run().cell("a", make.scores(0.6)).cell("a", make.scores(0.5), budget=0.5)
    assert set(ranks(board(run).sections[0])) == {"a", "a@0.5"}


def test_a_whole_run_ranks_where_another_holds_a_part_of_the_same_cell(new_run, make, board):
    whole = new_run("whole").cell("a", make.scores(0.6), key="1" * 32)
    part = new_run("part").cell(
        "a", make.scores(0.6)[:50], partial="--limit 50", samples_digest="1b" * 32, key="2" * 32
    )
    (section,) = board(part, whole).sections
    assert ranks(section) == {"a": "1", "a [part]": "–"}


def test_the_same_cell_with_other_samples_in_another_run_is_said(new_run, make, board):
    one = new_run("one").cell("a", make.scores(0.6), key="1" * 32).cell("b", make.scores(0.7), key="2" * 32)
    two = new_run("two").cell("a", make.scores(0.6), samples_digest="1b" * 32, key="3" * 32)
    (section,) = board(two, one).sections
    assert reasons(section)["a [two]"] == (
        "scored on other samples (1b1b1b1b, the ranked cells on 5a5a5a5a); "
        "run one holds the same cell as the others have it"
    )


def test_of_a_cell_run_under_two_conditions_the_first_given_is_ranked(new_run, make, board):
    one = new_run("one").cell("a", make.scores(0.6), key="1" * 32)
    two = new_run("two").cell("a", make.scores(0.7), key="2" * 32)
    (section,) = board(one, two).sections
    assert ranks(section) == {"a": "1", "a [two]": "–"}
    assert reasons(section)["a [two]"] == "run one, given first, holds this cell with other weights, settings or code"
    assert set(ranks(board(two, one).sections[0])) == {"a", "a [one]"}


def test_the_very_same_cell_in_two_runs_is_one_row(new_run, make, board):
    one = new_run("one").cell("a", make.scores(0.6), key="1" * 32)
    two = new_run("two").cell("a", make.scores(0.6), key="1" * 32)
    (section,) = board(one, two, one).sections
    assert ranks(section) == {"a": "1"}
    assert said(section, "a") == ["also in run two"]


def test_runs_of_one_name_are_told_apart_by_their_paths(new_run, make, board):
    one = new_run("x/run").cell("a", make.scores(0.6), key="1" * 32)
    two = new_run("y/run").cell("b", make.scores(0.6), key="2" * 32)
    assert [run.name for run in board(one, two).runs] == [f"run ({one.path})", f"run ({two.path})"]


def test_a_time_of_another_session_is_said(new_run, make, board):
    run = new_run().cell("a", make.scores(0.6)).cell("b", make.scores(0.7))
    run.begin("session-2").cell("c", make.scores(0.8), timing=run.timing(note="the machine was busy"))
    (section,) = board(run).sections
    assert said(section, "c") == ["timed in another session", "the machine was busy"]
    assert said(section, "a") == []


def test_costs_found_in_another_way_are_said(new_run, make, board):
    run = new_run().cell("a", make.scores(0.6), flops=make.flops(10)).cell("b", make.scores(0.7), flops=make.flops(20))
    odd = make.flops(30, counter="closed form")
    run.cell("c", make.scores(0.8), flops=odd, timing=run.timing(machine="Other CPU"))
    result = board(run)
    assert said(result.sections[0], "c") == [
        "FLOPs under another convention: FLOP, vision, closed form",
        "timed elsewhere: Other CPU, cpu",
    ]
    assert said(result.sections[0], "a") == []
    row = overview_rows(result)["c"]
    assert [(cell.text, cell.hint) for cell in row.cells[1:3]] == [
        ("–", "counted under another convention"),
        ("–", "timed otherwise"),
    ]


def test_the_overview_marks_the_best_and_what_is_not_ranked(new_run, make, board):
    run = new_run().cell("best", make.scores(0.9, noise=0.05)).cell("low", make.scores(0.2, noise=0.05, seed=2))
    run.cell("part", make.scores(0.9), partial="--limit 200")
    cells = {name: row.cells[0] for name, row in overview_rows(board(run)).items()}
    assert {name: cell.best for name, cell in cells.items()} == {"best": True, "low": False, "part": False}
    assert cells["part"].text.endswith(" *")
    assert cells["part"].hint == "partial: --limit 200"


def test_waived_operators_are_said(new_run, make, board):
    run = new_run().cell("a", make.scores(0.6), flops=make.flops(10, waived=("aten::fft",)))
    assert said(board(run).sections[0], "a") == ["FLOPs without aten::fft"]


def test_cells_without_figures_are_listed_with_the_reason(new_run, make, board):
    run = new_run().cell("a", make.scores(0.6)).cell("changed", make.scores(0.6)).cell("garbled", make.scores(0.6))
    run.unfinished("killed", records=7)
    _, changed, garbled, _ = run.directory.journals()
    changed.path.write_bytes(changed.path.read_bytes()[:-20])
    (garbled.folder / "result.json").write_text('{"key": 1}')
    result = board(run)
    found = {miss.cell.model: miss.reason for miss in result.missing}
    assert found["killed"] == "not complete: 7 samples recorded so far"
    assert "not those that result.json was made from" in found["changed"]
    assert "not a valid result.json" in found["garbled"]
    assert ranks(result.sections[0]) == {"a": "1"}


def test_a_cell_that_was_never_started_is_listed(new_run, make, board):
    run = new_run().cell("a", make.scores(0.6)).unfinished("killed", records=0)
    assert [miss.reason for miss in board(run).missing] == ["not complete: 0 samples recorded so far"]


def test_without_a_complete_cell_there_is_no_board(new_run, board):
    with pytest.raises(
        UserError, match=r"no cell is complete \(slow on toy: not complete: 3 samples .* again to its end"
    ):
        board(new_run().unfinished("slow"))


def test_plugins_add_notes(new_run, make, plugins):
    import adaptbench

    class Notes:
        @staticmethod
        @adaptbench.hookimpl
        def board_context(event):
            event.notes.append(f"{len(event.board.sections)} task seen")

    plugins.add("notes", "test", Notes)
    assert make_board([new_run().cell("a", make.scores(0.6)).directory], plugins).notes == ("1 task seen",)


def test_samples_that_come_in_groups_are_ranked_by_group(new_run, make, board):
    """What two hundred questions would decide, the four images that they are about do not."""
    better, worse = [1.0] * 120 + [0.0] * 80, [1.0] * 100 + [0.0] * 100
    alone = board(new_run("alone").cell("a", better).cell("b", worse)).sections[0]
    assert ranks(alone) == {"a": "1", "b": "2"}
    groups = [f"image {i % 4}" for i in range(100)] + ["image 4"] * 20 + ["image 5"] * 80
    clustered = new_run("clustered").cell("a", better, groups=groups).cell("b", worse, groups=groups)
    assert ranks(board(clustered).sections[0]) == {"a": "1–2", "b": "1–2"}


def test_a_rank_names_the_nearest_pairs_that_decided_it(new_run, board):
    right = {"good": 150, "as good": 148, "fair": 100, "poor": 40}
    run = new_run()
    for name, hits in right.items():
        run.cell(name, [float(i < hits) for i in range(200)])
    (section,) = board(run).sections
    told = {standing.name: Remarks(section).evidence(standing) for standing in section.standings}
    assert told["good"] == ["better than fair: +25 %, p < 0.001"]
    assert told["fair"] == ["better than poor: +30 %, p < 0.001", "worse than as good: -24 %, p < 0.001"]
    assert ranks(section) == {"good": "1–2", "as good": "1–2", "fair": "3", "poor": "4"}


def test_the_least_difference_that_the_samples_show_is_given(new_run, board):
    run = new_run().cell("a", [float(i < 150) for i in range(200)]).cell("b", [float(i < 140) for i in range(200)])
    (section,) = board(run).sections
    assert section.detectable == detectable_difference(200, 0.75)
    assert f"show a difference of {100 * section.detectable:.3g} % between" in task_table(section)["caption"]
    (alone,) = board(new_run("one").cell("a", [1.0] * 20)).sections
    assert alone.detectable is None


@pytest.mark.parametrize("method", ["blind", "random-tokens"])
def test_what_a_method_makes_a_baseline_of_takes_no_rank(new_run, make, board, method):
    card = MethodCard(reference=True)
    run = new_run().cell("m", make.scores(0.6, noise=0.05))
    run.cell(f"m+{method}", make.scores(0.3, noise=0.05, seed=2), method_cards={method: card})
    (section,) = board(run).sections
    assert ranks(section) == {"m": "1", f"m+{method}": "baseline"}


@pytest.mark.parametrize(
    ("timed", "said"),
    [
        (lambda run: (None, None), "Not timed."),
        (lambda run: (run.timing(), run.timing(own=True)), None),
        (lambda run: (run.timing(shared=True), run.timing()), "Times of 1 of 2 cells were measured for another cell"),
    ],
)
def test_a_table_says_that_it_has_no_times_or_those_of_other_cells(new_run, board, timed, said):
    run = new_run()
    for name, timing in zip("ab", timed(run), strict=True):
        run.cell(name, [1.0] * 20, timing=timing)
    (section,) = board(run).sections
    caption = task_table(section)["caption"]
    assert said in caption if said else "imed" not in caption and "Times" not in caption
