"""Every command of docs/official-files.md, on small files of the shapes that the official scripts write."""

import contextlib
import json
import re
import shlex
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "official-files.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\|[^|\n]+\| `adaptbench ([^`]+)` \|$", PAGE, re.MULTILINE)
PASS = 1_000_000
ENDING = "Please answer yes or no."
SHORT = "\nAnswer the question using a single word or phrase."


def write(path, content):
    """JSON, or of a list of rows JSON lines where the name says so."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in content) if path.suffix == ".jsonl" else json.dumps(content)
    path.write_text(lines, encoding="utf-8")


def write_text(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def write_sheet(path, rows):
    book = openpyxl.Workbook()
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append(row)
    book.save(path)


def vqav2():
    said = {"answers": [{"answer": "cat", "answer_id": n, "answer_confidence": "yes"} for n in range(1, 11)]}
    kinds = {"answer_type": "other", "question_type": "what", "multiple_choice_answer": "cat"}
    labels = [{"question_id": 262148000, "image_id": 262148, **kinds, **said}]
    asked = [{"question_id": 262148000, "image_id": 262148, "question": "What is it?"}]
    results = [{"question_id": 262148000, "answer": "cat"}]
    for home in ("", "vqa/"):
        write(f"{home}v2_mscoco_val2014_annotations.json", {"info": {}, "annotations": labels})
        write(f"{home}v2_OpenEnded_mscoco_val2014_questions.json", {"data_subtype": "val2014", "questions": asked})
        write(f"{home}v2_mscoco_train2014_annotations.json", {"info": {}, "annotations": []})
    write("v2_OpenEnded_mscoco_val2014_model_results.json", results)
    write("annotations.jsonl", labels)
    write("questions.jsonl", asked)
    write("results.jsonl", results)
    row = {
        "question_id": 1000,
        "image": "COCO_test2015_000000000001.jpg",
        "text": f"What?{SHORT}",
        "category": "default",
    }
    write("llava_vqav2_mscoco_test-dev2015.jsonl", [row])
    write("merge.jsonl", [{"question_id": 1000, "prompt": row["text"], "text": "Cat", "model_id": "llava"}])


def gqa():
    question = {
        "imageId": "n1",
        "question": "Is it red?",
        "answer": "yes",
        "isBalanced": True,
        "groups": {"global": None},
    }
    types = {"types": {"structural": "verify", "semantic": "attr", "detailed": "color"}, "semantic": [], "entailed": []}
    unbalanced = {**question, **types, "isBalanced": False}
    write("testdev_balanced_questions.json", {"201": question | types, "202": unbalanced})
    write("testdev_balanced_predictions.json", [{"questionId": "201", "prediction": "yes"}])


def vizwiz():
    answers = [{"answer": "cup", "answer_confidence": "yes"}] * 10
    row = {
        "image": "VizWiz_val_00000000.jpg",
        "question": "What?",
        "answers": answers,
        "answer_type": "other",
        "answerable": 1,
    }
    write("val.json", [row])
    write("answers_upload.json", [{"image": row["image"], "answer": "cup"}])
    row = {"question_id": 0, "image": "VizWiz_test_00000000.jpg", "text": f"What?{SHORT}", "category": "default"}
    write("llava_test.jsonl", [row])
    write("llava-vizwiz.jsonl", [{"question_id": 0, "prompt": row["text"], "text": "Cup"}])


def textvqa():
    row = {"question_id": 34602, "image_id": "003a8ae2", "question": "what brand is it?", "answers": ["dakota"] * 10}
    write("TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": [row]})
    prompt = f"What brand is it?\nReference OCR token: DAKOTA{SHORT}"
    write("llava-textvqa.jsonl", [{"question_id": "003a8ae2", "prompt": prompt, "text": "Dakota"}])


def scienceqa():
    problem = {"choices": ["x", "y"], "hint": "", "grade": "grade2", "subject": "s", "topic": "t", "split": "test"}
    problems = {
        n: {"question": f"Q{n}?", "answer": n - 1, "image": "image.png" * (n - 1) or None, **problem} for n in (1, 2)
    }
    write("scienceqa/problems.json", problems)
    write("scienceqa/pid_splits.json", {"test": ["1", "2"]})
    write("llava-scienceqa.jsonl", [{"question_id": str(n), "prompt": f"Q{n}?", "text": "A"} for n in (1, 2)])
    rows = [
        {"question_id": str(n), "parsed_ans": "A", "ground_truth": "AB"[n - 1], "pred": "A", "is_multimodal": n == 2}
        for n in (1, 2)
    ]
    text = json.dumps({"correct": rows[:1], "incorrect": rows[1:]}, indent=2)
    write_text("llava-scienceqa_output.jsonl", text)  # as LLaVA's script names it, though it is JSON
    results = {"acc": 50.0, "correct": 1, "count": 2, "results": {"1": 0, "2": 0}, "outputs": {"1": "A", "2": "A"}}
    write("llava-scienceqa_result.json", results)


def pope():
    asked, answers, logged = [], [], []
    for split, first in (("adversarial", 0), ("random", 10_000_000), ("popular", 20_000_000)):
        labels = [
            {"question_id": n, "image": "COCO_1.jpg", "text": f"Is there a {split}{n}?", "label": ("yes", "no")[n - 1]}
            for n in (1, 2)
        ]
        write_text(f"coco/coco_pope_{split}.json", "".join(json.dumps(row) + "\n" for row in labels))
        for row in labels:
            number, text = first + row["question_id"], row["text"]
            asked.append({"question_id": number, "image": row["image"], "text": text + SHORT, "category": split})
            answers.append({"question_id": number, "prompt": text + SHORT, "text": row["label"].title()})
            document = {
                "question_id": str(row["question_id"]),
                "question": text,
                "answer": row["label"],
                "category": split,
            }
            logged.append(
                {"doc_id": len(logged), "doc": document, "filtered_resps": [row["label"]], "target": row["label"]}
            )
        if split == "random":
            rows = [{"question": row["text"], "answer": row["label"].title()} for row in labels]
            write_text("random_answers.json", "".join(json.dumps(row) + "\n" for row in rows))
    write("llava_pope_test.jsonl", asked)
    write("llava-pope.jsonl", answers)
    write("samples_pope.jsonl", logged)
    pq.write_table(pa.Table.from_pylist([row["doc"] | {"image_source": "COCO_1"} for row in logged]), "pope.parquet")


def mme():
    answers = []
    for category in ("existence", "code_reasoning"):
        pair = [(f"Is it {n}? {ENDING}", answer) for n, answer in ((1, "Yes"), (2, "No"))]
        write_text(f"MME_Benchmark_release_version/{category}/0001.txt", "".join(f"{q}\t{a}\n" for q, a in pair))
        write_text(f"results/{category}.txt", "".join(f"0001.txt\t{q}\t{a}\t{a}\n" for q, a in pair))
        for question, answer in pair:
            prompt = question.removesuffix(f" {ENDING}") + SHORT
            answers.append({"question_id": f"{category}/0001.png", "prompt": prompt, "text": answer})
    write("llava-mme.jsonl", answers)


def mmbench():
    rows = [
        {
            "index": n * PASS + 1,
            "question": "Which?",
            "hint": "",
            **options,
            "answer": "AB"[n],
            "category": "c",
            "split": "dev",
        }
        for n, options in enumerate(({"A": "x", "B": "None"}, {"A": "None", "B": "x"}))
    ]
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    write_text("mmbench_dev_20230712.tsv", "\n".join(lines) + "\n")
    write(
        "llava-mmbench.jsonl",
        [{"question_id": row["index"], "prompt": "Which?", "text": row["answer"]} for row in rows],
    )
    said = [
        {name: row[name] for name in ("index", "question", "A", "B")} | {"prediction": row["answer"]} for row in rows
    ]
    said = [row | {"answer": row["prediction"], "split": "dev"} for row in said]
    write_sheet("llava-mmbench.xlsx", said)
    write_sheet("llava_MMBench_DEV_EN.xlsx", said)


def seed_bench():
    row = {"question_id": "101", "question": "How many?", "answer": "A", "question_type_id": 5, "data_type": "image"}
    row |= {f"choice_{letter}": letter for letter in "abcd"} | {"data_id": "1_2"}
    write("SEED-Bench.json", {"questions": [row], "question_type": {}})
    write("llava-seed.jsonl", [{"question_id": "101", "prompt": "How many?", "text": "A"}])
    options = {letter: letter.lower() for letter in "ABCD"}
    sheet = {"index": 101, "question": "How many?", **options, "answer": "A", "category": "Instances Counting"}
    write_sheet("llava_SEEDBench_IMG.xlsx", [sheet | {"prediction": "A"}])


def mm_vet():
    question = {
        "imagename": "v1_0.png",
        "question": "What?",
        "answer": "x",
        "capability": ["ocr", "math"],
        "imagesource": "u",
    }
    write("mm-vet.json", {"v1_0": question, "v1_1": question | {"capability": ["rec"]}})

    def grades(*runs):
        return {
            f"v1_{n}": {
                "model": ["gpt-4"] * len(runs),
                "content": [str(run[n]) for run in runs],
                "score": [run[n] for run in runs],
            }
            for n in (0, 1)
        }

    runs = ([0.2, 0.4], [0.2, 0.6], [0.1, 0.4])
    write("llava_gpt-4-grade-3runs.json", grades(*runs))
    for number, run in enumerate(runs):
        write(f"grades/run{number}.json", grades(run))


def llava_bench():
    kinds = ("conv", "detail", "complex")
    home = "llava-bench-in-the-wild"
    write(
        f"{home}/questions.jsonl",
        [{"question_id": n, "image": "1.jpg", "category": kind, "text": "Q?"} for n, kind in enumerate(kinds)],
    )
    for run in (1, 2, 3):
        rows = [
            {"id": n + 1, "question_id": n, "answer1_id": "a", "answer2_id": "b", "category": f"llava_bench_{kind}"}
            | {"content": f"9 {5 + run}\nbecause", "tuple": [9.0, 5.0 + run]}
            for n, kind in enumerate(kinds)
        ]
        write(f"reviews/llava-{run}.jsonl", rows)


def cofe():
    shown = "input: A cat ran .\noutput: RUN ( CAT , NONE , NONE )\n\ninput: The dog ran .\n"
    row = {"context": shown, "ground_truth": "RUN ( DOG , NONE , NONE )", "category": "x"}
    write_text("PR_LC.json", json.dumps(row) + "\n" + json.dumps(row | {"context": "broken"}) + "\n")
    write("outputs.jsonl", [{"sample": "00001", "output": " RUN ( DOG , NONE , NONE )"}])


MADE = (vqav2, gqa, vizwiz, textvqa, scienceqa, pope, mme, mmbench, seed_bench, mm_vet, llava_bench, cofe)
RIGHT = {"scienceqa(part=full)": 0.5, "mm-vet": 95 / 300, "llava-bench": None}
LEFT_OUT = {"gqa": "1 that are not balanced (202)", "cofe:PR_LC.json": "1 that cannot be scored"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("official")
    with contextlib.chdir(home):
        for make in MADE:
            make()
    return home


@pytest.fixture
def run(cli, made, monkeypatch):
    """Run ``adaptbench ...`` where the files are."""
    monkeypatch.chdir(made)
    return cli


def test_each_benchmark_has_its_files():
    tasks = {re.split(r"[(: ]", command.removeprefix("score ").lstrip("'"))[0] for command in COMMANDS}
    benchmarks = {"vqav2", "gqa", "vizwiz", "textvqa", "scienceqa", "pope", "mme", "mmbench", "seed-bench", "mm-vet"}
    assert tasks >= benchmarks | {"llava-bench", "cofe"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_runs_as_it_stands(run, command):
    verb, *arguments = shlex.split(command)
    done = run(verb, *arguments, "--json")
    assert done.status == 0, done.err
    told = json.loads(done.out)
    scored = told["cells"][0] if verb == "run" else told
    if "--submission" in arguments:
        assert json.loads(Path("upload.json").read_text())[0]["answer"] in {"cat", "cup"}
        return
    right = RIGHT.get(arguments[0], 1)
    first = next(iter(scored["metrics"].values()))["value"]
    assert right is None or first == pytest.approx(0 if "cofe" in arguments[0] else right)
    if verb == "score":
        assert scored["matched"] == scored["samples"] - ("cofe" in arguments[0])
        assert (
            f"; {'left out: ' + LEFT_OUT[arguments[0]] if arguments[0] in LEFT_OUT else 'none left out'}"
            in scored["labels"]
        )
        assert scored["answers"].endswith("none left out")


def test_a_submission_is_named(run):
    asked = ("--questions", "llava_vqav2_mscoco_test-dev2015.jsonl", "--predictions", "merge.jsonl")
    done = run("score", "vqav2", *asked, "--submission", "named.json")
    assert done.out.endswith("\nnamed.json: what the benchmark's server takes\n")


def test_several_runs_of_a_judge_have_mean_and_spread(run):
    done = run("score", "mm-vet", "--predictions", "grades")
    assert "note: 3 runs of the judge: score 31.7 +- 6.2 [30.0, 40.0, 25.0]" in done.out
    done = run("score", "llava-bench", "--predictions", "reviews")
    assert "note: 3 runs of the judge: ratio 77.8 +- 9.1 [66.7, 77.8, 88.9]" in done.out
    assert re.search(r"ratio +77\.80 ", done.out)
