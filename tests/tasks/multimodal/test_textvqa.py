"""TextVQA: its files, LLaVA's prompt with OCR tokens, its rules."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.multimodal.textvqa import textvqa_task
from PIL import Image

ROWS = [
    {
        "question_id": 34602,
        "image_id": "003a8ae2",
        "question": "what is the BRAND of this camera?",
        "ocr": ["DAKOTA", "a, b", "Digital"],
    },
    {"question_id": 34603, "image_id": "0054c91", "question": "what does the small white text spell?", "ocr": []},
    {"question_id": 34604, "image_id": "003a8ae2", "question": "what year?", "ocr": ["DAKOTA", "a, b", "Digital"]},
]
HUMANS = [["dakota"] * 5 + ["Dakota Digital"] * 5, ["copenhagen"] * 10, ["3."] * 4 + ["1,000"] * 6]
SUFFIX = "\nAnswer the question using a single word or phrase."
NAMES = [str(row["question_id"]) for row in ROWS]


def png():
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def official(tmp_path):
    data = [
        {name: row[name] for name in ("question_id", "image_id", "question")} | {"answers": humans, "set_name": "val"}
        for row, humans in zip(ROWS, HUMANS, strict=True)
    ]
    whole = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1", "data": data}
    (tmp_path / "TextVQA_0.5.1_val.json").write_text(json.dumps(whole))
    prompts = [
        {
            "question_id": row["image_id"],
            "image": f"{row['image_id']}.jpg",
            "text": f"{row['question'].capitalize()}\nReference OCR token: {', '.join(row['ocr'])}{SUFFIX}",
            "category": "default",
        }
        for row in reversed(ROWS)
    ]
    (tmp_path / "llava_ocr.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    for row in ROWS:
        (tmp_path / f"{row['image_id']}.jpg").write_bytes(png())
    return {
        "annotations": str(tmp_path / "TextVQA_0.5.1_val.json"),
        "questions": str(tmp_path / "llava_ocr.jsonl"),
        "images": str(tmp_path),
    }


@pytest.fixture
def hub(tmp_path):
    features = {
        "image_id": {"dtype": "string", "_type": "Value"},
        "question_id": {"dtype": "int32", "_type": "Value"},
        "question": {"dtype": "string", "_type": "Value"},
        "image": {"_type": "Image"},
        "answers": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
        "ocr_tokens": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
    }
    schema = pa.schema(
        [
            ("image_id", pa.string()),
            ("question_id", pa.int32()),
            ("question", pa.string()),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("answers", pa.list_(pa.string())),
            ("ocr_tokens", pa.list_(pa.string())),
        ],
        metadata={b"huggingface": json.dumps({"info": {"features": features}}).encode()},
    )
    rows = [
        {**row, "image": {"bytes": png(), "path": None}, "answers": humans, "ocr_tokens": row["ocr"]}
        for row, humans in zip(ROWS, HUMANS, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "val.parquet")
    return {"annotations": str(tmp_path / "val.parquet")}


def scores(task, answers):
    found = {s.id: task.score(s, task.parse(s, answers[s.id])) for s in task.samples}
    return {name: score and score["accuracy"] for name, score in found.items()}


@pytest.mark.parametrize("form", ["official", "hub"])
def test_both_forms_give_llavas_prompts(official, hub, form):
    task = textvqa_task(**(official if form == "official" else hub))
    assert [sample.id for sample in task.samples] == NAMES
    assert [sample.target for sample in task.samples] == HUMANS
    assert [sample.group for sample in task.samples] == ["003a8ae2", "0054c91", "003a8ae2"]
    prompts = [given.load() for given in task.inputs]
    assert [prompt.text for prompt in prompts] == [
        f"What is the brand of this camera?\nReference OCR token: DAKOTA, a, b, Digital{SUFFIX}",
        f"What does the small white text spell?\nReference OCR token: {SUFFIX}",
        f"What year?\nReference OCR token: DAKOTA, a, b, Digital{SUFFIX}",
    ]
    assert prompts[0].images[0].size == (4, 3)


def test_the_prompt_without_ocr_tokens(official):
    task = textvqa_task(**official, ocr=False)
    assert task.inputs[0].load().text == f"What is the brand of this camera?{SUFFIX}"
    assert textvqa_task(official["annotations"], ocr=False).inputs[0].load().text == task.inputs[0].load().text


def test_without_ocr_tokens_answers_are_scored_but_no_model_is_asked(official):
    task = textvqa_task(official["annotations"])
    assert scores(task, dict.fromkeys(NAMES, "dakota"))[NAMES[0]] == 1.0
    assert len({given.digest for given in task.inputs}) == len(NAMES)
    with pytest.raises(UserError, match="OCR tokens"):
        task.inputs[0].load()


def test_oracle_anti_oracle_and_constants(official):
    for rule in ("official", "lmms-eval", "vlmevalkit"):
        task = textvqa_task(**official, rule=rule)
        oracle = {name: max(humans, key=humans.count) for name, humans in zip(NAMES, HUMANS, strict=True)}
        assert scores(task, oracle) == dict.fromkeys(NAMES, 1.0)
        assert scores(task, dict.fromkeys(NAMES, "zebra")) == dict.fromkeys(NAMES, 0.0)
        assert scores(task, dict.fromkeys(NAMES, "copenhagen")) == {NAMES[0]: 0, NAMES[1]: 1, NAMES[2]: 0}
        assert scores(task, dict.fromkeys(NAMES, None)) == dict.fromkeys(NAMES, 0.0)


def test_annotators_who_agree_are_normalised_all_the_same(official):
    """Unlike VQAv2's."""
    assert scores(textvqa_task(**official), dict.fromkeys(NAMES, "The Copenhagen!"))[NAMES[1]] == 1.0


