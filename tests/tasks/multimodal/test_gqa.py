"""GQA: its files, its rules, its axes."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.multimodal import gqa
from adaptbench.tasks.multimodal.gqa import gqa_task
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image


def step(operation, argument=""):
    return {"operation": operation, "dependencies": [], "argument": argument}


def question(text, answer, image, structural, program, *, balanced=True):
    return {
        "semantic": program,
        "entailed": [],
        "equivalent": [],
        "question": text,
        "imageId": image,
        "isBalanced": balanced,
        "groups": {"global": "animal", "local": "l"},
        "answer": answer,
        "semanticStr": "",
        "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
        "types": {"detailed": f"{structural}Attr", "semantic": "attr", "structural": structural},
        "fullAnswer": f"It is {answer}.",
    }


QUESTIONS = {
    "201": question("What is it?", "t-shirt", "n1", "query", [step("select", "it"), step("query", "name")]),
    "202": question(
        "Is the dog on the left?",
        "yes",
        "n1",
        "verify",
        [step("select", "dog (3)"), step("filter", "left"), step("exist", "?"), step("verify rel", "left")],
    ),
    "203": question(
        "Is it red or blue?", "blue", "n2", "choose", [step("choose name", "red|blue"), step("exist", "?")]
    ),
    "204": question("Is it unbalanced?", "no", "n2", "verify", [], balanced=False),
}


def png(colour):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def official(tmp_path):
    (tmp_path / "testdev_balanced_questions.json").write_text(json.dumps(QUESTIONS))
    for name, colour in (("n1", "red"), ("n2", "blue")):
        (tmp_path / f"{name}.jpg").write_bytes(png(colour))
    return {"annotations": str(tmp_path / "testdev_balanced_questions.json"), "images": str(tmp_path)}


@pytest.fixture
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    rows = [{"id": name} | row for name, row in QUESTIONS.items()]
    for row in rows:
        row.pop("annotations")
    pq.write_table(pa.Table.from_pylist(rows), folder / "instructions.parquet")
    features = {"id": {"dtype": "string", "_type": "Value"}, "image": {"_type": "Image"}}
    schema = pa.schema(
        [("id", pa.string()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))],
        metadata={b"huggingface": json.dumps({"info": {"features": features}}).encode()},
    )
    images = [
        {"id": name, "image": {"bytes": png(colour), "path": None}} for name, colour in (("n2", "blue"), ("n1", "red"))
    ]
    pq.write_table(pa.Table.from_pylist(images, schema=schema), folder / "images.parquet")
    return {"annotations": str(folder / "instructions.parquet"), "images": str(folder / "images.parquet")}


def scores(task, answers):
    found = {s.id: task.score(s, task.parse(s, answers[s.id])) for s in task.samples}
    return {name: score and score["accuracy"] for name, score in found.items()}


@pytest.mark.parametrize("form", ["official", "hub"])
def test_both_forms_give_the_balanced_questions(official, hub, form):
    task = gqa_task(**(official if form == "official" else hub))
    assert [sample.id for sample in task.samples] == ["201", "202", "203"]
    assert [sample.group for sample in task.samples] == ["n1", "n1", "n2"]
    assert [sample.target for sample in task.samples] == ["t-shirt", "yes", "blue"]
    assert task.samples[1].subsets == {
        "structural": "verify",
        "semantic": "attr",
        "detailed": "verifyAttr",
        "form": "binary",
        "steps": "3",
        "words": "6",
    }
    assert [(s.subsets["form"], s.subsets["steps"]) for s in task.samples] == [
        ("open", "1"),
        ("binary", "3"),
        ("binary", "0"),
    ]
    prompts = [given.load() for given in task.inputs]
    assert prompts[0].text == "What is it?\nAnswer the question using a single word or phrase."
    assert [np.asarray(prompt.images[0])[0, 0].tolist() for prompt in prompts] == [[255, 0, 0]] * 2 + [[0, 0, 255]]
    assert prompts[0].digests == prompts[1].digests != prompts[2].digests


def test_images_in_a_folder_go_with_questions_in_a_table(official, hub):
    task = gqa_task(hub["annotations"], images=official["images"])
    assert np.asarray(task.inputs[2].load().images[0])[0, 0].tolist() == [0, 0, 255]


def test_without_images_answers_are_scored_all_the_same(official, hub):
    for annotations in (official["annotations"], hub["annotations"]):
        task = gqa_task(annotations)
        assert set(scores(task, {s.id: s.target for s in task.samples}).values()) == {1.0}
        assert [sample.group for sample in task.samples] == ["n1", "n1", "n2"]


@pytest.mark.parametrize("rule", ["official", "lmms-eval", "vlmevalkit"])
def test_oracle_anti_oracle_and_constants(official, rule):
    task = gqa_task(**official, rule=rule)
    names = [sample.id for sample in task.samples]
    assert scores(task, {s.id: s.target for s in task.samples}) == dict.fromkeys(names, 1.0)
    assert scores(task, dict.fromkeys(names, "zebra")) == dict.fromkeys(names, 0.0)
    assert scores(task, dict.fromkeys(names, "yes")) == {"201": 0.0, "202": 1.0, "203": 0.0}
    assert scores(task, dict.fromkeys(names, None)) == dict.fromkeys(names, 0.0)


@pytest.mark.parametrize(
    ("said", "right"),  # by official, lmms-eval, vlmevalkit
    [
        ("T-shirt", (1, 1, 1)),
        ("T-shirt...", (1, 1, 0)),
        (" t-shirt", (0, 0, 1)),
        ("tshirt", (0, 1, 0)),
        ("t-shirt!", (0, 1, 0)),
        ("the t-shirt", (0, 0, 0)),
        ("t-shirt. ", (0, 0, 0)),
    ],
)
def test_where_the_rules_differ(official, said, right):
    found = []
    for rule in ("official", "lmms-eval", "vlmevalkit"):
        task = gqa_task(**official, rule=rule)
        found.append(task.score(task.samples[0], task.parse(task.samples[0], said))["accuracy"])
    assert tuple(found) == right


@pytest.mark.parametrize("chain", [gqa.official, gqa.lmms_eval, gqa.vlmevalkit])
@given(text=st.text())
def test_every_rule_reads_every_text_and_changes_nothing_twice(chain, text):
    assert chain(chain(text)) == chain(text)


def test_predictions_in_the_official_form_and_in_llavas(official, tmp_path):
    task = gqa_task(**official)
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps([{"questionId": name, "prediction": "yes"} for name in QUESTIONS]))
    found = task.predictions(path)
    assert found.outputs == dict.fromkeys(["201", "202", "203"], "yes")
    assert found.unmatched == ("204",)
    path = tmp_path / "answers.jsonl"
    path.write_text('{"question_id": "202", "prompt": "p", "text": "Yes"}\n')
    assert task.predictions(path).outputs == {"202": "Yes"}


def test_the_question_file_is_no_file_of_predictions(official):
    """Its answers are the right ones."""
    with pytest.raises(UserError, match="no column text or prediction"):
        gqa_task(**official).predictions(gqa.Path(official["annotations"]))


def test_questions_without_labels_are_not_scored(tmp_path):
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"1": {"imageId": "n1", "question": "Why?", "isBalanced": True}}))
    task = gqa_task(str(path))
    assert scores(task, {"1": "yes"}) == {"1": None}
    assert task.samples[0].subsets == {"words": "1"}


def test_a_question_without_its_image_is_refused_by_place(tmp_path):
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"1": {"question": "Why?"}}))
    with pytest.raises(UserError, match=r"test\.json, item 1: no imageId"):
        gqa_task(str(path))
