"""LLaVA-Bench (in the wild): stored reviews, a judge, the ratio, and other people's files."""

import io
import json

import datasets
import pytest
from adaptbench.harness.contracts import Record
from adaptbench.harness.errors import UserError
from adaptbench.harness.summary import summarise
from adaptbench.tasks.multimodal.judge import Judge
from adaptbench.tasks.multimodal.llava_bench import llava_bench_task
from PIL import Image

ROWS = [(0, "001.jpg", "conv"), (1, "001.jpg", "detail"), (2, "002.jpg", "complex")]
CAPTIONS = {"001.jpg": ["A dog.", "It runs."], "002.jpg": "A cat."}
REVIEWS = {0: ("8 6\nwhy", [8.0, 6.0]), 1: ("9, 7\nwhy", [-1, -1]), 2: ("8.5 9\n", [8.5, 9.0])}


def png():
    stream = io.BytesIO()
    Image.new("RGB", (4, 3)).save(stream, "PNG")
    return stream.getvalue()


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\r\n" for row in rows), newline="")
    return path


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "wild"
    (home / "images").mkdir(parents=True)
    (home / "images" / "001.jpg").write_bytes(png())
    write(
        home / "questions.jsonl",
        [{"question_id": n, "image": image, "category": kind, "text": f"Q{n}?"} for n, image, kind in ROWS],
    )
    write(home / "context.jsonl", [{"id": image, "image": image, "caption": said} for image, said in CAPTIONS.items()])
    write(home / "answers_gpt4.jsonl", [{"question_id": n, "text": f"R{n}."} for n, *_ in ROWS])
    return home


@pytest.fixture
def rules(tmp_path):
    rule = {"role": "Assistant", "prompt": "Rate them."}
    path = tmp_path / "rule.json"
    path.write_text(json.dumps({f"llava_bench_{kind}": rule for _, _, kind in ROWS}))
    return path


def hub_file(path):
    rows = [
        {
            "question_id": n,
            "question": f"Q{n}?",
            "image": {"bytes": png(), "path": None},
            "category": kind,
            "image_id": image,
            "caption": "\n".join(CAPTIONS[image]) if isinstance(CAPTIONS[image], list) else CAPTIONS[image],
            "gpt_answer": f"R{n}.",
        }
        for n, image, kind in ROWS
    ]
    kinds = {"image": datasets.Image(), "question_id": datasets.Value("int64")}
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
    return {name: estimate.value for name, estimate in summary["metrics"].items()}, summary


def reviews(change=None):
    return [
        {
            "id": n + 1,
            "question_id": n,
            "category": f"llava_bench_{kind}",
            "content": REVIEWS[n][0],
            "tuple": REVIEWS[n][1],
        }
        | (change or {})
        for n, _, kind in ROWS
    ]


def test_the_sources_agree(folder, tmp_path):
    local, hub = llava_bench_task(str(folder)), llava_bench_task(str(hub_file(tmp_path / "train.parquet")))
    facts = [[(q.id, q.text, dict(q.subsets), q.group, dict(q.fields)) for q in t.questions] for t in (local, hub)]
    assert facts[0] == facts[1]
    assert local.questions[0].fields == {"context": "A dog.\nIt runs.", "reference": "R0."}
    prompt = local.inputs[0].load()
    assert (prompt.text, prompt.max_new_tokens, len(prompt.images)) == ("Q0?", 1024, 1)


def test_stored_reviews_give_the_official_summary(folder, tmp_path):
    path = write(tmp_path / "review.jsonl", reviews())
    task = llava_bench_task(str(folder))
    found, summary = metrics(task, task.predictions(path).outputs)
    # A verdict that cannot be read stays in the mean as -1; the means are rounded before the ratio.
    reference, model = round((8 - 1 + 8.5) / 3, 3), round((6 - 1 + 9) / 3, 3)
    assert found["ratio"] == round(model / reference * 100, 1)
    assert (found["reference"], found["model"]) == (51.7, 46.7)
    assert summary["breakdown"]["category"]["complex"]["ratio"].value == round(9 / 8.5 * 100, 1)


def test_the_rules_differ_where_they_should(folder, tmp_path):
    path = write(tmp_path / "review.jsonl", reviews())
    found = {}
    for rule in ("official", "lmms-eval", "vlmevalkit"):
        task = llava_bench_task(str(folder), rule=rule)
        found[rule] = metrics(task, task.predictions(path).outputs)[0]["ratio"]
    assert found["lmms-eval"] == round(round(22 / 3, 3) / round(25.5 / 3, 3) * 100, 1), "it reads '9, 7' as well"
    assert found["vlmevalkit"] == pytest.approx(14 / 15.5 * 100)
    assert found["official"] == round(found["vlmevalkit"], 1) != found["vlmevalkit"]


