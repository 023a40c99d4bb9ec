"""MM-Vet: stored grades, a judge, capabilities, and other people's files."""

import io
import json

import datasets
import pytest
from adaptbench.harness.contracts import Record
from adaptbench.harness.errors import UserError
from adaptbench.harness.summary import summarise
from adaptbench.tasks.multimodal import mmvet
from adaptbench.tasks.multimodal.judge import Judge
from adaptbench.tasks.multimodal.judged import mmvet_table
from adaptbench.tasks.multimodal.mmvet import mmvet_task, read_rubric
from PIL import Image

ROWS = {
    "v1_0": {"question": "What is x?", "answer": "-1<AND>-5", "capability": ["ocr", "math"]},
    "v1_1": {"question": "What is it?", "answer": "cat<OR>kitten", "capability": ["rec"]},
    "v1_2": {"question": "Where is it?", "answer": "left", "capability": ["spat", "rec"]},
}
GRADES = {"v1_0": [1.0, 0.5], "v1_1": [0.0, 0.3], "v1_2": [0.4, 0.9]}


def png():
    stream = io.BytesIO()
    Image.new("RGB", (4, 3)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "mm-vet"
    (home / "images").mkdir(parents=True)
    (home / "images" / "v1_0.png").write_bytes(png())
    content = {name: row | {"imagename": f"{name}.png", "imagesource": "x"} for name, row in ROWS.items()}
    (home / "mm-vet.json").write_text(json.dumps(content))
    return home


def hub_file(path):
    rows = [
        {
            "question_id": name,
            "image": {"bytes": png(), "path": None},
            "question": row["question"],
            "answer": row["answer"],
            "capability": ",".join(row["capability"]),
        }
        for name, row in ROWS.items()
    ]
    features = {name: datasets.Image() if name == "image" else datasets.Value("string") for name in rows[0]}
    datasets.Dataset.from_list(rows, features=datasets.Features(features)).to_parquet(str(path))
    return path


def metrics(task, outputs):
    samples = [sample for sample in task.samples if sample.id in outputs]
    records = []
    for sample in samples:
        parsed = task.parse(sample, outputs[sample.id])
        records.append(Record(sample.id, "", outputs[sample.id], parsed, task.score(sample, parsed)))
    summary = summarise(task.card, samples, records, task.aggregate)
    return {name: estimate.value for name, estimate in summary["metrics"].items()}, summary


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_the_sources_agree(folder, tmp_path):
    local, hub = mmvet_task(str(folder)), mmvet_task(str(hub_file(tmp_path / "test.parquet")))
    facts = [[(q.id, q.text, q.target, dict(q.subsets)) for q in task.questions] for task in (local, hub)]
    assert facts[0] == facts[1]
    assert local.questions[0].subsets == {"integration": "math+ocr"}
    prompt = local.inputs[0].load()
    assert (prompt.text, prompt.max_new_tokens, len(prompt.images)) == ("What is x?", 1024, 1)


def test_stored_grades_give_the_official_table(folder, tmp_path):
    grades = {name: {"model": ["m"] * 2, "content": list(map(str, s)), "score": s} for name, s in GRADES.items()}
    task = mmvet_task(str(folder))
    read = task.predictions(write(tmp_path / "model-grade-2runs.json", grades))
    found, summary = metrics(task, read.outputs)
    table = mmvet_table(GRADES, {name: row["capability"] for name, row in ROWS.items()})
    for capability, points in table.capabilities.items():
        assert round(100 * found["score" if capability == "total" else capability], 1) == points
    assert found.keys() == {"score", "rec", "ocr", "spat", "math"}, "nothing needs the others"
    for name, points in table.integrations.items():
        shown = summary["breakdown"]["integration"]["+".join(name.split("_"))]["score"].value
        assert round(100 * shown, 1) == points


@pytest.mark.parametrize(("grade", "expected"), [(1.0, 1), (0.0, 0), (0.5, 0.5)])
def test_oracle_anti_oracle_and_constant(folder, grade, expected):
    task = mmvet_task(str(folder))
    found, _ = metrics(task, {name: {"answer": "x", "verdicts": [str(grade)]} for name in ROWS})
    assert set(found.values()) == {expected}


def test_answers_without_a_judge_are_not_scored(folder, tmp_path):
    task = mmvet_task(str(folder))
    read = task.predictions(write(tmp_path / "answers.json", dict.fromkeys([*ROWS, "v1_9"], "a cat")))
    assert (read.outputs, read.unmatched) == (dict.fromkeys(ROWS, "a cat"), ("v1_9",))
    assert "no grades are stored" in read.notes[0]
    assert metrics(task, read.outputs)[1]["unscored"] == 3


def test_answers_and_grades_of_one_folder_go_together(folder, tmp_path):
    home = tmp_path / "results"
    home.mkdir()
    write(home / "model.json", dict.fromkeys(ROWS, "a cat"))
    write(home / "model-grade.json", {name: {"score": scores} for name, scores in GRADES.items()})
    assert mmvet_task(str(folder)).predictions(home).outputs["v1_0"] == {"answer": "a cat", "verdicts": ["1", "0.5"]}


def test_llava_answers_and_logs_of_lmms_eval_and_vlmevalkit_are_read(folder, tmp_path):
    task = mmvet_task(str(folder))
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(json.dumps({"question_id": n, "text": f"said {n}"}) for n in range(3)))
    assert task.predictions(path).outputs == {f"v1_{n}": f"said {n}" for n in range(3)}
    rows = [
        {"doc": {"question_id": name}, "filtered_resps": ["said"], "gpt_eval_score": {"score": scores[0]}}
        for name, scores in GRADES.items()
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert task.predictions(path).outputs["v1_2"] == {"answer": "said", "verdicts": ["0.4"]}


@pytest.mark.parametrize(
    ("grades", "message"),
    [
        ({"v1_0": {"score": [1.5]}}, "the grade '1.5' is not a number from 0 to 1"),
        ({"v1_0": {"score": ["good"]}}, "the grade 'good' is not a number from 0 to 1"),
        ({"v1_0": {"score": [1.0]}, "v1_1": {"score": [1.0, 0.0]}}, "of 2 runs of the judge some lack 1 question"),
        ({"x": {"score": [1.0]}}, "none of its 1 predictions is for a question of this task"),
    ],
)
def test_grades_that_cannot_be_are_refused(folder, tmp_path, grades, message):
    with pytest.raises(UserError, match=message):
        mmvet_task(str(folder)).predictions(write(tmp_path / "grade.json", grades))


# The judge


@pytest.fixture
def asked(monkeypatch):
    """What the judge is asked; it says what ``replies`` say next, then 0.5."""
    seen, replies = [], []

    def ask(self, question):
        seen.append(question)
        return replies.pop(0) if replies else "0.5"

    monkeypatch.setattr(Judge, "ask", ask)
    return seen, replies


@pytest.fixture
def judging(folder, tmp_path):
    rubric = tmp_path / "rubric.txt"
    rubric.write_text("Compare.\n")
    return mmvet_task(str(folder), judge="gpt-test", rubric=str(rubric), verdicts=str(tmp_path / "v"), judge_runs=2)


def test_the_judge_is_asked_as_the_official_script_asks(judging, asked):
    seen, replies = asked
    replies += ["1.0", "0.5 |"]
    parsed = judging.parse(judging.samples[0], "x = -1")
    assert parsed == [1.0, 0.5]
    assert judging.score(judging.samples[0], parsed) == {"score": 0.75}
    assert [(q.messages[0]["content"], q.temperature, q.max_tokens, q.turn) for q in seen] == [
        ("Compare.\n\nWhat is x? | -1 <AND> -5 | x = -1 | ", 0.0, 3, run) for run in (0, 1)
    ]


def test_the_judge_is_asked_again_and_bolder_until_it_gives_a_number(judging, asked):
    seen, replies = asked
    replies += ["well", "two", "0.9", "no", "no", "no", "no", "no"]
    assert judging.parse(judging.samples[0], "x = -1") == [0.9, 0.0]
    assert [q.temperature for q in seen] == [0.0, 0.0, 0.5, 0.0, 0.0, 0.5, 1.0, 1.5]
    assert seen[1].messages[0]["content"] == seen[0].messages[0]["content"] + mmvet._AGAIN


def test_stored_grades_are_taken_before_a_judge_is_asked(judging, asked):
    assert judging.parse(judging.samples[0], {"answer": "x", "verdicts": ["0.1", "0.2"]}) == [0.1, 0.2]
    assert asked[0] == []


@pytest.mark.parametrize("output", [None, 3, {}, {"answer": None}, ["x"], {"verdicts": []}, {"verdicts": [3]}])
def test_an_output_that_is_none_cannot_be_judged(judging, asked, output):
    assert judging.parse(judging.samples[0], output) is None
    assert judging.score(judging.samples[0], None) is None
    assert asked[0] == []


def test_the_rubric_is_read_from_the_official_script_without_running_it(tmp_path):
    script = tmp_path / "mm-vet_evaluator.py"
    script.write_text('raise SystemExit\nprompt = """Compare <AND>.\n"""\n')
    assert read_rubric(str(script)) == "Compare <AND>.\n"
    script.write_text("prompt = 3\n")
    with pytest.raises(UserError, match="no variable 'prompt'"):
        read_rubric(str(script))
    script.write_text("def\n")
    with pytest.raises(UserError, match="not a Python file"):
        read_rubric(str(script))


def test_a_judge_without_rubric_is_refused_in_one_line(folder, tmp_path):
    with pytest.raises(UserError, match="the judge has no rubric; give rubric=") as caught:
        mmvet_task(str(folder), judge="gpt-test")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"nowhere.txt: cannot read it"):
        mmvet_task(str(folder), judge="gpt-test", rubric=str(tmp_path / "nowhere.txt"))
