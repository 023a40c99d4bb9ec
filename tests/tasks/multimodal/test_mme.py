"""MME: pairs of questions, points by hand, and other people's predictions."""

import io
import json

import datasets
import pytest
from adaptbench.harness.contracts import Record
from adaptbench.harness.errors import UserError
from adaptbench.harness.summary import summarise
from adaptbench.tasks.multimodal.mme import COGNITION, PERCEPTION, mme_task
from PIL import Image

ENDING = " Please answer yes or no."
# Two subtasks share the name of an image; one question has two blanks before its ending.
PAIRS = {("existence", "0001"): ("Is there a cat?", "Is there a dog? "), ("existence", "0002"): ("A?", "B?")}
PAIRS |= {("OCR", "0001"): ("Is it a word?", "Is it a number?"), ("code_reasoning", "0001"): ("Does it print 1?", "2?")}


def png():
    stream = io.BytesIO()
    Image.new("RGB", (4, 3)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    """The official folder, in both of its layouts."""
    home = tmp_path / "mme"
    for (category, name), questions in PAIRS.items():
        side_by_side = category == "existence"
        texts = home / category if side_by_side else home / category / "questions_answers_YN"
        images = home / category if side_by_side else home / category / "images"
        texts.mkdir(parents=True, exist_ok=True)
        images.mkdir(parents=True, exist_ok=True)
        lines = [f"{text}{ENDING}\t{answer}" for text, answer in zip(questions, ("Yes", "No"), strict=True)]
        (texts / f"{name}.txt").write_text("\r\n".join(lines) + "\n")
        (images / f"{name}.png").write_bytes(png())
    return home


def hub_file(path, pairs=PAIRS):
    rows = [
        {
            "question_id": f"{category}/{name}.png",
            "image": {"bytes": png(), "path": None},
            "question": text + ENDING,
            "answer": answer,
            "category": category,
        }
        for answers in (("Yes", 0), ("No", 1))
        for (category, name), questions in pairs.items()
        for answer, text in [(answers[0], questions[answers[1]])]
    ]
    text = datasets.Value("string")
    features = datasets.Features({name: datasets.Image() if name == "image" else text for name in rows[0]})
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(path))
    return path


def metrics(task, outputs):
    samples = [sample for sample in task.samples if sample.id in outputs]
    records = []
    for sample in samples:
        parsed = task.parse(sample, outputs[sample.id])
        records.append(Record(sample.id, "", outputs[sample.id], parsed, task.score(sample, parsed)))
    summary = summarise(task.card, samples, records, task.aggregate)
    return {name: estimate.value for name, estimate in summary["metrics"].items()}, summary


def oracle(task):
    return {sample.id: [answer.title() for answer in sample.target] for sample in task.samples}


def test_the_sources_agree_whatever_the_order_of_their_rows(folder, tmp_path):
    local, hub = mme_task(str(folder)), mme_task(str(hub_file(tmp_path / "test.parquet")))
    assert {q.id: (q.text, q.target) for q in local.questions} == {q.id: (q.text, q.target) for q in hub.questions}
    assert sorted(sample.id for sample in hub.samples) == [
        "OCR/0001.png", "code_reasoning/0001.png", "existence/0001.png", "existence/0002.png"
    ]  # fmt: skip
    assert all(len(sample.inputs) == 2 for sample in hub.samples)


def test_a_question_is_asked_as_llava_asks(folder):
    task = mme_task(str(folder))
    sample = next(sample for sample in task.samples if sample.id == "existence/0001.png")
    prompts = [task.inputs[position].load() for position in sample.inputs]
    assert [prompt.text for prompt in prompts] == [
        "Is there a cat?\nAnswer the question using a single word or phrase.",
        "Is there a dog?\nAnswer the question using a single word or phrase.",
    ]
    assert prompts[0].digests == prompts[1].digests != ()


