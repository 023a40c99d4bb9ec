"""What the records of runs say of models that read fewer visual tokens, of runs made here and of imported logs."""

import itertools
import json
import xml.etree.ElementTree as ET

import pytest
from adaptbench.harness.cards import MethodCard, Metric
from adaptbench.harness.errors import UserError
from adaptbench.harness.importing import ImportedCell, complete, read_results, store
from adaptbench.harness.outputs import FigureRequest, ReportRequest
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.results import STAGES, CellId
from adaptbench.harness.spending import VisualTokens
from adaptbench.harness.stats import mcnemar_p
from adaptbench.harness.store import RunDirectory
from adaptbench.leaderboards.reduction.heat import retained
from adaptbench.leaderboards.reduction.lines import Line
from adaptbench.leaderboards.reduction.reduction import reduction
from adaptbench.leaderboards.reduction.scatter import spread
from hypothesis import given
from hypothesis import strategies as st

TIMES = 20
# Ten questions, twenty times: model -> which it has right, and what it says.
MODELS = {
    "whole": ("1111111100", "a0 a1 a2 a3 a4 a5 a6 a7 x8 x9"),
    "blind": ("1100000000", "a0 a1 no no no no no no no no"),
    "small": ("1111000110", "a0 a1 a2 a3 no no no a7 a8 no"),
    "pruned": ("1111110010", "A0. a1 a2 a3 a4 a5 no no a8 x9"),
}
WORKED = {
    ("retained", "whole"): None,
    ("retained", "pruned"): 0.7 / 0.8,
    ("retained", "blind"): 0.2 / 0.8,
    ("corrected", "pruned"): (0.7 - 0.2) / (0.8 - 0.2),
    ("corrected", "blind"): 0,
    ("information", "whole"): (0.8 - 0.2) / 0.2,
    ("loyalty, text", "pruned"): 0.6,
    ("loyalty, words", "pruned"): 0.7,
    ("loyalty, answer", "pruned"): 0.6,
    ("flips, kept", "pruned"): 6 * TIMES,
    ("flips, lost", "pruned"): 2 * TIMES,
    ("flips, gained", "pruned"): 1 * TIMES,
    ("flips, same", "pruned"): 1 * TIMES,
    ("flips, other", "pruned"): 0,
    ("flips, p", "pruned"): float(mcnemar_p(TIMES, 2 * TIMES)),
    ("accuracy on A", "pruned"): 2 / 3,
    ("accuracy on B", "pruned"): 4 / 5,
    ("accuracy on A", "small"): 0,
    ("accuracy on B", "small"): 1,
}
"""Measure and model -> its value on the one task."""


def answered(model):
    right, said = MODELS[model]
    return [int(digit) for digit in right] * TIMES, said.split() * TIMES


def fill(run):
    """Add the four models on one task."""
    for model in MODELS:
        scores, outputs = answered(model)
        run.cell(model, scores, outputs=outputs)
    return run


@pytest.fixture(scope="module")
def run(new_shared_run):
    """A run of the four models, for tests that only read it."""
    return fill(new_shared_run("own"))


@pytest.fixture
def asked(plugins):
    """The report on some runs, as a file of some ending; the JSON as values."""

    def ask(*directories, form=".json", baseline="whole", **arguments):
        request = ReportRequest(runs=tuple(directories), plugins=plugins, form=form)
        text = reduction(request, baseline=baseline, **arguments)
        return json.loads(text) if form == ".json" else text

    return ask


def values(rows, task):
    return {(row["measure"], row["model"]): row["value"] for row in rows if row["task"] == task}


def lmms_log(folder, model, task="vqa"):
    """What lmms-eval writes of a model with ``--log_samples``, as its version 0.7 lays it out."""
    folder.mkdir(parents=True)
    scores, outputs = answered(model)
    count, metric = len(scores), {"exact_match,none": sum(scores) / len(scores)}
    config = {"task": task, "output_type": "generate_until", "metric_list": [{"metric": "exact_match"}]}
    content = {
        "results": {task: {"alias": task, "sample_len": count, **metric}},
        "group_subtasks": {},
        "configs": {task: config | {"lmms_eval_specific_kwargs": {}}},
        "versions": {task: 1.0},
        "n-shot": {task: 0},
        "higher_is_better": {task: {"exact_match": True}},
        "n-samples": {task: {"original": count, "effective": count}},
        "config": {"model": "llava", "model_args": f"pretrained=org/{model}", "limit": None},
        "git_hash": None,
        "date": "20260102_030405",
        "lmms_eval_version": "0.7.3",
        "model_name": f"org/{model}",
    }
    (folder / "20260102_030405_results.json").write_text(json.dumps(content))
    lines = [
        {
            "doc_id": number,
            "target": f"a{number % 10}",
            "resps": [said],
            "filtered_resps": said.strip(".").lower(),
            "input": f"q{number}",
            "exact_match": float(score),
        }
        for number, (score, said) in enumerate(zip(scores, outputs, strict=True))
    ]
    path = folder / f"20260102_030405_samples_{task}.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


