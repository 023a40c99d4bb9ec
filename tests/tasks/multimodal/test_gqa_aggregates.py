"""The metrics of GQA's official script besides accuracies: by hand, and against a plain reading of its rules."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adaptbench.harness.contracts import Record, Scores
from adaptbench.harness.errors import UserError
from adaptbench.harness.summary import summarise
from adaptbench.tasks.multimodal.gqa import gqa_task
from hypothesis import given, settings
from hypothesis import strategies as st


def question(answer, group=None, entailed=(), *, balanced=True, detailed="categoryThat", image="n1"):
    return {
        "imageId": image,
        "question": "What is it?",
        "answer": answer,
        "isBalanced": balanced,
        "groups": {"global": group, "local": "l"},
        "entailed": list(entailed),
        "types": {"structural": "query", "semantic": "obj", "detailed": detailed},
    }


QUESTIONS = {
    "1": question("dog", "animal", ["1", "7", "8"]),
    "2": question("dog", "animal", ["7", "9", "1"]),
    "3": question("dog", "animal"),
    "4": question("cat", "animal", ["4"]),
    "5": question("red", "colour", ["6"], detailed="twoCommon", image="n2"),
    "6": question("red", "colour", ["7", "8"], image="n2"),
    "7": question("yes", "yes/no", ["1"], balanced=False),
    "8": question("no", balanced=False),
    "9": question("yes", balanced=False),
    "10": question("left", None, ["8"]),
    "11": question("never asked", balanced=False),
}
SAID = {
    "1": "Dog.",
    "2": "cat",
    "3": "zebra",
    "4": "cat",
    "5": "red",
    "6": "Red",
    "7": "yes",
    "8": "yes",
    "9": "yes",
    "10": "right",
}
CHOICES = {name: {"valid": ["dog", "cat", "red", "right"], "plausible": ["dog", "red"]} for name in QUESTIONS}
BY_HAND = {
    "accuracy": 4 / 7,
    "consistency": (1 / 2 + 1 + 1 / 2) / 3,  # of 1, 5 and 6; 4 entails only itself
    "validity": 5 / 7,  # "zebra" is not valid, nor is "red" to what things have in common
    "plausibility": 2 / 7,
    # Animals: 3 dogs, 1 cat; said 1 dog, 2 cats. Colours: 2 red; said 2 red.
    "distribution": ((4 / 3 + 1) * 4 + 0 * 2) / 6 / 100,
}


@pytest.fixture
def write(tmp_path):
    def written(name, content):
        (tmp_path / name).write_text(json.dumps(content))
        return str(tmp_path / name)

    return written


def outputs(task, said, folder):
    path = Path(folder) / "predictions.json"
    path.write_text(json.dumps([{"questionId": name, "prediction": text} for name, text in said.items()]))
    return task.predictions(path).outputs


def table(task, given, weights=None):
    """What the harness hands to a task's metrics."""
    matched = [sample for sample in task.samples if sample.id in given]
    parsed = [task.parse(sample, given[sample.id]) for sample in matched]
    right = [task.score(sample, said)["accuracy"] for sample, said in zip(matched, parsed, strict=True)]
    weights = np.ones(len(matched)) if weights is None else weights
    return Scores({"accuracy": np.array(right)}, {}, weights, [sample.id for sample in matched], parsed)


def summary(task, given):
    records = []
    for sample in (matched := [sample for sample in task.samples if sample.id in given]):
        parsed = task.parse(sample, given[sample.id])
        records.append(Record(sample.id, "", "", parsed, task.score(sample, parsed)))
    return summarise(task.card, matched, records, task.aggregate)


def test_figures_by_hand(write, tmp_path):
    task = gqa_task(write("all.json", QUESTIONS), choices=write("choices.json", CHOICES), consistency=True)
    metrics = summary(task, outputs(task, SAID, tmp_path))["metrics"]
    assert {name: metric.value for name, metric in metrics.items()} == pytest.approx(BY_HAND)


def test_without_choices_and_entailed_questions_those_figures_are_left_out(write, tmp_path):
    task = gqa_task(write("all.json", QUESTIONS))
    given = outputs(task, SAID, tmp_path)
    assert given["1"] == "Dog."
    metrics = summary(task, given)["metrics"]
    assert {name: metric.value for name, metric in metrics.items()} == pytest.approx(
        {"accuracy": 4 / 7, "distribution": BY_HAND["distribution"]}
    )


@pytest.mark.parametrize("rule", ["lmms-eval", "vlmevalkit"])
def test_other_harnesses_have_none_of_the_figures(write, tmp_path, rule):
    task = gqa_task(write("all.json", QUESTIONS), choices=write("c.json", CHOICES), consistency=True, rule=rule)
    assert list(summary(task, outputs(task, SAID, tmp_path))["metrics"]) == ["accuracy"]
    assert len(summary(task.under("official"), outputs(task, SAID, tmp_path))["metrics"]) == 5