@pytest.mark.parametrize("rule", ["official", "lmms-eval", "vlmevalkit"])
def test_oracle_anti_oracle_and_constant(folder, rule):
    task = mme_task(str(folder), rule=rule)
    right, summary = metrics(task, oracle(task))
    assert right == {"accuracy": 1, "accuracy+": 1, "perception": 400, "cognition": 200, "score": 600}
    assert summary["breakdown"]["category"]["existence"]["score"].value == 200
    assert "cognition" not in summary["breakdown"]["category"]["existence"]
    wrong, _ = metrics(task, {name: said[::-1] for name, said in oracle(task).items()})
    assert set(wrong.values()) == {0}
    constant, _ = metrics(task, {name: ["yes", "yes"] for name in oracle(task)})
    assert constant == {"accuracy": 0.5, "accuracy+": 0, "perception": 100, "cognition": 50, "score": 150}


def test_points_are_by_subtask_and_not_by_pair(folder):
    task = mme_task(str(folder))
    said = oracle(task) | {"existence/0001.png": ["Yes", "Yes"], "OCR/0001.png": ["hm", "well"]}
    found, summary = metrics(task, said)
    assert found["perception"] == 100 * 3 / 4 + 100 * 1 / 2 + 0
    assert found["score"] == found["perception"] + 200
    assert summary["unparsed"] == 1


def test_the_subtasks_are_fourteen():
    assert (len(set(PERCEPTION)), len(set(COGNITION))) == (10, 4)


def test_an_image_with_another_number_of_questions_is_refused(folder):
    (folder / "existence" / "0002.txt").write_text("A?\tYes\n")
    with pytest.raises(UserError, match=r"existence/0002.png has 1 questions, not 2"):
        mme_task(str(folder))


# Predictions made elsewhere


def result_files(task, folder, change=lambda line: line):
    folder.mkdir(exist_ok=True)
    for category in {q.subsets["category"] for q in task.questions}:
        own = [q for q in task.questions if q.subsets["category"] == category]
        lines = [
            f"{q.sample.partition('/')[2]}\t{q.text}  Please answer yes or no.\t{q.target.title()}\t{q.target.title()}"
            for q in own
        ]
        (folder / f"{category}.txt").write_bytes("".join(f"{change(line)}\r\n" for line in lines).encode())
    return folder


def test_the_official_result_folder_is_read(folder, tmp_path):
    task = mme_task(str(folder))
    read = task.predictions(result_files(task, tmp_path / "results"))
    assert read.outputs == oracle(task)
    (tmp_path / "results" / "existence.txt").write_text("9.png\tA? Please answer yes or no.\tYes\tYes\n")
    read = task.predictions(tmp_path / "results")
    assert read.outputs.keys() == {"OCR/0001.png", "code_reasoning/0001.png"}
    assert read.unmatched == ("existence/9.png/A?",)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".txt", ""])
def test_a_folder_without_images_is_scored_whatever_its_names_end_in(folder, tmp_path, ending):
    """LLaVA's converter writes the name of the text file; the folder alone does not tell how an image's name ends."""
    results = result_files(mme_task(str(folder)), tmp_path / "results", lambda line: line.replace(".png", ending))
    for image in folder.rglob("*.png"):
        image.unlink()
    task = mme_task(str(folder))
    read = task.predictions(results)
    assert (read.outputs, read.unmatched, read.notes) == (oracle(task), (), ())
    assert metrics(task, read.outputs)[0]["score"] == 600


def test_a_missing_half_of_a_pair_is_named_and_counts_as_wrong(folder, tmp_path):
    task = mme_task(str(folder))
    results = result_files(task, tmp_path / "results", lambda line: "" if "dog" in line else line)
    read = task.predictions(results)
    assert read.outputs["existence/0001.png"] == ["Yes", ""]
    (note,) = read.notes
    assert note.startswith("no prediction for 1 question (existence/0001.png/Is there a dog?), but for the other one")
    found = metrics(task, read.outputs)[0]
    assert (found["accuracy"], found["accuracy+"]) == (7 / 8, 3 / 4)