@pytest.fixture
def imported(tmp_path):
    """A run of each model's log."""
    runs, registry = [], load_plugins(installed=()).registry
    for model in MODELS:
        lmms_log(tmp_path / "logs" / model, model)
        found = read_results(registry, [tmp_path / "logs" / model])
        assert [type(cell) for cell in found] == [ImportedCell]
        runs.append(RunDirectory(tmp_path / "runs" / model))
        store(runs[-1], [complete(cell) for cell in found], "")
    return runs


def test_every_measure_is_what_it_comes_to_by_hand(run, asked):
    found = values(asked(run.directory, blind="blind", downsampled="small"), "toy")
    for key, value in WORKED.items():
        assert found.get(key) == (None if value is None else pytest.approx(value)), key


def test_logs_of_lmms_eval_give_the_same(run, imported, asked):
    name = "lmms-eval:org/{}".format
    rows = asked(*imported, baseline=name("whole"), blind=name("blind"), downsampled=name("small"))
    theirs = values(rows, "lmms-eval:vqa")
    ours = values(asked(run.directory, blind="blind", downsampled="small"), "toy")
    found = {(measure, model.rpartition("/")[2]): value for (measure, model), value in theirs.items()}
    # Its filter reads the same answer out of "A0." as out of "a0"; the toy task takes an output for its answer.
    assert found.pop(("loyalty, answer", "pruned")) == pytest.approx(0.7)
    assert ours.pop(("loyalty, answer", "pruned")) == pytest.approx(0.6)
    assert found == ours


def test_means_are_over_the_tasks_that_the_whole_model_can_do(new_run, asked):
    run = fill(new_run())
    hard = [0.0] * 10 * TIMES
    for model in MODELS:
        scores, outputs = answered(model)
        half = [score if i % 2 else 0.0 for i, score in enumerate(scores)]
        run.cell(model, half, outputs=outputs, task="other")
        run.cell(model, hard, task="hopeless")
    found = values(asked(run.directory, blind="blind", downsampled="small"), "mean")
    ratios = [0.7 / 0.8, 3 / 4]
    assert found["retained", "pruned"] == pytest.approx(sum(ratios) / 2)
    assert found["OP", "pruned"] == pytest.approx(((ratios[0] ** 2 + ratios[1] ** 2) / 2) ** 0.5)
    assert found["OG", "pruned"] == pytest.approx((ratios[0] - ratios[1]) / 2 / (sum(ratios) / 2))
    assert "scores near zero or lower is better: hopeless" in asked(run.directory, form=".md")


def test_a_model_with_few_scores_takes_no_task_from_the_means_of_others_and_has_no_rank(new_run, asked):
    run = fill(new_run())
    run.cell("silent", [None] * 7 + [1.0] * 3 + [None] * 190)  # of these three the whole model has one right
    found = values(asked(run.directory), "mean")
    assert found["retained", "pruned"] == pytest.approx(0.7 / 0.8)
    assert ("retained", "silent") not in found
    page = asked(run.directory, form=".md", across=True)
    assert "silent on toy: 197 of 200 not scored" in page
    assert " of 3" in page  # blind, small and pruned
    assert " of 4" not in page


def test_without_a_blind_model_chance_is_subtracted(run, asked):
    found = values(asked(run.directory), "toy")
    assert found["corrected", "pruned"] == pytest.approx((0.7 - 0.25) / (0.8 - 0.25))  # the card's chance is 1 in 4
    assert ("information", "whole") not in found
    assert ("accuracy on A", "pruned") not in found


