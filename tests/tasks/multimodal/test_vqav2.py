"""VQAv2: its files, its rules, its prompt, its submission."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adaptbench.harness.errors import BadSample, UserError
from adaptbench.tasks.multimodal.vqav2 import vqav2_task
from PIL import Image

HUMANS = {
    262148000: ["down"] * 10,
    262148001: ["yes"] * 4 + ["no"] * 6,
    262148002: ["2"] * 3 + ["two"] + ["3"] * 6,
    393225000: ["Yes, a cat."] * 10,
}
"""Question -> answers. The first and the last have annotators who agree, so the official script compares raw texts."""


def annotation(number):
    answers = [
        {"answer": answer, "answer_confidence": "yes", "answer_id": place}
        for place, answer in enumerate(HUMANS[number], 1)
    ]
    kinds = {262148001: "yes/no", 262148002: "number"}
    return {
        "question_type": "what is" if number % 1000 == 0 else "is",
        "multiple_choice_answer": answers[0]["answer"],
        "answers": answers,
        "image_id": number // 1000,
        "answer_type": kinds.get(number, "other"),
        "question_id": number,
    }


def asked(number):
    return {"image_id": number // 1000, "question": f"What is {number}?", "question_id": number}


def png(colour):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def files(tmp_path):
    """The official files."""
    (tmp_path / "annotations.json").write_text(
        json.dumps({"info": {}, "data_subtype": "val2014", "annotations": [annotation(n) for n in HUMANS]})
    )
    questions = {
        "info": {},
        "task_type": "Open-Ended",
        "data_subtype": "val2014",
        "questions": [asked(n) for n in HUMANS],
    }
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    (tmp_path / "val2014").mkdir()
    for number, colour in ((262148, "red"), (393225, "blue")):
        (tmp_path / "val2014" / f"COCO_val2014_{number:012d}.jpg").write_bytes(png(colour))
    return {name: str(tmp_path / f"{name}.json") for name in ("annotations", "questions")} | {
        "images": str(tmp_path / "val2014")
    }


@pytest.fixture
def parquet(tmp_path):
    """The hub's columns."""
    answer = pa.struct([("answer", pa.string()), ("answer_confidence", pa.string()), ("answer_id", pa.int64())])
    schema = pa.schema(
        [
            ("question_type", pa.string()),
            ("multiple_choice_answer", pa.string()),
            ("answers", pa.list_(answer)),
            ("image_id", pa.int64()),
            ("answer_type", pa.string()),
            ("question_id", pa.int64()),
            ("question", pa.string()),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ],
        # What makes a column one of images for the datasets library, as in the hub's files.
        metadata={b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()},
    )
    rows = [
        annotation(n) | asked(n) | {"image": {"bytes": png("red" if n < 300000000 else "blue"), "path": "a.png"}}
        for n in HUMANS
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "val.parquet")
    return str(tmp_path / "val.parquet")


def value(kind):
    return {"dtype": kind, "_type": "Value"}


FEATURES = {
    "question_type": value("string"),
    "multiple_choice_answer": value("string"),
    "answers": [{"answer": value("string"), "answer_confidence": value("string"), "answer_id": value("int64")}],
    "image_id": value("int64"),
    "answer_type": value("string"),
    "question_id": value("int64"),
    "question": value("string"),
    "image": {"_type": "Image"},
}


def scores(task, answers):
    """Sample -> accuracy, of answers by sample."""
    found = {s.id: task.score(s, task.parse(s, answers[s.id])) for s in task.samples}
    return {name: score and score["accuracy"] for name, score in found.items()}


@pytest.mark.parametrize("form", ["official", "hub"])
def test_both_forms_give_the_same_task(files, parquet, form):
    task = vqav2_task(**files) if form == "official" else vqav2_task(parquet)
    assert [sample.id for sample in task.samples] == [str(number) for number in HUMANS]
    assert [sample.group for sample in task.samples] == ["262148"] * 3 + ["393225"]
    assert task.samples[2].target == HUMANS[262148002]
    assert task.samples[2].subsets == {"answer_type": "number", "question_type": "is"}
    prompt = task.inputs[1].load()
    assert prompt.text == "What is 262148001?\nAnswer the question using a single word or phrase."
    assert prompt.max_new_tokens == 128
    assert np.asarray(prompt.images[0])[0, 0].tolist() == [255, 0, 0]
    assert np.asarray(task.inputs[3].load().images[0])[0, 0].tolist() == [0, 0, 255]
    assert list(task.card.rules) == ["official", "llava", "lmms-eval", "vlmevalkit"]


