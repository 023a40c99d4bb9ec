"""VizWiz: its files, its rules, its own metrics, its submission."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adaptbench.harness.contracts import Scores
from adaptbench.harness.errors import UserError
from adaptbench.tasks.multimodal.vizwiz import vizwiz_task
from PIL import Image

HUMANS = {
    "VizWiz_val_00000000": ["unanswerable"] * 7 + ["no"] * 3,
    "VizWiz_val_00000001": ["Coca Cola"] * 2 + ["coke"] * 8,
    "VizWiz_val_00000012": ["don't know"] * 10,
}
KINDS = ["unanswerable", "other", "other"]
NAMES = list(HUMANS)


def png():
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def official(tmp_path):
    rows = [
        {
            "image": f"{name}.jpg",
            "question": "WHAT is This? ",
            "answers": [{"answer": answer, "answer_confidence": "yes"} for answer in humans],
            "answer_type": kind,
            "answerable": int(kind != "unanswerable"),
        }
        for (name, humans), kind in zip(HUMANS.items(), KINDS, strict=True)
    ]
    (tmp_path / "val.json").write_text(json.dumps(rows))
    for name in NAMES:
        (tmp_path / f"{name}.jpg").write_bytes(png())
    return {"annotations": str(tmp_path / "val.json"), "images": str(tmp_path)}


@pytest.fixture
def hub(tmp_path):
    text = {"dtype": "string", "_type": "Value"}
    features = dict.fromkeys(["question_id", "question", "category"], text) | {
        "image": {"_type": "Image"},
        "answers": {"feature": text, "_type": "List"},
    }
    schema = pa.schema(
        [
            ("question_id", pa.string()),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("question", pa.string()),
            ("answers", pa.list_(pa.string())),
            ("category", pa.string()),
        ],
        metadata={b"huggingface": json.dumps({"info": {"features": features}}).encode()},
    )
    rows = [
        {
            "question_id": name,
            "image": {"bytes": png(), "path": f"{name}.jpg"},
            "question": "WHAT is This? ",
            "answers": humans,
            "category": kind,
        }
        for (name, humans), kind in zip(HUMANS.items(), KINDS, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "val.parquet")
    return {"annotations": str(tmp_path / "val.parquet")}


def scores(task, answers, metric="accuracy"):
    found = {s.id: task.score(s, task.parse(s, answers[s.id])) for s in task.samples}
    return {name: score and score[metric] for name, score in found.items()}


def every(text):
    return dict.fromkeys(NAMES, text)


@pytest.mark.parametrize("form", ["official", "hub"])
def test_both_forms_give_the_same_task(official, hub, form):
    task = vizwiz_task(**(official if form == "official" else hub))
    assert [sample.id for sample in task.samples] == NAMES
    assert [sample.target for sample in task.samples] == list(HUMANS.values())
    assert [sample.subsets for sample in task.samples] == [
        {"category": "unanswerable", "answerable": "no"},
        {"category": "other", "answerable": "yes"},
        {"category": "other", "answerable": "yes"},
    ]
    prompt = task.inputs[0].load()
    assert prompt.text == (
        "What is this? \n"
        "When the provided information is insufficient, respond with 'Unanswerable'.\n"
        "Answer the question using a single word or phrase."
    )
    assert prompt.images[0].size == (4, 3)


def test_oracle_anti_oracle_and_constants(official):
    for rule in ("official", "llava", "lmms-eval", "vlmevalkit"):
        task = vizwiz_task(**official, rule=rule)
        assert scores(task, every("zebra")) == every(0.0)
        assert scores(task, every("Unanswerable")) == every(0.0) | {NAMES[0]: 1.0}
        assert scores(task, every("coke"))[NAMES[1]] == 1.0
        assert scores(task, every(None)) == every(0.0)


@pytest.mark.parametrize(
    ("rule", "label_with_capitals", "bare_contraction"),
    [
        # Labels are not touched, so capitals in them are never met; the table writes a backtick, which they have not.
        ("official", 0.0, 0.0),
        ("llava", 0.0, 1.0),
        ("lmms-eval", 0.6, 1.0),
        ("vlmevalkit", 0.6, 1.0),
    ],
)
def test_where_the_rules_differ(official, rule, label_with_capitals, bare_contraction):
    task = vizwiz_task(**official, rule=rule)
    assert scores(task, every("coca cola"))[NAMES[1]] == pytest.approx(label_with_capitals)
    assert scores(task, every("Don't know."))[NAMES[2]] == 1.0
    assert scores(task, every("dont know"))[NAMES[2]] == bare_contraction


def aggregated(task, answers, weights=None):
    said = scores(task, answers, "said unanswerable")
    subsets = np.array([sample.subsets.get("answerable", "") for sample in task.samples], dtype=object)
    values = {"said unanswerable": np.array([said[sample.id] for sample in task.samples])}
    weights = np.ones(len(task.samples)) if weights is None else np.array(weights, dtype=float)
    return task.aggregate(Scores(values, {"answerable": subsets}, weights))


@pytest.mark.parametrize(
    ("said", "f1", "precision"),
    [
        (["unanswerable", "x", "y"], 1.0, 1.0),
        (["unanswerable", "Unanswerable.", "y"], 2 / 3, 0.5),
        (["x", "y", "z"], 0.0, 1 / 3),
        (["x", "unanswerable", "z"], 0.0, 1 / 3),
    ],
)
def test_unanswerable_figures(official, said, f1, precision):
    found = aggregated(vizwiz_task(**official), dict(zip(NAMES, said, strict=True)))
    assert found == pytest.approx({"unanswerable F1": f1, "unanswerable average precision": precision})


@pytest.mark.parametrize("seed", range(20))
def test_unanswerable_metrics_equal_scikit_learns(seed, tmp_path):
    """Which the official script calls."""
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    label, claim = random.integers(0, 2, 12), random.integers(0, 2, 12)
    label[0] = 1
    rows = [
        {"image": f"VizWiz_val_{n:08d}.jpg", "question": "?", "answers": ["a"] * 10, "answerable": int(1 - label[n])}
        for n in range(12)
    ]
    (tmp_path / "val.json").write_text(json.dumps(rows))
    task = vizwiz_task(str(tmp_path / "val.json"))
    answers = {s.id: "unanswerable" if said else "x" for s, said in zip(task.samples, claim, strict=True)}
    weights = random.integers(1, 4, 12)
    repeated = np.repeat(np.arange(12), weights)
    assert aggregated(task, answers, weights) == pytest.approx(
        {
            "unanswerable F1": metrics.f1_score(label[repeated], claim[repeated], zero_division=0),
            "unanswerable average precision": metrics.average_precision_score(label[repeated], claim[repeated]),
        }
    )


def test_metrics_that_are_not_defined_are_left_out(official):
    task = vizwiz_task(**official)
    answers = every("unanswerable")
    assert aggregated(task, answers, [0, 1, 1]) == {}
    assert aggregated(task, answers, [0, 0, 0]) == {}
    assert task.aggregate(Scores({"said unanswerable": np.ones(3)}, {}, np.ones(3))) == {}


def test_predictions_of_three_makers(official, tmp_path):
    task = vizwiz_task(**official)
    (tmp_path / "upload.json").write_text(json.dumps([{"image": f"{name}.jpg", "answer": "a"} for name in NAMES]))
    assert task.predictions(tmp_path / "upload.json").outputs == every("a")
    (tmp_path / "answers.jsonl").write_text('{"question_id": 12, "text": "b"}\n{"question_id": 0, "text": "c"}\n')
    assert task.predictions(tmp_path / "answers.jsonl").outputs == {NAMES[2]: "b", NAMES[0]: "c"}
    log = {"doc_id": 1, "doc": {"question_id": NAMES[1], "answers": ["x"]}, "filtered_resps": ["d"]}
    (tmp_path / "log.jsonl").write_text(json.dumps(log))
    assert task.predictions(tmp_path / "log.jsonl").outputs == {NAMES[1]: "d"}


def test_vlmevalkits_row_numbers_are_no_numbers_of_images(official, tmp_path):
    """Its third row is about image 12, not about an image 2; a number that leads elsewhere is refused."""
    task = vizwiz_task(**official)
    path = tmp_path / "result.tsv"
    path.write_text("index\tquestion\tprediction\n2\twhat is this?\ta\n")
    assert task.predictions(path).outputs == {NAMES[2]: "a"}
    path.write_text("index\tquestion\tprediction\n2\tWho?\ta\n")
    with pytest.raises(UserError, match=r"row 1: none of question_id, image names a question"):
        task.predictions(path)


def llava_questions(tmp_path):
    suffix = (
        "\nWhen the provided information is insufficient, respond with 'Unanswerable'."
        "\nAnswer the question using a single word or phrase."
    )
    rows = [{"question_id": n, "image": f"VizWiz_test_{n:08d}.jpg", "text": f"What is {n}?{suffix}"} for n in (0, 7)]
    (tmp_path / "llava_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "llava_test.jsonl")


def test_llavas_questions_and_the_submission(tmp_path):
    task = vizwiz_task(questions=llava_questions(tmp_path))
    assert [question.text for question in task.questions] == ["What is 0?", "What is 7?"]
    outputs = {"VizWiz_test_00000000": "Two dogs.", "VizWiz_test_00000007": None}
    assert scores(task, outputs) == dict.fromkeys(outputs)
    task.benchmark.submission(outputs, task, tmp_path / "upload.json")
    assert json.loads((tmp_path / "upload.json").read_text()) == [
        {"image": "VizWiz_test_00000000.jpg", "answer": "2 dogs"},
        {"image": "VizWiz_test_00000007.jpg", "answer": ""},
    ]
    outputs.popitem()
    with pytest.raises(UserError, match="1 questions have no answer, VizWiz_test_00000007 first"):
        task.benchmark.submission(outputs, task, tmp_path / "upload.json")