def test_the_blind_variant_of_the_whole_model_is_found_by_its_spec(new_run, asked):
    run = new_run()
    for model, name in (("whole", "m"), ("blind", "m+blind"), ("pruned", "m+few(keep=8)")):
        scores, outputs = answered(model)
        run.cell(name, scores, outputs=outputs)
    found = values(asked(run.directory, baseline="m"), "toy")
    assert found["corrected", "m+few(keep=8)"] == pytest.approx(WORKED["corrected", "pruned"])
    assert "baseline" in asked(run.directory, baseline="m", form=".md")


FAMILIES = {
    "m": "whole", "m+blind": "blind", "m+few(keep=8)": "pruned", "m+smaller-images(side=28)": "small",
    "n": "pruned", "n+few(keep=8,query=mean)": "blind", "n+lucky(seed=0)": "blind", "n+lucky(seed=1)": "pruned",
    "n+tuned": "whole", "n+tuned+few(keep=8,query=mean)": "pruned",
    "o+few(keep=8)": "pruned", "p": "whole",
}  # fmt: skip
TUNED = MethodCard(summary="Other weights", licence="MIT", modifies=frozenset({"weights"}))


@pytest.fixture(scope="module")
def families(new_shared_run):
    """A run of several whole models: model -> which of the four answered in its place."""
    run = new_shared_run("families")
    for model, played in FAMILIES.items():
        scores, outputs = answered(played)
        run.cell(model, scores, outputs=outputs, method_cards={"tuned": TUNED})
    return run


def test_every_model_is_held_against_the_whole_one_of_its_own_family(families, asked):
    rows = asked(families.directory, baseline="")
    found = {row["model"]: (row["whole"], row["value"]) for row in rows if row["measure"] == "retained"}
    assert found["m+few(keep=8)"] == ("m", pytest.approx(0.7 / 0.8))
    assert found["n+few(keep=8,query=mean)"] == ("n", pytest.approx(0.2 / 0.7))
    assert found["n+tuned+few(keep=8,query=mean)"] == ("n+tuned", pytest.approx(0.7 / 0.8))  # another model than n
    told = values(rows, "toy")
    assert told["corrected", "m+few(keep=8)"] == pytest.approx(
        WORKED["corrected", "pruned"]
    )  # its family has a blind one
    assert told["corrected", "n+few(keep=8,query=mean)"] == pytest.approx((0.2 - 0.25) / (0.7 - 0.25))
    assert told["accuracy on A", "m+few(keep=8)"] == pytest.approx(2 / 3)
    assert ("accuracy on A", "n+few(keep=8,query=mean)") not in told
    held = asked(families.directory, baseline="m")
    assert values(held, "toy")["retained", "n"] == pytest.approx(0.7 / 0.8)


def test_several_families_are_ranked_apart_and_have_a_row_for_each_method(families, asked):
    page = asked(families.directory, baseline="", form=".md", across=True).replace("\\", "")
    over = page.partition("### Over all tasks")[0].splitlines()
    lucky, few = (next(line for line in over if line.startswith(f"| {name}")) for name in ("lucky", "few"))
    assert lucky.startswith("| lucky, mean of 2 seeds | – | – | – | 64.3 [")  # of 20 and 70 %, beside 70 %
    assert few.count(" of ") == 3
    assert "1 of 2" in few
    assert "- o+few(keep=8): the whole model, o, is not in these runs" in page
    assert "- p: nothing is held against it" in page
    assert page.count("### Over all tasks: ") == 3


def test_a_method_whose_share_no_family_tells_has_no_row_over_families(new_run, asked):
    run = new_run()
    for model in ("m", "m+few", "n", "n+few"):
        run.cell(model, [1.0, 0.0, 1.0] * 20)
    for model in ("m", "m+lone"):
        run.cell(model, [1.0, 0.0, 1.0] * 20, task="riddles")
    over = asked(run.directory, baseline="", form=".md").partition("### Over all tasks")[0]
    assert "| few |" in over
    assert "| lone |" not in over


def test_models_that_do_not_tell_their_tokens_are_ranked_only_if_that_is_asked_for(run, asked):
    quiet = asked(run.directory, blind="blind", form=".md")
    loud = asked(run.directory, blind="blind", form=".md", across=True)
    assert " of 2" not in quiet
    assert "1 of 2" in loud
    assert "2 of 2" in loud


def test_a_score_that_is_not_a_share_has_no_right_and_wrong(new_run, make, asked):
    run = new_run()
    card = make.task_card.model_copy(update={"metrics": (Metric(name="points", unit=""),)})
    run.cell("whole", [3.0, 5.0] * 20, card=card).cell("pruned", [3.0, 4.0] * 20, card=card)
    found = values(asked(run.directory), "toy")
    assert found["retained", "pruned"] == pytest.approx(3.5 / 4)
    assert not [measure for measure, _ in found if measure.startswith(("flips", "accuracy"))]