@pytest.mark.parametrize(("said", "official_score", "their_score"), [("3", 1, 0), ("3.", 1, 1), ("1000", 1, 1)])
def test_where_the_rules_differ(official, said, official_score, their_score):
    answers = dict.fromkeys(NAMES, said)
    assert scores(textvqa_task(**official), answers)[NAMES[2]] == official_score
    assert scores(textvqa_task(**official, rule="vlmevalkit"), answers)[NAMES[2]] == their_score


def answers_of(prompt):
    return [{"question_id": row["image_id"], "prompt": prompt(row), "text": f"to {row['question_id']}"} for row in ROWS]


@pytest.mark.parametrize(
    "prompt",
    [
        lambda row: f"{row['question'].capitalize()}\nReference OCR token: A, B{SUFFIX}",
        lambda row: f"Reference OCR token: A, B\n{row['question'].capitalize()}{SUFFIX}",
        lambda row: f"{row['question'].upper()}{SUFFIX}",
    ],
    ids=["tokens second", "tokens first", "no tokens"],
)
def test_llavas_answers_are_matched_by_image_and_question(official, tmp_path, prompt):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in answers_of(prompt)))
    found = textvqa_task(**official).predictions(path)
    assert found.outputs == {name: f"to {name}" for name in NAMES}


def test_an_answer_to_another_question_about_the_image_is_not_matched(official, tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = answers_of(lambda row: row["question"] + SUFFIX)
    rows[0]["prompt"] = "Who?" + SUFFIX
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = textvqa_task(**official).predictions(path)
    assert found.outputs.keys() == set(NAMES[1:])
    assert found.unmatched == ("003a8ae2 who?",)


def test_a_result_file_by_question_id(official, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"question_id": 34603, "answer": "x"}]))
    assert textvqa_task(**official).predictions(path).outputs == {"34603": "x"}


def test_what_is_refused(official, tmp_path):
    short = json.loads((tmp_path / "TextVQA_0.5.1_val.json").read_text())
    short["data"][1]["answers"].pop()
    (tmp_path / "short.json").write_text(json.dumps(short))
    with pytest.raises(UserError, match=r"short\.json, item 2: 9 answers instead of 10"):
        textvqa_task(str(tmp_path / "short.json"))
    lines = (tmp_path / "llava_ocr.jsonl").read_text().splitlines()
    (tmp_path / "fewer.jsonl").write_text("\n".join(lines[1:]))
    with pytest.raises(UserError, match=r"item 3: it is not in .*fewer\.jsonl"):
        textvqa_task(official["annotations"], str(tmp_path / "fewer.jsonl"))
    (tmp_path / "plain.jsonl").write_text(json.dumps({"question_id": "0054c91", "text": "What?" + SUFFIX}))
    with pytest.raises(UserError, match=r"plain\.jsonl, line 1: its text is not a question and a line"):
        textvqa_task(official["annotations"], str(tmp_path / "plain.jsonl"))


def test_the_test_split_has_no_labels(tmp_path):
    data = [{name: row[name] for name in ("question_id", "image_id", "question")} for row in ROWS]
    (tmp_path / "test.json").write_text(json.dumps({"data": data}))
    assert scores(textvqa_task(str(tmp_path / "test.json")), dict.fromkeys(NAMES, "x")) == dict.fromkeys(NAMES)
