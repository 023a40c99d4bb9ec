"""ScienceQA: parts, prompts, subsets and other people's predictions."""

import io
import json

import datasets
import pyarrow.parquet as pq
import pytest
from adaptbench.harness.contracts import Record
from adaptbench.harness.errors import UserError
from adaptbench.harness.summary import summarise
from adaptbench.tasks.multimodal.scienceqa import scienceqa_task
from PIL import Image

PROBLEMS = {
    "3": {"choices": ["red", "blue"], "answer": 1, "hint": "", "image": "image.png", "grade": "grade5"},
    "12": {"choices": ["one", "two", "three"], "answer": 2, "hint": "Count.", "image": None, "grade": "grade8"},
    "7": {"choices": ["yes", "no"], "answer": 0, "hint": "Look.", "image": "image.png", "grade": "grade7"},
    "9": {"choices": ["a", "b", "c", "d", "e"], "answer": 4, "hint": "", "image": None, "grade": "grade1"},
}
for name, problem in PROBLEMS.items():
    problem |= {"question": f"Question {name}?", "subject": "natural science", "topic": "physics", "split": "test"}


def png():
    stream = io.BytesIO()
    Image.new("RGB", (4, 3)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "scienceqa"
    for name in ("3", "7"):
        (home / "images" / "test" / name).mkdir(parents=True)
        (home / "images" / "test" / name / "image.png").write_bytes(png())
    (home / "problems.json").write_text(json.dumps(PROBLEMS))
    (home / "pid_splits.json").write_text(json.dumps({"test": list(PROBLEMS), "val": []}))
    return home


def hub_file(path):
    rows = [
        {
            "image": {"bytes": png(), "path": None} if row["image"] else None,
            **{name: row[name] for name in ("question", "choices", "answer", "hint", "grade", "subject", "topic")},
        }
        for row in PROBLEMS.values()
    ]
    text = datasets.Value("string")
    kinds = {"image": datasets.Image(), "choices": datasets.List(text), "answer": datasets.Value("int8")}
    features = datasets.Features({name: kinds.get(name, text) for name in rows[0]})
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
    path = str(hub_file(tmp_path / "test.parquet"))
    for part, count in (("img", 2), ("full", 4)):
        local, hub = scienceqa_task(str(folder), part=part), scienceqa_task(path, part=part)
        facts = [[(q.text, q.options, q.target, q.hint, dict(q.subsets)) for q in t.questions] for t in (local, hub)]
        assert facts[0] == facts[1]
        assert len(local.samples) == count
    assert [q.id for q in scienceqa_task(path).questions] == ["0", "2"], "their numbers in the data set"


def test_questions_are_asked_as_llava_asks(folder):
    task = scienceqa_task(str(folder), part="full")
    prompts = [item.load() for item in task.inputs[:3]]
    ending = "Answer with the option's letter from the given choices directly."
    assert prompts[0].text == f"Question 3?\nA. red\nB. blue\n{ending}"
    assert prompts[1].text == f"Context: Count.\nQuestion 12?\nA. one\nB. two\nC. three\n{ending}"
    assert [len(prompt.images) for prompt in prompts] == [1, 0, 1]
    assert prompts[0].max_new_tokens == 1024


@pytest.mark.parametrize("rule", ["official", "lmms-eval", "vlmevalkit"])
def test_oracle_anti_oracle_and_constant(folder, rule):
    task = scienceqa_task(str(folder), part="full", rule=rule)
    accuracy, summary = metrics(task, {q.id: q.target for q in task.questions})
    assert accuracy == 1
    assert set(summary["breakdown"]["context"]) == {"image", "text", "text and image", "none"}
    assert set(summary["breakdown"]["grades"]) == {"1-6", "7-12"}
    assert metrics(task, {q.id: "B" if q.target == "A" else "A" for q in task.questions})[0] == 0
    assert metrics(task, {q.id: "A" for q in task.questions})[0] == 0.25


def test_a_letter_beyond_the_choices_is_wrong(folder):
    task = scienceqa_task(str(folder))
    accuracy, summary = metrics(task, {"3": "C", "7": "The answer is A."})
    assert (accuracy, summary["unparsed"]) == (0.5, 1)


def test_llava_answers_are_read(folder, tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [{"question_id": name, "prompt": "x", "text": "A"} for name in (3, "12", "7", "999")]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, rows)).encode())
    with_images = scienceqa_task(str(folder)).predictions(path)
    assert with_images.outputs == {"3": "A", "7": "A"}
    assert with_images.unmatched == ("12", "999")
    everything = scienceqa_task(str(folder), part="full").predictions(path)
    assert everything.outputs == {"3": "A", "12": "A", "7": "A", "9": "FAILED"}
    assert everything.notes == ("no prediction for 1 question (9): counted as wrong",)


def test_a_missing_prediction_with_an_image_does_not_count(folder, tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"question_id": "3", "text": "B"}))
    task = scienceqa_task(str(folder))
    assert metrics(task, task.predictions(path).outputs)[0] == 1