def test_other_samples_are_told_and_left_out(new_run, asked):
    run = fill(new_run())
    run.cell("elsewhere", [1.0] * 200, samples_digest="6b" * 32)
    assert "elsewhere on toy: other samples" in asked(run.directory, form=".md")


def test_a_part_of_the_samples_is_called_so(new_run, asked):
    run = (
        new_run().cell("whole", [1.0, 0.0] * 10, partial="--limit 20").cell("pruned", [1.0] * 20, partial="--limit 20")
    )
    assert "toy: 20 questions (partial: --limit 20)" in asked(run.directory, form=".md").replace("\\", "")


def test_samples_without_a_score_do_not_count(new_run, asked):
    run = new_run()
    run.cell("whole", [1.0, 1, 0, None] * 20).cell("pruned", [1.0, 0, None, 1] * 20)
    found = values(asked(run.directory), "toy")
    assert found["retained", "pruned"] == pytest.approx(0.5)
    assert found["flips, kept", "pruned"] + found["flips, lost", "pruned"] == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"baseline": ""}, "no spec tells which model is the whole one of others; name it with --baseline MODEL"),
        ({"baseline": "hole"}, r"there is no model hole \(did you mean 'whole'\?\)"),
        ({"downsampled": "tiny"}, "there is no model tiny"),
    ],
)
def test_a_model_that_the_runs_lack_is_one_line(run, asked, arguments, message):
    with pytest.raises(UserError, match=message):
        asked(run.directory, **arguments)


def test_many_cells_that_lack_scores_are_one_line(new_run, asked):
    run = fill(new_run())
    run.directory.ask_for(CellId(model=f"later-{i}", task="toy") for i in range(5))
    page = asked(run.directory, form=".md")
    assert "- 5 cells, the first later-0 on toy: not started" in page
    assert "later-1" not in page


def test_a_lone_model_is_held_against_nothing(new_run, asked):
    run = new_run().cell("whole", [1.0] * 20)
    with pytest.raises(UserError, match="nothing can be held against whole"):
        asked(run.directory)


def test_models_whose_whole_one_was_not_run_are_held_against_nothing(new_run, asked):
    run = new_run().cell("whole+blind", [0.0] * 20).cell("other+blind", [0.0] * 20)
    message = "held against other and whole, which these runs do not hold; run the whole models on the same tasks"
    with pytest.raises(UserError, match=message):
        asked(run.directory, baseline="")


def test_no_run_is_another_fault_than_an_empty_run(new_run, asked):
    with pytest.raises(UserError, match="no run is named; name the run directories"):
        asked()
    with pytest.raises(UserError, match="no cell of these runs is complete"):
        asked(new_run().directory)


@pytest.mark.parametrize("form", [".md", ".tex", ".html", ".csv"])
def test_it_is_written_in_every_form(run, asked, form):
    assert "pruned" in asked(run.directory, form=form, blind="blind", downsampled="small")


def staged(run, *seconds, **changes):
    stages = {name: {"median": one, "q1": one, "q3": 2 * one} for name, one in zip(STAGES, seconds, strict=True) if one}
    return run.timing(0.8, what="prefill of 8 prompts", inputs=8, stages=stages, **changes)


def test_where_the_time_goes_is_told_of_models_that_were_timed_by_stages(new_run, asked):
    run = new_run()
    run.cell("whole", [1.0] * 20, timing=staged(run, 0.16, None, 0.64, 0.08))
    run.cell("pruned", [1.0] * 20, timing=staged(run, 0.16, 0.008, 0.32, 0.08, peak_memory=2**20, note="busy"))
    run.cell("elsewhere", [1.0] * 20, timing=staged(run, 1.6, None, 6.4, 0.8, machine="another"))
    run.cell("plain", [1.0] * 20)
    found = values(asked(run.directory), "toy")
    times = {name: value for (name, model), value in found.items() if model == "pruned" and "seconds" in name}
    assert list(times.values()) == pytest.approx([0.02, 0.001, 0.04, 0.01])
    assert (found["peak memory", "pruned"], ("seconds, token", "plain") in found) == (2**20, False)
    page = asked(run.directory, form=".md").replace("\\", "")
    assert page.count("### Where the time goes") == 2  # a table for each machine
    assert "| toy | whole | 20.0 ms [20.0, 40.0] | – | 80.0 ms [80.0, 160] | 10.0 ms [10.0, 20.0] | 1.00 MB |" in page
    assert page.count("1 of 2 were measured unsteadily") == 1
    assert page.index("another, cpu, 8 prompts at a time") < page.index("| elsewhere | 200 ms")


