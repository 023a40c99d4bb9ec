"""Prompts with one mask: templates, label words, samples and scores are those of the papers."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from adaptbench.harness.contracts import Piece, Scores
from adaptbench.harness.errors import UserError
from adaptbench.tasks.prompting.data_sets import DATA_SETS
from adaptbench.tasks.prompting.factories import data_set_task, words_task
from adaptbench.tasks.prompting.sampling import few_shot
from adaptbench.tasks.prompting.task import Example, PromptTask, Verbalised, prompt_card
from adaptbench.tasks.prompting.templates import filled, masked_prompt
from adaptbench.tasks.prompting.words_tasks import HELD_OUT, TASKS
from hypothesis import given, settings
from hypothesis import strategies as st

# What NumPy's global generator gives by the rule: seed, shuffle a list of lines, group by class.
LABELS = ["c" if n % 5 == 0 else "ab"[n * n % 3] for n in range(40)]
SAMPLES = {
    13: ([30, 15, 5, 17, 23, 32, 36, 3, 27], [35, 0, 20, 37, 14, 7, 6, 12, 39]),
    21: ([17, 13, 14, 21, 33, 3, 30, 0, 25], [26, 11, 37, 36, 18, 6, 5, 20, 10]),
    42: ([19, 16, 26, 15, 25, 0, 12, 27, 39], [4, 37, 13, 5, 30, 35, 6, 9, 24]),
    87: ([24, 33, 39, 37, 1, 2, 5, 20, 0], [27, 12, 18, 7, 16, 17, 35, 30, 25]),
    100: ([19, 34, 28, 6, 39, 21, 20, 0, 25], [7, 22, 37, 33, 36, 18, 5, 35, 30]),
}


@pytest.mark.parametrize("seed", SAMPLES)
def test_samples_are_those_of_the_original(seed):
    assert few_shot(LABELS, 3, seed, "x") == SAMPLES[seed]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from("ab"), min_size=40, max_size=80), st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_samples_are_k_of_each_class_and_none_is_both(labels, seed, k):
    if min(labels.count("a"), labels.count("b")) < 2 * k:
        labels = labels + ["a", "b"] * 2 * k
    train, dev = few_shot(labels, k, seed, "x")
    assert not set(train) & set(dev)
    for rows in (train, dev):
        assert [labels[row] for row in rows[:k]] == [labels[rows[0]]] * k
        assert sorted(labels[row] for row in rows) == ["a"] * k + ["b"] * k


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match="class 'a' has 3 rows, and 4 are needed"):
        few_shot(list("abaabbb"), 2, 13, "x")


def pieces(name, *sentences):
    found = DATA_SETS[name]
    prompt = masked_prompt(found.template, sentences, tuple(found.words.values()), first_limit=found.first_limit)
    return [piece.text for piece in prompt.before], [piece.text for piece in prompt.after], prompt


def test_pieces_are_those_of_the_original():
    assert pieces("sst2", "a fine film .")[:2] == (["a fine film .", " It was"], ["."])
    assert pieces("cola", "Bill left.")[:2] == (["Bill left.", " This is"], ["."])
    assert pieces("trec", "Who won ?")[:2] == ([], [":", " Who won ?"])
    assert pieces("mnli", "It rains.", "The sun shines.")[:2] == (["It rains", "?"], [",", " the sun shines."])
    assert pieces("mrpc", "It rains.", "IT rains.")[:2] == (["It rains."], [",", " iT rains."])
    assert pieces("rte", "a", "b")[2].before[0] == Piece("", 240)
    assert pieces("mr", "a")[2].before[0] == Piece("a", 110)
    assert pieces("qqp", "", "")[1] == [",", " "]


def test_the_table_is_that_of_the_dissertation():
    assert len(DATA_SETS) == 15  # fourteen, and the mismatched split of MNLI
    pairs = {name for name, found in DATA_SETS.items() if found.second}
    assert pairs == {"mnli", "mnli-mm", "snli", "qnli", "rte", "mrpc", "qqp"}
    assert {name: found.measure for name, found in DATA_SETS.items() if found.measure != "accuracy"} == {
        "cola": "matthews", "mrpc": "f1", "qqp": "f1",
    }  # fmt: skip
    assert {name for name, found in DATA_SETS.items() if found.max_tokens == 256} == {"mnli", "mnli-mm", "snli", "rte"}


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(sorted(DATA_SETS)))
def test_any_sentence_fills_a_template(first, second, name):
    before, after, _ = pieces(name, first, second)
    pair = bool(DATA_SETS[name].second)
    said = [first[:-1] if "-" in DATA_SETS[name].template else first, second[:1].lower() + second[1:]][: 1 + pair]
    assert (before or after[1:])[0].removeprefix("" if before else " ") == said[0]
    text = filled(DATA_SETS[name].template, (first, second), "great")
    assert " great" in f" {text}"
    assert all(part.strip() in text for part in said)


TREC = {"DESC": "How did serfdom develop ?", "LOC": "Where is Oslo ?", "ABBR": "What is BPH ?", "NUM": "How many ?"}


def test_classes_of_trec_are_found_by_name_and_by_the_order_of_the_released_files(tmp_path):
    """The hub's numbers and the release's are in different orders."""
    (tmp_path / "named.jsonl").write_text(
        "".join(json.dumps({"label_text": name, "text": text}) + "\n" for name, text in TREC.items())
    )
    with (tmp_path / "test.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(zip([0, 4, 2, 5], TREC.values(), strict=True))
    words = ["Description", "Location", "Expression", "Number"]
    for data in ("named.jsonl", "test.csv", ""):
        task = data_set_task("trec", data=str(tmp_path / data))
        assert [item.load().words[s.target] for item, s in zip(task.inputs, task.samples, strict=True)] == words


def test_glues_own_files_and_data_sets_on_disk_are_read_alike(tmp_path):
    import datasets

    rows = [('The "red sun.', "It rains.", label) for label in ("entailment", "neutral", "contradiction", "-")]
    folder = tmp_path / "glue"
    folder.mkdir()
    lines = ["index\tsentence1\tsentence2\tgold_label", *(f"{n}\t" + "\t".join(row) for n, row in enumerate(rows))]
    (folder / "dev.tsv").write_text("\n".join(lines) + "\n")
    features = datasets.Features({
        "premise": datasets.Value("string"), "hypothesis": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["entailment", "neutral", "contradiction"]),
    })  # fmt: skip
    columns = {"premise": [rows[0][0]] * 4, "hypothesis": ["It rains."] * 4, "label": [0, 1, 2, -1]}
    saved = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict({"validation": saved}).save_to_disk(str(tmp_path / "saved"))
    saved.to_parquet(str(tmp_path / "rows.parquet"))
    for data in (folder, tmp_path / "saved", tmp_path / "rows.parquet"):
        task = data_set_task("snli", data=str(data))
        assert [example.sentences for example in task.examples] == [('The "red sun.', "It rains.")] * 3
        assert [task.inputs[n].load().words[s.target] for n, s in enumerate(task.samples)] == ["Yes", "Maybe", "No"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sentence": "x", "label": "odd"}, "unknown class 'odd'"),
        ({"sentence": "", "label": 1}, "a sentence is missing"),
        ({"phrase": "x", "label": 1}, "no column 'sentence' among phrase, label"),
        ({"sentence": "x", "label": -1}, "it has no rows with a class"),
    ],
)
def test_rows_that_cannot_be_asked_are_refused(row, message, tmp_path):
    (tmp_path / "dev.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=message):
        _ = data_set_task("sst2", data=str(tmp_path)).examples


def test_an_unknown_part_is_refused():
    with pytest.raises(UserError, match="no part 'tests'"):
        words_task("food", part="tests")


@pytest.fixture(scope="module")
def task():
    examples = [Example(str(n), (f"s{n}",), n % 2) for n in range(8)]
    return PromptTask(lambda: examples, Verbalised("{s1} {mask}.", ("No", "Yes")), prompt_card("x", "f1"))


def test_the_word_with_the_highest_logit_is_the_answer(task):
    sample = task.samples[1]
    read = {one: task.parse(sample, json.loads(one)) for one in ("[0, 1]", "[2.5, 1]", "[1, 1]", '" yes"', "[1]")}
    assert list(read.values()) == [1, 0, 0, 1, None]
    assert task.parse(sample, [float("nan"), 1.0]) is None
    assert (task.score(sample, 1), task.score(sample, 0)) == ({"accuracy": 1.0}, {"accuracy": 0.0})


CLASSES = st.lists(st.sampled_from([0, 1, None]), min_size=8, max_size=8)


@settings(deadline=None, max_examples=30)
@given(CLASSES, st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_f1_and_matthews_are_what_they_are_called(said, weights):
    examples = [Example(str(n), ("s",), n % 2) for n in range(8)]
    scores = Scores({}, {}, np.array(weights, float), [one.id for one in examples], said)
    right, heard = (np.repeat([one == 1 for one in of], weights) for of in ([n % 2 for n in range(8)], said))
    of = {}
    for measure in ("f1", "matthews"):
        own = PromptTask(lambda: examples, Verbalised("{s1} {mask}.", ("No", "Yes")), prompt_card("x", measure))
        of |= own.aggregate(scores)
    if right.any() and heard.any():
        precision, recall = right[heard].mean(), heard[right].mean()
        assert of["f1"] == pytest.approx(2 * precision * recall / (precision + recall) if precision else 0.0)
    varied = len(set(right)) == len(set(heard)) == 2
    assert of["matthews"] == pytest.approx(np.corrcoef(right, heard)[0, 1] if varied else 0.0)


def test_generated_tasks_are_balanced_and_share_no_sentence_between_splits():
    assert set(HELD_OUT) < set(TASKS)
    for name in ("food", "paraphrase"):
        test, train, dev = (words_task(name, part=part, seed=21) for part in ("test", "train", "dev"))
        assert [len(one.examples) for one in (test, train, dev)] == [200, 32, 32]
        sentences = [{example.sentences for example in one.examples} for one in (test, train, dev)]
        assert len(set.union(*sentences)) == 264
        assert words_task(name, part="train", seed=42).examples != train.examples


def test_what_a_generated_sentence_asks_can_be_read_from_it():
    verbs = {"was", "were"}
    for example in words_task("states").examples:
        words = set(example.sentences[0].rstrip(".").split())
        found = 0 if words & verbs else 2 if "will" in words else 1
        assert found == example.label
    for example in words_task("answers").examples:
        question, answer = (text.rstrip(".?") for text in example.sentences)
        assert (question.removeprefix("Who ").split(" the ")[1] in answer) or not example.label