def test_a_line_that_stands_there_twice_is_named(folder, tmp_path):
    task = mme_task(str(folder))
    results = result_files(task, tmp_path / "results", lambda line: f"{line}\n{line}" if "A?" in line else line)
    read = task.predictions(results)
    assert read.notes == ("several predictions for 1 question (existence/0002.png/A?): the last one counts",)


def test_a_response_keeps_its_blanks(folder, tmp_path):
    task = mme_task(str(folder))
    results = result_files(task, tmp_path / "results", lambda line: line.rpartition("\t")[0] + "\t  Yes ")
    outputs = task.predictions(results).outputs
    assert outputs["OCR/0001.png"] == ["  Yes ", "  Yes "]
    assert metrics(task, outputs)[0]["score"] == 0, "the official rule looks at the first four characters as they are"
    assert metrics(mme_task(str(folder), rule="lmms-eval"), outputs)[0]["score"] == 150


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0001.png\tIs it a word?\tYes", r"OCR.txt, line 2: 3 cells, not image, question, label and response"),
        ("0001.png\tIs it a word?\tNo\tYes", r"OCR.txt, line 2: the label is No, but the benchmark says yes"),
    ],
)
def test_a_line_that_is_none_is_refused(folder, tmp_path, line, message):
    (tmp_path / "OCR.txt").write_text(f"\n{line}\n")
    with pytest.raises(UserError, match=message):
        mme_task(str(folder)).predictions(tmp_path / "OCR.txt")


def test_llava_answers_are_read_and_a_missing_one_costs_only_itself(folder, tmp_path):
    task = mme_task(str(folder))
    rows = [
        {
            "question_id": q.sample,
            "prompt": f"{q.text}\nAnswer the question using a single word or phrase.",
            "text": "Yes",
        }
        for q in task.questions
    ]
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert task.predictions(path).outputs == {name: ["Yes", "Yes"] for name in oracle(task)}
    path.write_text("\n".join(json.dumps(row) for row in rows if "dog" not in row["prompt"]))
    outputs = task.predictions(path).outputs
    assert outputs["existence/0001.png"] == ["Yes", ""]
    assert metrics(task, outputs)[0]["accuracy"] == 0.5


def test_logs_of_lmms_eval_and_sheets_of_vlmevalkit_are_read(folder, tmp_path):
    task = mme_task(str(folder))
    rows = [
        {
            "doc_id": n,
            "doc": {"question_id": q.sample, "question": q.text + ENDING, "category": q.subsets["category"]},
            "filtered_resps": [q.target.title()],
        }
        for n, q in enumerate(task.questions)
    ]
    path = tmp_path / "samples_mme.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert task.predictions(path).outputs == oracle(task)
    lines = ["index\tquestion\tanswer\tcategory\timage_path\tprediction"]
    for n, q in enumerate(task.questions):
        lines.append(f"{n}\t{q.text}{ENDING}\t{q.target}\t{q.subsets['category']}\t{q.sample}\t{q.target.title()}")
    sheet = tmp_path / "MME.tsv"
    sheet.write_text("\n".join(lines))
    assert task.predictions(sheet).outputs == oracle(task)


@pytest.mark.parametrize("responses", [False, True], ids=["labels only", "filled in"])
def test_the_official_result_files_are_labels_too(folder, tmp_path, responses):
    official, home = mme_task(str(folder)), tmp_path / "Your_Results"
    home.mkdir()
    for (category, name), questions in PAIRS.items():
        with (home / f"{category}.txt").open("a") as file:
            for text, answer in zip(questions, ("Yes", "No"), strict=True):
                cells = [f"{name}.png", text + ENDING, answer, *(["Yes"] if responses else [])]
                file.write("\t".join(cells) + "\n")
    task = mme_task(str(home))
    assert {q.id: q.target for q in task.questions} == {q.id: q.target for q in official.questions}
    if responses:
        assert metrics(task, task.predictions(home).outputs)[0]["accuracy"] == 0.5
    else:
        with pytest.raises(UserError, match="3 cells, not image, question, label and response"):
            official.predictions(home)