def test_every_subset_has_its_own_figures(write, tmp_path):
    task = gqa_task(write("all.json", QUESTIONS), choices=write("choices.json", CHOICES), consistency=True)
    part = summary(task, outputs(task, SAID, tmp_path))["breakdown"]["detailed"]["twoCommon"]
    assert {name: metric.value for name, metric in part.items()} == {
        "accuracy": 1,
        "consistency": 1,
        "validity": 0,
        "plausibility": 0,
        "distribution": 0,
    }


def test_the_distribution_has_no_interval_and_the_others_have_one(write, tmp_path):
    many = {
        f"{i}-{name}": row | {"imageId": f"n{i}", "entailed": []} for i in range(9) for name, row in QUESTIONS.items()
    }
    task = gqa_task(write("all.json", many), choices=write("c.json", dict.fromkeys(many, CHOICES["1"])))
    said = {name: SAID.get(name.partition("-")[2], "cat") if int(name[0]) % 2 else "dog" for name in many}
    metrics = summary(task, outputs(task, said, tmp_path))["metrics"]
    assert (metrics["distribution"].low, metrics["distribution"].method) == (None, "no interval")
    assert metrics["validity"].low < metrics["validity"].value < metrics["validity"].high
    assert metrics["validity"].method == "95 % bootstrap interval over 63 questions in 9 groups"


def test_a_consistent_sample_asks_its_question_and_those_that_it_entails(write):
    task = gqa_task(write("all.json", QUESTIONS), consistency=True)
    asked = {sample.id: [each.id for each in task.questions_of(sample)] for sample in task.samples}
    assert asked == {
        "1": ["1", "7", "8"],
        "2": ["2", "7", "9", "1"],
        "3": ["3"],
        "4": ["4"],
        "5": ["5", "6"],
        "6": ["6", "7", "8"],
        "10": ["10", "8"],
    }
    assert "11" not in [each.id for each in task.questions]  # nobody entails it
    answers = [f"answer {position}" for position in range(len(task.inputs))]
    raw = task.outputs(task.samples, answers)
    assert raw[1] == [answers[position] for position in task.samples[1].inputs]
    assert raw[2] == answers[task.samples[2].inputs[0]]


@pytest.mark.parametrize("lost", ["7", "8", "9"])
def test_an_entailed_question_without_a_prediction_is_refused_as_in_the_script(write, tmp_path, lost):
    task = gqa_task(write("all.json", QUESTIONS), consistency=True)
    said = {name: text for name, text in SAID.items() if name != lost}
    with pytest.raises(UserError, match=rf"no prediction for question {lost}, which question \d+ entails"):
        outputs(task, said, tmp_path)
    assert len(outputs(gqa_task(write("all.json", QUESTIONS)), said, tmp_path)) == 7


def test_a_missing_question_is_left_out_with_what_it_entails(write, tmp_path):
    task = gqa_task(write("all.json", QUESTIONS), consistency=True)
    said = {name: text for name, text in SAID.items() if name not in {"2", "9"}}
    assert list(outputs(task, said, tmp_path)) == ["1", "3", "4", "5", "6", "10"]


def test_an_answer_of_null_to_an_entailed_question_is_wrong_and_harms_no_other(write, tmp_path):
    task = gqa_task(write("all.json", QUESTIONS), choices=write("c.json", CHOICES), consistency=True)
    found = summary(task, outputs(task, SAID | {"7": None}, tmp_path))
    values = {name: metric.value for name, metric in found["metrics"].items()}
    assert values == pytest.approx(BY_HAND | {"consistency": (0 + 1 + 0) / 3})
    assert found["unparsed"] == 0


def test_nothing_right_is_a_consistency_of_zero_as_in_the_script(write, tmp_path):
    task = gqa_task(write("all.json", QUESTIONS), consistency=True)
    assert summary(task, outputs(task, dict.fromkeys(SAID, "x"), tmp_path))["metrics"]["consistency"].value == 0


def test_what_is_entailed_must_be_in_the_data(write):
    balanced = {name: row for name, row in QUESTIONS.items() if row["isBalanced"]}
    with pytest.raises(UserError, match=r"no question 7, which question 6 entails.*all questions"):
        gqa_task(write("balanced.json", balanced), consistency=True)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({name: row for name, row in CHOICES.items() if name != "3"}, "no choices for question 3"),
        (CHOICES | {"3": {"valid": ["dog"]}}, r"choices.json, item 3: no lists valid and plausible"),
        (QUESTIONS, r"choices.json, item 1: no lists valid and plausible"),
    ],
)
def test_choices_that_are_not_complete_are_refused_by_place(write, choices, message):
    with pytest.raises(UserError, match=message):
        gqa_task(write("all.json", QUESTIONS), choices=write("choices.json", choices))