@pytest.mark.parametrize("verdict", ["10 10", "10 1", "5 5"])
def test_oracle_anti_oracle_and_constant(folder, verdict):
    task = llava_bench_task(str(folder))
    reference, model = map(float, verdict.split())
    found, _ = metrics(task, {str(n): {"answer": "x", "verdicts": [verdict]} for n, *_ in ROWS})
    assert found == {"model": 10 * model, "reference": 10 * reference, "ratio": 100 * model / reference}


def test_scores_count_where_the_text_says_something_else(folder, tmp_path):
    path = write(tmp_path / "review.jsonl", reviews({"tuple": [8, 4]}))
    task = llava_bench_task(str(folder))
    read = task.predictions(path)
    assert metrics(task, read.outputs)[0]["ratio"] == 50
    assert read.notes == ("3 reviews have other scores than their text says: the scores count",)


def test_answers_without_a_judge_are_not_scored(folder, tmp_path):
    rows = [{"question_id": n, "prompt": "x", "text": "y", "answer_id": "z"} for n, *_ in ROWS]
    task = llava_bench_task(str(folder))
    read = task.predictions(write(tmp_path / "answers.jsonl", [*rows, {"question_id": 77, "text": "y"}]))
    assert (read.outputs, read.unmatched) == ({"0": "y", "1": "y", "2": "y"}, ("77",))
    assert "no reviews are stored" in read.notes[0]
    assert metrics(task, read.outputs)[1]["unscored"] == 3


def test_logs_of_lmms_eval_and_vlmevalkit_are_read(folder, tmp_path):
    task = llava_bench_task(str(folder))
    rows = [
        {"doc": {"question_id": n}, "filtered_resps": ["y"], "gpt_eval_llava_all": {"review": REVIEWS[n][0]}}
        for n in range(3)
    ]
    outputs = task.predictions(write(tmp_path / "samples.jsonl", rows)).outputs
    assert outputs["1"] == {"answer": "y", "verdicts": ["9, 7\nwhy"]}
    rows = [{"index": n, "prediction": "y", "gpt4_score": 8, "score": 4} for n in range(3)]
    outputs = task.predictions(write(tmp_path / "sheet.jsonl", rows)).outputs
    assert metrics(task, outputs)[0]["ratio"] == 50


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*reviews(), reviews()[0]], "line 4: question 0 appears twice"),
        ([{"question_id": 0, "tuple": [1, 2, 3]}], r"line 1: the scores \[1, 2, 3\] are not two numbers"),
        ([{"question_id": 0}], "line 1: neither an answer nor a review"),
        ([{"question_id": 9, "text": "y"}], "none of its 1 predictions is for a question of this task"),
    ],
)
def test_reviews_that_cannot_be_are_refused(folder, tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        llava_bench_task(str(folder)).predictions(write(tmp_path / "review.jsonl", rows))


def test_the_judge_is_asked_as_the_official_script_asks(folder, rules, tmp_path, monkeypatch):
    seen = []

    def ask(self, question):
        seen.append(question)
        return "8 4\nbecause"

    monkeypatch.setattr(Judge, "ask", ask)
    task = llava_bench_task(str(folder), judge="gpt-test", rubric=str(rules), verdicts=str(tmp_path / "v"))
    assert task.parse(task.samples[0], "mine") == [[8.0, 4.0]]
    [question] = seen
    assert (question.temperature, question.max_tokens) == (0.2, 1024)
    assert [message["role"] for message in question.messages] == ["system", "user"]
    assert question.messages[1]["content"] == (
        "[Context]\nA dog.\nIt runs.\n\n[Question]\nQ0?\n\n[Assistant 1]\nR0.\n\n[End of Assistant 1]\n\n"
        "[Assistant 2]\nmine\n\n[End of Assistant 2]\n\n[System]\nRate them.\n\n"
    )


def test_a_judge_needs_rules_and_references(folder, rules, tmp_path):
    with pytest.raises(UserError, match="the judge has no rubric; give rubric="):
        llava_bench_task(str(folder), judge="gpt-test")
    (folder / "answers_gpt4.jsonl").unlink()
    task = llava_bench_task(str(folder), judge="gpt-test", rubric=str(rules), verdicts=str(tmp_path / "v"))
    with pytest.raises(UserError, match="question 0: it has no reference answer"):
        task.parse(task.samples[0], "mine")
    rules.write_text("{}")
    with pytest.raises(UserError, match="it has no rule llava_bench_"):
        llava_bench_task(str(folder), judge="gpt-test", rubric=str(rules))
