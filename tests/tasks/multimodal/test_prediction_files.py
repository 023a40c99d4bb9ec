"""Predictions that others made, in the forms and with the dirt that they have."""

import contextlib
import json

import openpyxl
import pytest
from adaptbench.harness.cards import TaskCard
from adaptbench.harness.errors import UserError
from adaptbench.tasks.multimodal.predictions import as_text, read_predictions, read_rows
from adaptbench.tasks.multimodal.question import Question
from adaptbench.tasks.multimodal.task import Benchmark, Rule
from hypothesis import given
from hypothesis import strategies as st

RULE = Rule("official", lambda _, texts: list(texts), lambda *_: {"accuracy": 1.0})
BENCHMARK = Benchmark("toy", TaskCard(capability="generate"), "bare", (RULE,))
COLUMNS = {"ids": ("question_id", "index"), "texts": ("text", "prediction", "answer")}


@pytest.fixture
def task():
    return BENCHMARK.task([Question(str(n), f"What is {n}?", None) for n in range(101, 104)])


def read(path, task, **options):
    return read_predictions(path, task, **(COLUMNS | options))


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


ANSWERS = {"101": "cat", "102": "dog", "103": "No."}
LLAVA = lines(
    *(
        {
            "question_id": int(name),
            "prompt": f"What is {name}?\nAnswer.",
            "text": text,
            "answer_id": "x",
            "metadata": {},
        }
        for name, text in ANSWERS.items()
    )
)


def test_llava_answers(tmp_path, task):
    path = tmp_path / "answers.jsonl"
    path.write_text(LLAVA)
    found = read(path, task)
    assert found.outputs == ANSWERS
    assert (found.unmatched, found.notes) == ((), ())


@pytest.mark.parametrize(
    "dirty",
    [
        "\ufeff" + LLAVA,
        LLAVA.replace("\n", "\r\n"),
        LLAVA.replace("\n", "\r"),
        LLAVA.replace("\n", "\r\n", 1).replace("\n", "\n\n  \n", 2),
        LLAVA.replace('"question_id": 101', '"question_id": " 101 "').replace("102,", "102.0,", 1),
        LLAVA.rstrip("\n"),
    ],
    ids=["byte-order mark", "CRLF", "CR", "mixed and blank lines", "blanks and decimals in ids", "no last line end"],
)
def test_dirt_that_changes_nothing(tmp_path, task, dirty):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(dirty.encode())
    assert read(path, task).outputs == ANSWERS


def test_a_line_separator_inside_an_answer_ends_no_line(tmp_path, task):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"question_id": 101, "text": "one\u2028two\x85three"}\n', encoding="utf-8")
    assert read(path, task).outputs == {"101": "one\u2028two\x85three"}


@pytest.mark.parametrize(
    "rows",
    [
        json.dumps([{"question_id": int(name), "answer": text} for name, text in ANSWERS.items()]),
        json.dumps(
            {"info": {}, "annotations": [{"question_id": n, "answer": t} for n, t in ANSWERS.items()]}, indent=1
        ),
        json.dumps(ANSWERS),
        json.dumps({name: {"prediction": text} for name, text in ANSWERS.items()}),
        LLAVA,
    ],
    ids=["list", "list within", "mapping to texts", "mapping to objects", "JSON lines"],
)
def test_forms_of_json(tmp_path, task, rows):
    path = tmp_path / "result.JSON"
    path.write_text(rows)
    assert read(path, task).outputs == ANSWERS


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_delimited(tmp_path, task, suffix, delimiter):
    path = tmp_path / f"result{suffix}"
    rows = [
        ["index", "question", "answer", "prediction"],
        ["101", "Who?", "gold", '"a cat, or\ntwo"'],
        ["102", "", "gold", "nan"],
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(delimiter.join(row) for row in rows).encode())
    assert read(path, task).outputs == {"101": "a cat, or\ntwo", "102": "nan"}


def test_xlsx(tmp_path, task):
    book = openpyxl.Workbook()
    for row in (
        ["index", "answer", "prediction"],
        [101, "gold", "cat"],
        [None] * 3,
        [102.0, "gold", None],
        ["103", "gold", 3],
    ):
        book.active.append(row)
    book.save(tmp_path / "Model_TextVQA_VAL.xlsx")
    (tmp_path / "Model_TextVQA_VAL_acc.csv").write_text("Overall\n50\n")
    assert read(tmp_path, task).outputs == {"101": "cat", "102": None, "103": "3"}


def test_a_folder_of_parts(tmp_path, task):
    for number, line in enumerate(LLAVA.splitlines()):
        (tmp_path / f"3_{number}.jsonl").write_text(line)
    (tmp_path / "results.json").write_text('{"accuracy": 1}')
    (tmp_path / "merge.jsonl").write_text(LLAVA)
    found = read(tmp_path, task)
    assert found.outputs == ANSWERS
    assert found.notes == ("several predictions for 3 questions (101, 102, 103): the last one counts",)


def sample_log(position, said, **more):
    return {"doc_id": position, "target": "x", "filtered_resps": [said], "resps": [[said]], **more}


def test_lmms_eval_sample_logs_with_documents(tmp_path, task):
    path = tmp_path / "20260101_samples_toy.jsonl"
    document = {"question_id": 102, "question": "What is 102?", "answer": "gold"}
    path.write_text(
        lines(sample_log(0, "dog", doc=document), sample_log(7, ["cat"], doc=document | {"question_id": 101}))
    )
    assert read(path, task).outputs == {"101": "cat", "102": "dog"}


