"""MMBench: passes, missing options, both languages, the sheet for the server, and other people's predictions."""

import base64
import io
import json

import datasets
import openpyxl
import pytest
from adaptbench.harness.contracts import Record
from adaptbench.harness.errors import BadSample, UserError
from adaptbench.harness.summary import summarise
from adaptbench.tasks.multimodal.choices import offered
from adaptbench.tasks.multimodal.mmbench import mmbench_task
from PIL import Image

METRICS = ("accuracy", "first pass", "passes right", "vanilla")
PASS = 1_000_000
ENDING = "Answer with the option's letter from the given choices directly."


def png(shade):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def row(index, options, answer, hint="", **more):
    cells = dict(zip("ABCD", [*options, "", ""], strict=False))
    facts = {"index": index, "question": f"Which {index % PASS}?", "hint": hint, **cells, "answer": answer}
    more = {"category": "ocr", "L2-category": "perception", "split": "dev"} | more
    return facts | more | {"image": base64.b64encode(png(index % PASS)).decode()}


ROWS = [
    row(5, ["cat", "dog"], "A", hint="Look."),
    row(7, ["red", "green", "blue", "None of these"], "B", category="color"),
    row(9, ["x", "y", "z"], "C"),
    row(PASS + 5, ["dog", "cat"], "B", hint="Look."),
    # Four options and three passes: the last option stays where it is.
    row(PASS + 7, ["green", "blue", "red", "None of these"], "A", category="color"),
    row(2 * PASS + 7, ["blue", "red", "green", "None of these"], "C", category="color"),
]


def approx(values):
    return pytest.approx(dict(zip(METRICS, values, strict=True)))


def write_tsv(path, rows=ROWS):
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    return path


@pytest.fixture
def tsv(tmp_path):
    return write_tsv(tmp_path / "mmbench_dev.tsv")


def hub_file(path):
    rows = [
        {name: value or "nan" for name, value in row.items()}
        | {"index": row["index"], "image": {"bytes": base64.b64decode(row["image"]), "path": None}}
        for row in ROWS
    ]
    kinds = {"image": datasets.Image(), "index": datasets.Value("int64")}
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


def oracle(task):
    return {sample.id: sample.target for sample in task.samples}


def test_the_sources_agree(tsv, tmp_path):
    local, hub = mmbench_task(str(tsv)), mmbench_task(str(hub_file(tmp_path / "dev.parquet")))
    facts = [[(q.id, q.text, q.options, q.target, q.hint, dict(q.subsets)) for q in t.questions] for t in (local, hub)]
    assert facts[0] == facts[1]
    assert [item.load().digests for item in local.inputs] == [item.load().digests for item in hub.inputs]


def test_a_sample_is_a_question_with_all_passes_that_there_are(tsv):
    task = mmbench_task(str(tsv))
    passes = {sample.id: [q.id for q in task.questions_of(sample)] for sample in task.samples}
    assert passes == {"5": ["5", "1000005"], "7": ["7", "1000007", "2000007"], "9": ["9"]}
    assert task.samples[1].subsets == {"category": "color", "L2-category": "perception", "split": "dev", "passes": "3"}
    digests = {item.load().digests for item in task.inputs[2:5]}
    assert len(digests) == 1


def test_questions_are_asked_as_llava_asks(tsv):
    task = mmbench_task(str(tsv))
    assert task.inputs[0].load().text == f"Look.\nWhich 5?\nA. cat\nB. dog\n{ENDING}"
    assert task.inputs[0].load().max_new_tokens == 1024
    assert (
        mmbench_task(str(tsv), language="cn").inputs[5].load().text
        == "Which 9?\nA. x\nB. y\nC. z\n请直接回答选项字母。"
    )
    with pytest.raises(UserError, match="no language 'de'"):
        mmbench_task(str(tsv), language="de")


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "None", "none"])
def test_llavas_list_of_options_ends_at_the_first_missing_one(tmp_path, missing):
    rows = [row(1, ["a", "b", missing, "d"], "A", hint=missing)]
    task = mmbench_task(str(write_tsv(tmp_path / "x.tsv", rows)))
    assert task.inputs[0].load().text == f"Which 1?\nA. a\nB. b\n{ENDING}"
    assert task.questions[0].hint == ""


@pytest.mark.parametrize("rule", ["official", "vlmevalkit", "lmms-eval"])
def test_a_rule_takes_none_for_an_option(tmp_path, rule):
    rows = [row(1, ["red", "green", "None", "blue"], "C"), row(2, ["red", "green", "", "blue"], "D")]
    task = mmbench_task(str(write_tsv(tmp_path / "x.tsv", rows)), rule=rule)
    assert [sorted(offered(question)) for question in task.questions] == [list("ABCD"), list("ABD")]
    assert metrics(task, {"1": "C", "2": "The answer is D"})[0]["accuracy"] == 1
    assert metrics(task, {"1": "it is none of them", "2": "blue"})[0]["accuracy"] == 1


@pytest.mark.parametrize("cell", ["None", "NA", "null", "nan", "#N/A", ""])
def test_vlmevalkit_reads_an_answer_in_its_sheets_as_pandas_does(tmp_path, cell):
    """The text of the one option that is in the answer would be right; a missing cell is the text nan."""
    path = write_tsv(tmp_path / "x.tsv", [row(1, ["red", "l", "u/", "#"], "B"), row(2, ["red", "na", "x", "y"], "B")])
    task = mmbench_task(str(path), rule="vlmevalkit")
    assert task.parse(task.samples[0], cell) is None
    assert task.parse(task.samples[1], cell) == ["B"]