def test_scoring_needs_no_image(files):
    task = vqav2_task(files["annotations"], files["questions"])
    assert {sample.group for sample in task.samples} == {"262148", "393225"}
    assert scores(task, dict.fromkeys((s.id for s in task.samples), "down"))["262148000"] == 1


def test_a_missing_image_spoils_its_own_questions_only(files, tmp_path):
    (tmp_path / "val2014" / "COCO_val2014_000000393225.jpg").unlink()
    task = vqav2_task(**files)
    assert task.inputs[0].load().images
    with pytest.raises(BadSample, match="393225"):
        task.inputs[3].load()


@pytest.mark.parametrize("rule", ["official", "lmms-eval", "vlmevalkit"])
def test_oracle_anti_oracle_and_constants(files, rule):
    task = vqav2_task(**files, rule=rule)
    oracle = {str(n): max(humans, key=humans.count) for n, humans in HUMANS.items()}
    assert set(scores(task, oracle).values()) == {1.0}
    assert set(scores(task, dict.fromkeys(oracle, "zebra")).values()) == {0.0}
    constant = scores(task, dict.fromkeys(oracle, "2"))
    assert constant["262148002"] == 1.0  # "two" became 2: four of ten
    assert sum(constant.values()) == 1.0
    assert scores(task, dict.fromkeys(oracle, "yes"))["262148001"] == 1.0
    assert scores(task, dict.fromkeys(oracle, None)) == dict.fromkeys(oracle, 0.0)


@pytest.mark.parametrize(
    ("rule", "agreed", "sentence", "disputed"),
    [
        ("official", 0, 1, 1),  # annotators who agree are compared as they are, case included
        ("llava", 1, 0, 1),  # cleaned before, so a capital does no harm, but the raw sentence is never met
        ("lmms-eval", 1, 1, 1),
        ("vlmevalkit", 1, 1, 1),
    ],
)
def test_where_the_rules_differ(files, rule, agreed, sentence, disputed):
    task = vqav2_task(**files, rule=rule)
    answers = {"262148000": "Down.", "393225000": "Yes, a cat.", "262148001": " No!\n", "262148002": "x"}
    found = scores(task, answers)
    assert (found["262148000"], found["393225000"], found["262148001"]) == (agreed, sentence, disputed)


def test_vlmevalkit_keeps_the_stop_of_a_number(files):
    answers = dict.fromkeys(map(str, HUMANS), "3.")
    assert scores(vqav2_task(**files), answers)["262148002"] == 1
    assert scores(vqav2_task(**files, rule="vlmevalkit"), answers)["262148002"] == 0


def test_predictions_are_read_from_a_result_file(files, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"question_id": number, "answer": "down"} for number in [*HUMANS, 5]]))
    found = vqav2_task(**files).predictions(path)
    assert found.outputs == dict.fromkeys(map(str, HUMANS), "down")
    assert found.unmatched == ("5",)


