"""SEED-Bench: types, parts, a repeated id, the middle frame, and other people's predictions."""

import io
import json

import datasets
import pytest
from adaptbench.harness.contracts import Record
from adaptbench.harness.errors import UserError
from adaptbench.harness.summary import summarise
from adaptbench.tasks.multimodal.seed import TYPES, seed_task
from PIL import Image

# id, type, kind, answer; the same id appears twice, as in the real file.
ROWS = [("101", 1, "image", "A"), ("102", 9, "image", "D"), ("101", 1, "image", "B"), ("v1", 10, "video", "C")]


def png(shade=0):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def row(name, kind, data, answer):
    choices = {f"choice_{letter}": f"{letter}{name}" for letter in "abcd"}
    question = {"question": f"What is {name}?", "question_id": name, "question_type_id": kind, "data_type": data}
    return {"answer": answer, **choices, "data_id": f"{name}.jpg", **question}


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "seed"
    (home / "SEED-Bench-image").mkdir(parents=True)
    (home / "SEED-Bench-image" / "101.jpg").write_bytes(png(9))
    content = {"question_type": {"Scene Understanding": 1}, "questions": [row(*facts) for facts in ROWS]}
    (home / "SEED-Bench.json").write_text(json.dumps(content))
    return home


def hub_file(path):
    frames = {"image": [9], "video": [1, 2, 3]}
    rows = [
        row(*facts) | {"image": [{"bytes": png(shade), "path": None} for shade in frames[facts[2]]]} for facts in ROWS
    ]
    kinds = {"image": datasets.List(datasets.Image()), "question_type_id": datasets.Value("int64")}
    features = datasets.Features({name: kinds.get(name, datasets.Value("string")) for name in rows[0]})
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(path))
    return path


def metrics(task, outputs):
    samples = [sample for sample in task.samples if sample.id in outputs]
    records = []
    for sample in samples:
        parsed = task.parse(sample, outputs[sample.id])
        records.append(Record(sample.id, "", outputs[sample.id], parsed, task.score(sample, parsed)))
    summary = summarise(task.card, samples, records, task.aggregate)
    return summary["metrics"]["accuracy"].value, summary


def test_the_sources_agree(folder, tmp_path):
    local, hub = seed_task(str(folder)), seed_task(str(hub_file(tmp_path / "test.parquet")))
    facts = [[(q.id, q.text, q.options, q.target, dict(q.subsets)) for q in task.questions] for task in (local, hub)]
    assert facts[0] == facts[1]
    assert [q.id for q in hub.questions] == ["101", "102", "101#2", "v1"]
    assert hub.questions[3].subsets == {"type": "Action Recognition", "data": "video"}
    assert len(set(TYPES)) == 12


def test_questions_are_asked_as_llava_asks_and_of_a_video_the_middle_frame_is_shown(folder, tmp_path):
    task = seed_task(str(hub_file(tmp_path / "test.parquet")))
    prompt = task.inputs[3].load()
    assert prompt.text == (
        "What is v1?\nA. av1\nB. bv1\nC. cv1\nD. dv1\nAnswer with the option's letter from the given choices directly."
    )
    assert [image.getpixel((0, 0)) for image in prompt.images] == [(2, 0, 0)]
    assert seed_task(str(folder)).inputs[0].load().images[0].getpixel((0, 0)) == (9, 0, 0)


def test_llavas_question_file_names_the_images(folder, tmp_path):
    (folder / "frames").mkdir()
    (folder / "frames" / "x.png").write_bytes(png(7))
    questions = tmp_path / "llava-seed-bench.jsonl"
    questions.write_text(json.dumps({"question_id": "v1", "image": "frames/x.png", "text": "..."}))
    task = seed_task(str(folder), str(questions), part="video")
    assert [item.load().images[0].getpixel((0, 0)) for item in task.inputs] == [(7, 0, 0)]


@pytest.mark.parametrize("rule", ["official", "lmms-eval", "vlmevalkit"])
def test_oracle_anti_oracle_and_constant(folder, rule):
    task = seed_task(str(folder), rule=rule)
    accuracy, summary = metrics(task, {q.id: q.target for q in task.questions})
    assert accuracy == 1
    assert set(summary["breakdown"]["data"]) == {"image", "video"}
    assert metrics(task, {q.id: "ABCDA"["ABCD".index(q.target) + 1] for q in task.questions})[0] == 0
    assert metrics(task, dict.fromkeys([q.id for q in task.questions], "A"))[0] == 0.25


def test_the_parts(folder):
    assert [len(seed_task(str(folder), part=part).samples) for part in ("all", "image", "video")] == [4, 3, 1]
    with pytest.raises(UserError, match="no part 'images'"):
        seed_task(str(folder), part="images")


def test_a_prediction_answers_both_questions_of_its_id_and_a_missing_one_is_wrong(folder, tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text(
        "\n".join(json.dumps({"question_id": name, "text": text}) for name, text in [(101, "A"), ("v1", "C")])
    )
    task = seed_task(str(folder))
    read = task.predictions(path)
    assert read.outputs == {"101": "A", "102": "", "101#2": "A", "v1": "C"}
    assert read.notes == ("no prediction for 1 question (102): counted as wrong",)
    assert metrics(task, read.outputs)[0] == 0.5


def test_a_submission_is_read(folder, tmp_path):
    path = tmp_path / "upload.jsonl"
    path.write_text("\n".join(json.dumps({"question_id": name, "prediction": "A"}) for name in ("101", "102", "v1")))
    assert set(seed_task(str(folder)).predictions(path).outputs.values()) == {"A"}


@pytest.mark.parametrize("change", [{"answer": "E"}, {"question_type_id": 13}, {"answer": None}])
def test_questions_that_are_none_are_refused(folder, change):
    (folder / "SEED-Bench.json").write_text(json.dumps({"questions": [row(*ROWS[0]), row(*ROWS[1]) | change]}))
    with pytest.raises(UserError, match=r"SEED-Bench.json, question 2"):
        seed_task(str(folder))
