"""What a row of official files holds of a wrong type is one line that names the row and what it should be."""

import json
import re

import pytest
from adaptbench import UserError
from adaptbench.tasks.multimodal.gqa import gqa_task
from adaptbench.tasks.multimodal.llava_bench import llava_bench_task
from adaptbench.tasks.multimodal.mmbench import mmbench_task
from adaptbench.tasks.multimodal.mmvet import mmvet_task
from adaptbench.tasks.multimodal.pope import pope_task
from adaptbench.tasks.multimodal.predictions import read_rows
from adaptbench.tasks.multimodal.scienceqa import scienceqa_task
from adaptbench.tasks.multimodal.seed import seed_task
from adaptbench.tasks.multimodal.textvqa import textvqa_task
from adaptbench.tasks.multimodal.vizwiz import vizwiz_task

GQA = {"imageId": "n1", "question": "Is it red?", "answer": "yes", "isBalanced": True}
POPE = {"question_id": 1, "image": "a.jpg", "text": "Is there a cat?", "label": "yes"}
SEED = {"question_id": "1", "question": "What?", "answer": "A", "question_type_id": 1, "data_type": "image"}
MMVET = {"imagename": "a.jpg", "question": "What?", "answer": "A cat", "capability": ["rec"]}
SCIENCE = {"question": "What?", "choices": ["a", "b"], "answer": 0, "split": "test"}
TEXT = {"question_id": 1, "image_id": "a", "question": "What?"}
VIZ = {"image": "a.jpg", "question": "What?"}
MMBENCH = {"index": 1, "question": "What?", "A": "a", "B": "b", "answer": "A"}
REVIEWED = {"question_id": 1, "image": "1.jpg", "text": "What?", "category": "conv"}


def pope(path):
    return pope_task(str(path))


def folder_of(task):
    return lambda path: task(str(path.parent))