def scripts_files(folder, said):
    """The two files that LLaVA's script makes of predictions, ``said``: problem -> text; ``FAILED`` for the others."""
    rows = [
        {
            "question_id": name,
            "parsed_ans": said.get(name, "FAILED")[:1],
            "ground_truth": "ABCDE"[problem["answer"]],
            "question": f"{'<image>' * bool(problem['image'])}x" if name in said else "Unknown",
            "pred": said.get(name, "FAILED"),
            "is_multimodal": name in said and bool(problem["image"]),
        }
        for name, problem in PROBLEMS.items()
    ]
    right = [row["parsed_ans"] == row["ground_truth"] for row in rows]
    files = folder / "output.json", folder / "result.json"
    groups = {"correct": [row for row, is_right in zip(rows, right, strict=True) if is_right], "incorrect": []}
    groups["incorrect"] = [row for row in rows if row not in groups["correct"]]
    files[0].write_text(json.dumps(groups, indent=2))
    metrics = {"acc": 100 * sum(right) / len(rows), "correct": sum(right), "count": len(rows)}
    indexes = {row["question_id"]: "ABCDE".find(row["parsed_ans"]) for row in rows}
    outputs = {row["question_id"]: row["pred"] for row in rows}
    files[1].write_text(json.dumps(metrics | {"results": indexes, "outputs": outputs}, indent=2))
    return files


@pytest.mark.parametrize(
    ("said", "full", "with_image"),
    [
        ({"3": "B", "12": "A", "7": "A", "9": "E. e"}, 3 / 4, 1),
        ({"3": "A", "12": "C", "7": "hm", "9": "D"}, 1 / 4, 0),
        ({"3": "B", "9": "A"}, 1 / 4, 1),
        ({"3": "B", "12": "C", "7": "A", "9": "E"}, 1, 1),
    ],
    ids=["some wrong", "some unread", "some missing", "all right"],
)
def test_the_files_that_llavas_script_makes_are_read(folder, tmp_path, said, full, with_image):
    for path in scripts_files(tmp_path, said):
        everything, with_images = scienceqa_task(str(folder), part="full"), scienceqa_task(str(folder))
        accuracy, summary = metrics(everything, everything.predictions(path).outputs)
        assert accuracy == full
        assert summary["metrics"]["IMG accuracy"].value == with_image, "a missing one does not count"
        read = with_images.predictions(path)
        assert read.outputs.keys() == {"3", "7"} & said.keys()
        assert metrics(with_images, read.outputs)[0] == with_image


@pytest.mark.parametrize("name", ["problems.json", "pid_splits.json", "mine.json"])
def test_the_file_that_is_named_is_read(folder, name):
    if name == "mine.json":  # without a list of splits, the problems' own tell
        (folder / "problems.json").rename(folder / name)
        (folder / "pid_splits.json").unlink()
    task = scienceqa_task(str(folder / name))
    assert [question.id for question in task.questions] == ["3", "7"]
    assert task.read.endswith(f"{name}; left out: 2 without an image, as part=img says (12, 9)")


def test_a_table_without_images_is_scored(folder, tmp_path):
    path = tmp_path / "test.parquet"
    pq.write_table(pq.read_table(hub_file(path)).drop_columns("image"), path)
    task = scienceqa_task(str(path), part="full")
    accuracy, summary = metrics(task, {q.id: q.target for q in task.questions})
    assert (accuracy, set(summary["breakdown"]["text context"])) == (1, {"yes", "no"})
    assert "image context" not in summary["breakdown"]


def test_ids_may_be_numbers_in_any_file(folder, tmp_path):
    (folder / "pid_splits.json").write_text(json.dumps({"test": [3, 12, 7, 9]}))
    path = tmp_path / "output.json"
    path.write_text(json.dumps({"correct": [{"question_id": 3, "pred": "B"}], "incorrect": []}))
    assert scienceqa_task(str(folder)).predictions(path).outputs == {"3": "B"}


def test_a_log_of_lmms_eval_is_read_by_its_order(folder, tmp_path):
    task = scienceqa_task(str(hub_file(tmp_path / "test.parquet")))
    rows = [{"doc_id": n, "doc": {"question": q.text}, "filtered_resps": ["B"]} for n, q in enumerate(task.questions)]
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert task.predictions(path).outputs == {"0": "B", "2": "B"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 5}, "problem 3: its answer 5 is not the number of one of its 2 choices"),
        ({"choices": "red"}, "problem 3: its choices is 'red', not a list"),
    ],
)
def test_problems_that_are_none_are_refused(folder, change, message):
    (folder / "problems.json").write_text(json.dumps(PROBLEMS | {"3": PROBLEMS["3"] | change}))
    with pytest.raises(UserError, match=message):
        scienceqa_task(str(folder))


def test_missing_splits_parts_and_problems_are_refused(folder):
    with pytest.raises(UserError, match="no split 'tset'"):
        scienceqa_task(str(folder), split="tset")
    with pytest.raises(UserError, match="no part 'images'"):
        scienceqa_task(str(folder), part="images")
    (folder / "pid_splits.json").write_text('{"test": ["3", "4"]}')
    with pytest.raises(UserError, match="problem 4: it is missing"):
        scienceqa_task(str(folder))
    (folder / "pid_splits.json").unlink()
    with pytest.raises(UserError, match=r"it has no pid_splits.json"):
        scienceqa_task(str(folder))


def test_a_table_that_does_not_tell_the_questions_with_an_image_is_refused(tmp_path):
    path = hub_file(tmp_path / "test.parquet")
    pq.write_table(pq.read_table(path).drop_columns("image"), path)
    with pytest.raises(UserError, match="no column 'image' of images, which tells the questions that have one"):
        scienceqa_task(str(path))