def test_the_page_is_what_it_was(run, asked, golden):
    golden("reduction.md", asked(run.directory, form=".md", blind="blind", downsampled="small"))


@pytest.fixture
def drawn(plugins):
    """The texts of the figure of some runs, as it is drawn from above to below."""

    def draw(*directories, models=(), task=None, **arguments):
        request = FigureRequest(runs=tuple(directories), plugins=plugins, form=".svg", models=models, task=task)
        return [text.strip() for text in ET.fromstring(retained(request, **arguments)).itertext() if text.strip()]

    return draw


def test_the_figure_shows_what_the_report_says_from_the_most_to_the_least(run, drawn):
    texts = drawn(run.directory, baseline="whole")
    assert [text for text in texts if text in MODELS] == ["pruned", "small", "blind"]
    assert [text for text in texts if text in ("87.5", "75.0", "25.0")] == ["87.5", "75.0", "25.0"]
    assert "toy" in texts
    texts = drawn(run.directory, baseline="whole", blind="blind", of="corrected", models=("pruned",))
    assert "small" not in texts
    assert "83.3" in texts


def test_families_have_a_panel_each_without_their_name_at_each_model(families, drawn):
    texts = drawn(families.directory)
    titles = [text for text in texts if text.startswith("Retained: ")]
    assert titles == ["Retained: m", "Retained: n", "Retained: n+tuned"]
    assert "+smaller-images(side=28)" in texts


def test_what_is_kept_is_drawn_against_what_models_read(run, drawn):
    for arguments, message in (
        ({"against": "time"}, r"nothing is drawn against 'time'; use tokens, flops"),
        ({"against": "tokens"}, r"no such model or task is held against a whole model, or none tells its tokens"),
    ):
        with pytest.raises(UserError, match=message):
            drawn(run.directory, baseline="whole", **arguments)


def test_points_are_named_by_method_below_the_median_of_what_they_read(families, drawn, monkeypatch):
    read = {"m+few(keep=8)": 8, "m+smaller-images(side=28)": 8.2, "n+few(keep=8,query=mean)": 8}
    tokens = lambda line: VisualTokens(*[read.get(line.label, 64)] * 3)  # noqa: E731
    monkeypatch.setattr(Line, "tokens", tokens)
    texts = drawn(families.directory, against="tokens")
    assert [text for text in texts if text in ("m", "n", "n+tuned")] == ["m", "n", "n+tuned"]
    assert {"8.2", "64", "few", "smaller-images", "lucky"} < set(texts)


@given(st.lists(st.floats(0, 700), min_size=1, max_size=20), st.floats(1, 30))
def test_points_that_stand_apart_stay_and_others_move_no_farther_than_they_must(places, gap):
    places = sorted(places)
    moved = spread(places, gap)
    assert all(later - one >= gap * (1 - 1e-9) for one, later in itertools.pairwise(moved))
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)
    if all(later - one >= gap for one, later in itertools.pairwise(places)):
        assert moved == pytest.approx(places)


def test_several_tasks_have_a_mean(new_run, drawn):
    run = fill(new_run("two"))
    for model in ("whole", "pruned"):
        run.cell(model, [float(model == "whole" or place % 2) for place in range(200)], task="riddles")
    texts = drawn(run.directory, baseline="whole", models=("pruned",))
    assert ("mean" in texts, "50.0" in texts, "68.8" in texts) == (True, True, True)
    assert "mean" not in drawn(run.directory, baseline="whole", models=("pruned",), task="riddles")


def test_what_the_figure_cannot_draw_is_refused(run, drawn):
    for arguments, message in (
        ({}, r"no spec tells which model is the whole one of others"),
        ({"baseline": "whole", "of": "rank"}, r"nothing is drawn of 'rank'; use retained, corrected, loyalty"),
        ({"baseline": "whole", "models": ("whole",)}, r"no such model or task is held against a whole model"),
    ):
        with pytest.raises(UserError, match=message):
            drawn(run.directory, **arguments)