FILES = {
    "gqa": ("questions.json", lambda row: {"201": row}, GQA, lambda path: gqa_task(str(path)), "item 1"),
    "pope": ("coco_pope_random.json", lambda row: [row], POPE, pope, "item 1"),
    "seed": (
        "SEED-Bench.json",
        lambda row: {"questions": [row]},
        SEED,
        lambda path: seed_task(str(path)),
        "question 1",
    ),
    "mmvet": ("mm-vet.json", lambda row: {"v1_0": row}, MMVET, lambda path: mmvet_task(str(path)), "v1_0"),
    "science": ("problems.json", lambda row: {"7": row}, SCIENCE, lambda path: scienceqa_task(str(path)), "problem 7"),
    "textvqa": ("val.json", lambda row: {"data": [row]}, TEXT, lambda path: textvqa_task(str(path)), "item 1"),
    "vizwiz": ("val.json", lambda row: [row], VIZ, lambda path: vizwiz_task(str(path)), "item 1"),
    "mmbench": ("dev.json", lambda row: [row], MMBENCH, lambda path: mmbench_task(str(path)), "item 1"),
    "llava-bench": ("questions.jsonl", lambda row: row, REVIEWED, folder_of(llava_bench_task), "line 1"),
}


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("gqa", {"types": ["verify"]}, "its types is ['verify'], not an object"),
        ("gqa", {"groups": "a"}, "its groups is 'a', not an object"),
        ("gqa", {"groups": {"global": []}}, "its global is [], not text"),
        ("gqa", {"semantic": True}, "its semantic is True, not a list"),
        ("gqa", {"semantic": ["select"]}, "its semantic has a step 'select', not an object"),
        ("gqa", {"semantic": [{"operation": {}}]}, "its operation is {}, not text"),
        ("gqa", {"entailed": 7}, "its entailed is 7, not a list"),
        ("gqa", {"isBalanced": "yes"}, "its isBalanced is 'yes', not true or false"),
        ("gqa", {"answer": {"a": 1}}, "its answer is {'a': 1}, not text"),
        ("pope", {"label": 1}, "the label '1' is neither yes nor no"),
        ("pope", {"label": {}}, "its label is {}, not text"),
        ("pope", {"text": ["a", "b"]}, "its text is ['a', 'b'], not text"),
        ("pope", {"image": {"path": "a"}}, "its image is {'path': 'a'}, not text"),
        ("seed", {"question": {}}, "its question is {}, not text"),
        ("seed", {"answer": ["A"]}, "answer ['A'] of type 1 is not valid"),
        ("seed", {"choice_a": {}}, "its choice_a is {}, not text"),
        ("seed", {"data_id": {}}, "its data_id is {}, not text"),
        ("mmvet", {"capability": 7}, "its capability is 7, not a list"),
        ("mmvet", {"capability": None}, "no capability"),
        ("mmvet", {"answer": {}}, "its answer is {}, not text"),
        ("science", {"choices": "ab"}, "its choices is 'ab', not a list"),
        ("science", {"choices": ["a", {}]}, "its choices is {}, not text"),
        ("science", {"choices": ["a"] * 30, "answer": 28}, "it has 30 choices, more than letters"),
        ("science", {"answer": True}, "its answer True is not the number of one of its 2 choices"),
        ("science", {"hint": {}}, "its hint is {}, not text"),
        ("textvqa", {"image_id": {}}, "its image_id is {}, not text"),
        ("vizwiz", {"answerable": "no"}, "its answerable is 'no', neither 0 nor 1"),
        ("vizwiz", {"answer_type": []}, "its answer_type is [], not text"),
        ("mmbench", {"index": "9" * 5000}, f"the index '{'9' * 56}... is not a number"),
        ("mmbench", {"index": float("inf")}, "the index inf is not a number"),
        ("mmbench", {"hint": []}, "its hint is [], not text"),
        ("llava-bench", {"image": []}, "its image is [], not text"),
        ("llava-bench", {"category": {}}, "its category is {}, not text"),
    ],
)
def test_the_row_and_what_it_should_be_are_named(tmp_path, name, fields, message):
    file, around, row, task, place = FILES[name]
    path = tmp_path / file
    path.write_text(json.dumps(around(row)) + "\n")
    task(path)
    path.write_text(json.dumps(around({**row, **fields})) + "\n")
    with pytest.raises(UserError, match=re.escape(f"{path}, {place}: {message}")):
        task(path)


def test_what_is_not_an_object_is_named(tmp_path):
    for name, around in (("seed", lambda row: {"questions": [row]}), ("mmvet", lambda row: {"v1_0": row})):
        file, _, _, task, place = FILES[name]
        path = tmp_path / file
        path.write_text(json.dumps(around(7)))
        with pytest.raises(UserError, match=re.escape(f"{path}, {place}: 7 is not an object")):
            task(path)


def test_a_number_of_thousands_of_digits_is_no_place(tmp_path):
    path, said = tmp_path / "coco_pope_random.json", tmp_path / "said.jsonl"
    path.write_text(json.dumps([POPE]))
    said.write_text(json.dumps({"doc_id": "9" * 5000, "resps": [["yes"]], "doc": {"question": "What?"}}) + "\n")
    with pytest.raises(UserError, match="none of its 1 predictions is for a question"):
        pope(path).predictions(said)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"PK\5\6" + bytes(18), b"x" * 99])
def test_a_damaged_sheet_is_named(tmp_path, content):
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.xlsx: not an XLSX file"):
        list(read_rows(path))


def test_a_sheet_with_damage_further_on_is_named(tmp_path):
    import zipfile

    import openpyxl

    whole, path = tmp_path / "whole.xlsx", tmp_path / "a.xlsx"
    book = openpyxl.Workbook()
    for row in (["question_id", "text"], ["1", "yes"]):
        book.active.append(row)
    book.save(whole)
    for name, content in (("xl/worksheets/sheet1.xml", b"<worksheet><sheetData><row><c"), ("xl/styles.xml", b"<")):
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as copy:
            for part in source.namelist():
                copy.writestr(part, content if part == name else source.read(part))
        with pytest.raises(UserError, match=r"a\.xlsx: not an XLSX file"):
            list(read_rows(path))