def llava_questions(tmp_path, numbers):
    path = tmp_path / "llava.jsonl"
    suffix = "\nAnswer the question using a single word or phrase."
    rows = [
        {
            "question_id": n,
            "image": f"COCO_test2015_{n // 1000:012d}.jpg",
            "text": f"What is {n}?{suffix}",
            "category": "default",
        }
        for n in numbers
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_llavas_questions_without_labels_are_not_scored(tmp_path):
    task = vqav2_task(questions=llava_questions(tmp_path, [262144000, 1000]))
    assert [question.text for question in task.questions] == ["What is 262144000?", "What is 1000?"]
    assert [sample.group for sample in task.samples] == ["262144", "1"]
    assert scores(task, {"262144000": "cat", "1000": "cat"}) == {"262144000": None, "1000": None}


def test_the_submission_lists_every_question_with_cleaned_answers(tmp_path, files):
    every = tmp_path / "test2015.json"
    every.write_text(json.dumps({"questions": [{"question_id": n, "image_id": 1} for n in (1000, 1001, 1002, 1003)]}))
    task = vqav2_task(questions=llava_questions(tmp_path, [1002, 1000, 1003]), every_question=str(every))
    task.benchmark.submission({"1000": "Two dogs.", "1002": "A", "1003": None}, task, tmp_path / "upload.json")
    assert json.loads((tmp_path / "upload.json").read_text()) == [
        {"question_id": 1000, "answer": "2 dogs"},
        {"question_id": 1001, "answer": ""},
        {"question_id": 1002, "answer": ""},  # the article went, as it did for LLaVA
        {"question_id": 1003, "answer": ""},
    ]
    with pytest.raises(UserError, match="1 answers, such as that to 7, are to no question"):
        task.benchmark.submission({"7": "x"}, task, tmp_path / "upload.json")


def test_the_files_must_belong_together(tmp_path, files):
    task = vqav2_task(files["annotations"])
    with pytest.raises(UserError, match="annotations alone do not have the questions; give questions="):
        task.inputs[0].load()
    labels = json.loads((tmp_path / "annotations.json").read_text())
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps(labels | {"annotations": labels["annotations"][1:]}))
    with pytest.raises(UserError, match=r"questions\.json, item 1: it has no annotation"):
        vqav2_task(str(fewer), files["questions"])
    more = tmp_path / "more.json"
    more.write_text(
        json.dumps(labels | {"annotations": [*labels["annotations"], annotation(262148000) | {"question_id": 9}]})
    )
    with pytest.raises(UserError, match="1 annotations have no question"):
        vqav2_task(str(more), files["questions"])


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ("yes", "its answers are not a list"),
        ([1], "an answer is neither a text"),
        ([{}], "an answer is neither a text"),
    ],
)
def test_answers_of_another_form_are_refused_by_place(tmp_path, files, answers, says):
    rows = [annotation(n) for n in HUMANS]
    rows[2]["answers"] = answers
    (tmp_path / "bad.json").write_text(json.dumps({"annotations": rows}))
    with pytest.raises(UserError, match=rf"bad\.json, item 3: {says}"):
        vqav2_task(str(tmp_path / "bad.json"), files["questions"])


def test_an_unknown_rule_is_refused(files):
    with pytest.raises(UserError, match="choose rule= from official, llava, lmms-eval, vlmevalkit"):
        vqav2_task(**files, rule="offical")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "not a question file of VQA"),
        ({"questions": [3]}, r"bad\.json, item 1: 3 is not an object"),
        ({"questions": [{"question_id": 1}]}, r"bad\.json, item 1: no image_id"),
    ],
)
def test_question_files_of_another_form_are_refused_by_place(tmp_path, content, says):
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=says):
        vqav2_task(questions=str(tmp_path / "bad.json"))


def test_a_folder_is_searched_for_the_files_of_the_split(tmp_path, files):
    home = tmp_path / "vqa"
    home.mkdir()
    for kind in ("annotations", "questions"):
        content = (tmp_path / f"{kind}.json").read_text()
        (home / f"v2_mscoco_val2014_{kind}.json").write_text(content)
        (home / f"v2_mscoco_train2014_{kind}.json").write_text("{}")
    task = vqav2_task(str(home))
    assert {q.id: (q.text, q.target) for q in task.questions} == {
        q.id: (q.text, q.target) for q in vqav2_task(**files).questions
    }
    with pytest.raises(UserError, match="no files of the split 'testdev'; check split="):
        vqav2_task(str(home), split="testdev")
    (home / "old_val2014_annotations.json").write_text("{}")
    with pytest.raises(UserError, match=r"several files of the split 'validation': old_val2014"):
        vqav2_task(str(home))


def test_official_rows_as_json_lines_name_their_images(tmp_path, files):
    content = json.loads(Path(files["questions"]).read_text())["questions"]
    path = tmp_path / "v2_OpenEnded_mscoco_val2014_questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    lines, document = (
        vqav2_task(files["annotations"], questions, str(tmp_path)) for questions in (str(path), files["questions"])
    )
    assert [q.image.where for q in lines.questions] == [q.image.where for q in document.questions]