def test_choices_may_be_a_folder_of_parts(tmp_path, write):
    (tmp_path / "choices").mkdir()
    for part, names in enumerate((("1", "2", "3", "4"), ("5", "6", "10"))):
        rows = {name: CHOICES[name] for name in names}
        (tmp_path / "choices" / f"choices_{part}.json").write_text(json.dumps(rows))
    task = gqa_task(write("all.json", QUESTIONS), choices=str(tmp_path / "choices"))
    assert summary(task, outputs(task, SAID, tmp_path))["metrics"]["validity"].value == pytest.approx(5 / 7)


@pytest.mark.parametrize("listed", [str, json.dumps, ",".join, list])
def test_a_table_of_questions_gives_the_same_figures(tmp_path, write, listed):
    rows = [{"id": name} | row | {"entailed": listed(row["entailed"])} for name, row in QUESTIONS.items()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "all.parquet")
    task = gqa_task(str(tmp_path / "all.parquet"), choices=write("choices.json", CHOICES), consistency=True)
    assert task.aggregate(table(task, outputs(task, SAID, tmp_path))) == pytest.approx(
        {name: value for name, value in BY_HAND.items() if name != "accuracy"}
    )


def test_scores_that_name_no_samples_have_no_aggregates(write):
    """As whoever makes scores by hand gives them."""
    assert gqa_task(write("all.json", QUESTIONS)).aggregate(Scores({"accuracy": np.ones(2)}, {}, np.ones(2))) == {}


ANSWERS = st.sampled_from(["dog", "cat", "red", "color", "shape"])
ROWS = st.fixed_dictionaries(
    {
        "answer": ANSWERS,
        "said": st.one_of(ANSWERS, st.sampled_from(["zebra", None])),
        "group": st.sampled_from([None, "a", "b", "c"]),
        "balanced": st.booleans(),
        "entailed": st.lists(st.integers(0, 30), max_size=4),
        "common": st.booleans(),
        "valid": st.lists(ANSWERS, max_size=4),
        "plausible": st.lists(ANSWERS, max_size=3),
        "times": st.integers(0, 3),
    }
)


def plain(names, rows):
    """The script's rules for these balanced questions, as often as each is named."""
    consistent, chosen, groups = [], {"valid": [], "plausible": []}, {}
    for name in names:
        row = rows[name]
        others = [other % len(rows) for other in row["entailed"] if other % len(rows) != name]
        if row["said"] == row["answer"] and others:
            consistent.append(np.mean([rows[other]["said"] == rows[other]["answer"] for other in others]))
        for kind, found in chosen.items():
            found.append(row["said"] in (["color", "material", "shape"] if row["common"] else row[kind]))
        if row["group"] is not None:
            true, given = groups.setdefault(row["group"], (Counter(), Counter()))
            true[row["answer"]] += 1
            given[row["said"]] += 1
    metrics = {
        "consistency": np.mean(consistent) if consistent else 0,
        "validity": np.mean(chosen["valid"]),
        "plausibility": np.mean(chosen["plausible"]),
    }
    if groups:
        distances = [sum((said[a] - true[a]) ** 2 / true[a] for a in true) for true, said in groups.values()]
        metrics["distribution"] = np.average(distances, weights=[true.total() for true, _ in groups.values()]) / 100
    return metrics


@settings(max_examples=60)
@given(rows=st.lists(ROWS, min_size=2, max_size=25).filter(lambda rows: any(row["balanced"] for row in rows)))
def test_figures_are_those_of_a_plain_reading_with_questions_that_count_several_times(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("gqa")
    files = {
        str(name): question(
            row["answer"],
            row["group"],
            [str(other % len(rows)) for other in row["entailed"]],
            balanced=row["balanced"],
            detailed="sameCommon" if row["common"] else "what",
        )
        for name, row in enumerate(rows)
    }
    (folder / "all.json").write_text(json.dumps(files))
    (folder / "choices.json").write_text(json.dumps({str(name): row for name, row in enumerate(rows)}))
    task = gqa_task(str(folder / "all.json"), choices=str(folder / "choices.json"), consistency=True)
    given_ = outputs(task, {str(name): row["said"] for name, row in enumerate(rows)}, folder)
    balanced = [name for name, row in enumerate(rows) if row["balanced"]]
    found, expected = task.aggregate(table(task, given_)), plain(balanced, rows)
    entails = {name for name in balanced if any(other % len(rows) != name for other in rows[name]["entailed"])}
    if not entails:
        expected.pop("consistency")
    assert found == pytest.approx({"distribution": math.nan} | expected, nan_ok=True)

    times = [rows[name]["times"] for name in balanced]
    if any(times) and set(times) != {1}:
        again = task.aggregate(table(task, given_, np.array(times, dtype=np.float64)))
        repeated = plain([name for name, often in zip(balanced, times, strict=True) for _ in range(often)], rows)
        assert again == pytest.approx({name: repeated[name] for name in expected if name != "distribution"})