def test_an_image_may_be_that_of_another_row(tmp_path):
    rows = [ROWS[0], row(6, ["a", "b"], "A") | {"image": "5"}, row(8, ["a", "b"], "A") | {"image": "4"}]
    task = mmbench_task(str(write_tsv(tmp_path / "x.tsv", rows)))
    assert task.inputs[1].load().digests == task.inputs[0].load().digests
    with pytest.raises(BadSample):
        task.inputs[2].load()


@pytest.mark.parametrize("rule", ["official", "lmms-eval", "vlmevalkit"])
def test_oracle_anti_oracle_and_constant(tsv, rule):
    task = mmbench_task(str(tsv), rule=rule)
    right, summary = metrics(task, oracle(task))
    assert right == dict.fromkeys(METRICS, 1)
    assert summary["breakdown"]["category"]["ocr"]["accuracy"].n == 2
    wrong = {name: ["D"] * len(t) if isinstance(t, list) else "D" for name, t in oracle(task).items()}
    assert metrics(task, wrong)[0] == dict.fromkeys(METRICS, 0)
    always = {name: ["A"] * len(t) if isinstance(t, list) else "A" for name, t in oracle(task).items()}
    assert metrics(task, always)[0] == approx([0, 1 / 3, 5 / 18, 2 / 6])


def test_one_wrong_pass_makes_a_question_wrong(tsv):
    task = mmbench_task(str(tsv))
    found, _ = metrics(task, oracle(task) | {"7": ["B", "A", "well, who knows"]})
    assert found == approx([2 / 3, 1, 8 / 9, 5 / 6])


def test_a_question_whose_answer_only_the_server_knows_is_not_scored(tmp_path):
    task = mmbench_task(str(write_tsv(tmp_path / "x.tsv", [row(1, ["a", "b"], "")])))
    assert task.score(task.samples[0], ["A"]) is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(PASS + 1, ["a", "b"], "A")], "question 1000001 has no unrotated pass"),
        ([ROWS[0], ROWS[0]], "index 5 appears twice"),
        ([ROWS[0] | {"index": "five"}], r"x.tsv, row 1: the index 'five' is not a number"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        mmbench_task(str(write_tsv(tmp_path / "x.tsv", rows)))


# Predictions and submissions


def test_llava_answers_are_read_and_a_missing_pass_costs_the_question(tsv, tmp_path):
    task = mmbench_task(str(tsv))
    path = tmp_path / "answers.jsonl"
    rows = [{"question_id": int(q.id), "round_id": 0, "text": q.target} for q in task.questions]
    path.write_text("\n".join(map(json.dumps, [*rows, {"question_id": 11, "text": "A"}])))
    read = task.predictions(path)
    assert (read.outputs, read.unmatched) == (oracle(task), ("11",))
    path.write_text("\n".join(map(json.dumps, rows[1:])))
    outputs = task.predictions(path).outputs
    assert outputs["5"] == ["", "B"]
    assert metrics(task, outputs)[0] == approx([2 / 3, 2 / 3, 5 / 6, 5 / 6])


def test_the_sheet_for_the_server_is_the_official_one_and_can_be_read_again(tsv, tmp_path):
    task = mmbench_task(str(tsv))
    path = tmp_path / "upload.xlsx"
    said = oracle(task) | {"5": ["=A1+1", "B\x07"]}
    del said["9"]
    task.benchmark.submission(said, task, path)
    sheet = [list(cells) for cells in openpyxl.load_workbook(path).active.iter_rows(values_only=True)]
    assert sheet[0] == ["index", "question", "A", "B", "C", "D", "prediction", "answer", "split"]
    assert sheet[1] == [5, "Which 5?", "cat", "dog", None, None, "=A1+1", "A", "dev"]
    assert sheet[3] == [7, "Which 7?", "red", "green", "blue", "None of these", "B", "B", "dev"]
    assert sheet[6] == [9, "Which 9?", "x", "y", "z", None, None, "C", "dev"]
    outputs = task.predictions(path).outputs
    assert outputs["7"] == said["7"]
    assert outputs["5"] == ["=A1+1", "B"]
    with pytest.raises(UserError, match="a file is where a folder is needed"):
        task.write_submission(said, path / "sheet.xlsx")


def test_a_sheet_of_vlmevalkit_and_a_log_of_lmms_eval_are_read(tsv, tmp_path):
    task = mmbench_task(str(tsv))
    sheet = tmp_path / "model_MMBench.tsv"
    sheet.write_text(
        "index\tquestion\tanswer\tprediction\n" + "".join(f"{q.id}\tx\tD\t{q.target}\n" for q in task.questions)
    )
    assert task.predictions(sheet).outputs == oracle(task)
    log = tmp_path / "samples.jsonl"
    rows = [
        {"doc_id": n, "doc": {"index": int(q.id), "answer": "D", "question": q.text}, "filtered_resps": [q.target]}
        for n, q in enumerate(task.questions)
    ]
    log.write_text("\n".join(map(json.dumps, rows)))
    assert task.predictions(log).outputs == oracle(task)