def test_lmms_eval_sample_logs_without_documents_go_by_position_if_the_question_is_the_same(tmp_path, task):
    path = tmp_path / "samples.jsonl"
    right = sample_log(1, "dog", input="What is 102?\nAnswer the question using a single word or phrase.")
    path.write_text(lines(right))
    assert read(path, task).outputs == {"102": "dog"}
    path.write_text(lines(right | {"doc_id": 2}))
    with pytest.raises(UserError, match=r"samples\.jsonl, line 1: .* is not that of the question at its number"):
        read(path, task)


def test_vlmevalkit_numbers_rows_in_its_own_way(tmp_path, task):
    path = tmp_path / "result.tsv"
    path.write_text("index\tquestion\tprediction\n1\tWhat is 102?\tdog\n0\tWhat is 999?\tcat\n")
    found = read(path, task)
    assert found.outputs == {"102": "dog"}
    assert found.unmatched == ("0",)


def test_counts_of_what_does_not_match(tmp_path, task):
    path = tmp_path / "answers.jsonl"
    path.write_text(LLAVA + lines({"question_id": 7, "text": "x"}, {"question_id": 101, "text": "cow"}))
    found = read(path, task)
    assert found.outputs == ANSWERS | {"101": "cow"}
    assert found.unmatched == ("7",)
    assert found.notes == ("several predictions for 1 question (101): the last one counts",)


@pytest.mark.parametrize("missing", ["null", "NaN", "[null]"])
def test_an_answer_that_is_missing_is_an_output_of_none(tmp_path, task, missing):
    path = tmp_path / "answers.jsonl"
    path.write_text(f'{{"question_id": 101, "text": {missing}}}\n{{"question_id": 102, "text": ""}}\n')
    assert read(path, task).outputs == {"101": None, "102": ""}


def test_samples_of_several_questions(tmp_path):
    questions = [Question(f"{n}{k}", "?", None, sample=str(n)) for n in range(3) for k in "ab"]
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"0a": "yes", "0b": "no", "1b": "no"}))
    assert read(path, BENCHMARK.task(questions)).outputs == {"0": ["yes", "no"], "1": [None, "no"]}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", LLAVA + '{"question_id": 1, "te\n', r"a\.jsonl, line 4: not JSON"),
        ("a.jsonl", LLAVA + "[1, 2]\n", r"a\.jsonl, line 4: \[1, 2\] is not an object"),
        ("a.jsonl", '\n{"question_id": 1}\n', r"a\.jsonl, line 2: no column text or prediction or answer"),
        ("a.jsonl", '{"question_id": 1, "text": {"a": 1}}', r"a\.jsonl, line 1: {'a': 1} is not text"),
        ("a.jsonl", '{"question_id": 1, "text": ["a", "b"]}', r"a\.jsonl, line 1: \['a', 'b'\] is not text"),
        ("a.jsonl", '{"text": "cat"}', r"a\.jsonl, line 1: none of question_id, index names a question"),
        ("a.jsonl", "[" * 100_000, r"a\.jsonl, line 1: not JSON"),
        ("a.jsonl", "", r"a\.jsonl: it has no predictions"),
        ("a.jsonl", '{"question_id": 5, "text": "cat"}', "none of its 1 predictions is for a question of this task"),
        ("a.json", '[\n{"question_id": 1,\n', r"a\.json, line 3: not JSON"),
        ("a.json", "3", r"a\.json: neither a list nor an object"),
        ("a.json", '[{"question_id": 101, "text": "cat"}, 7]', r"a\.json, item 2: 7 is not an object"),
        ("a.csv", "question_id,text\n101,cat\n102,dog,cow\n", r"a\.csv, line 3: more cells"),
        ("a.xlsx", "question_id,text\n", r"a\.xlsx: not an XLSX file"),
        ("a.txt", "x", r"a\.txt: the name of a file of rows ends in one of \.jsonl"),
    ],
)
def test_what_is_refused_is_named_with_its_place(tmp_path, task, name, content, says):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=says):
        read(path, task)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.xlsx"])
def test_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}: cannot read it"):
        list(read_rows(tmp_path / name))


def test_bytes_that_are_no_utf8(tmp_path):
    (tmp_path / "a.jsonl").write_bytes('{"question_id": 1}'.encode("utf-16"))
    with pytest.raises(UserError, match="not UTF-8"):
        list(read_rows(tmp_path / "a.jsonl"))


def test_a_folder_without_predictions(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="has no file"):
        list(read_rows(tmp_path))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON)
def test_a_cell_is_text_or_missing_or_refused(value):
    bare = value
    while isinstance(bare, list) and len(bare) == 1:
        bare = bare[0]
    if isinstance(bare, list | dict):
        with pytest.raises(UserError, match=r"^here: "):
            as_text(value, "here")
    else:
        text = as_text(value, "here")
        assert text is None or isinstance(text, str)


@given(content=st.text(max_size=60) | JSON.map(json.dumps), suffix=st.sampled_from([".json", ".jsonl", ".csv", ".tsv"]))
def test_any_file_is_read_or_refused(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    rows = []
    with contextlib.suppress(UserError):
        rows = list(read_rows(path))
    assert all(isinstance(row, dict) for _, row in rows)
