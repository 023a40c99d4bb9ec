"""POPE: its questions from every source, its metrics by hand, and other people's predictions."""

import io
import json

import datasets
import pyarrow.parquet as pq
import pytest
from adaptbench.harness.contracts import Record
from adaptbench.harness.errors import BadSample, UserError
from adaptbench.harness.summary import summarise
from adaptbench.tasks.multimodal.pope import SPLITS, pope_task
from PIL import Image

LABELS = {"random": "yyn", "popular": "yynn", "adversarial": "ynnn"}
WORDS = {"y": "yes", "n": "no"}


def png(colour=(1, 2, 3)):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(stream, "PNG")
    return stream.getvalue()


def question(split, number):
    return f"Is there a {split}{number} in the image?"


@pytest.fixture
def labels(tmp_path):
    folder = tmp_path / "pope"
    (folder / "val2014").mkdir(parents=True)
    for split, answers in LABELS.items():
        rows = [
            {"question_id": n, "image": f"{n % 2}.jpg", "text": question(split, n), "label": WORDS[answer]}
            for n, answer in enumerate(answers, 1)
        ]
        text = "\r\n".join(map(json.dumps, rows))
        (folder / f"coco_pope_{split}.json").write_text("\ufeff" + text + "\n\n", encoding="utf-8")
    (folder / "val2014" / "1.jpg").write_bytes(png())
    return folder


def hub_file(path):
    rows = {name: [] for name in ("id", "question_id", "question", "answer", "image_source", "image", "category")}
    for split, answers in LABELS.items():
        for n, answer in enumerate(answers, 1):
            row = (str(n), str(n), question(split, n), WORDS[answer], f"{n % 2}", {"bytes": png(), "path": None}, split)
            for name, value in zip(rows, row, strict=True):
                rows[name].append(value)
    text = datasets.Value("string")
    features = datasets.Features({name: datasets.Image() if name == "image" else text for name in rows})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))
    return path


def metrics(task, said):
    """``said``: question id -> text."""
    samples = [sample for sample in task.samples if sample.id in said]
    records = []
    for sample in samples:
        parsed = task.parse(sample, said[sample.id])
        records.append(Record(sample.id, "", said[sample.id], parsed, task.score(sample, parsed)))
    summary = summarise(task.card, samples, records, task.aggregate)
    return {name: estimate.value for name, estimate in summary["metrics"].items()}, summary


def oracle(task):
    return {question.id: question.target.title() for question in task.questions}


def test_the_sources_agree(labels, tmp_path):
    local, hub = pope_task(str(labels)), pope_task(str(hub_file(tmp_path / "test.parquet")))
    facts = [{(q.id, q.text, q.target, q.subsets["split"]) for q in task.questions} for task in (local, hub)]
    assert facts[0] == facts[1]
    assert len(local.samples) == len(facts[0]) == 11


@pytest.mark.parametrize(
    "stored",
    [
        lambda content: {"bytes": content, "path": None},
        lambda content: {"bytes": content},
        lambda content: {"bytes": content, "path": "a.png", "height": 3},
        lambda content: content,
        lambda content: [{"bytes": content, "path": "a.png"}],
    ],
)
def test_images_are_read_as_pandas_writes_them(labels, tmp_path, stored):
    table = pq.read_table(hub_file(tmp_path / "hub.parquet")).to_pandas()
    table["image"] = [stored(cell["bytes"]) for cell in table["image"]]
    table.to_parquet(tmp_path / "pandas.parquet")
    task, hub = pope_task(str(tmp_path / "pandas.parquet")), pope_task(str(tmp_path / "hub.parquet"))
    assert [item.digest for item in task.inputs] == [item.digest for item in hub.inputs]
    assert task.inputs[3].load() == hub.inputs[3].load()


def test_scoring_needs_no_images_and_asking_says_what_is_missing(labels, tmp_path):
    table = pq.read_table(hub_file(tmp_path / "hub.parquet"))
    pq.write_table(table.drop_columns("image"), tmp_path / "bare.parquet")
    task, hub = pope_task(str(tmp_path / "bare.parquet")), pope_task(str(labels))
    assert metrics(task, oracle(task)) == metrics(hub, oracle(hub))
    assert len({item.digest for item in task.inputs}) == len(task.inputs)
    with pytest.raises(
        UserError, match=r"bare.parquet \[train\]: no column 'image' of images; name a data set"
    ) as raised:
        task.inputs[0].load()
    assert not isinstance(raised.value, BadSample)  # no fault of one sample


def test_a_question_is_asked_as_llava_asks(labels):
    task = pope_task(str(labels))
    prompt = task.inputs[0].load()
    assert prompt.text == f"{question('adversarial', 1)}\nAnswer the question using a single word or phrase."
    assert (prompt.max_new_tokens, prompt.images[0].size, prompt.images[0].mode) == (128, (4, 3), "RGB")
    with pytest.raises(BadSample, match=r"0\.jpg"):
        task.inputs[1].load()


def test_questions_on_one_image_are_one_group(labels):
    assert {sample.group for sample in pope_task(str(labels)).samples} == {"0.jpg", "1.jpg"}


@pytest.mark.parametrize("rule", ["official", "lmms-eval", "vlmevalkit"])
def test_oracle_and_anti_oracle(labels, rule):
    task = pope_task(str(labels), rule=rule)
    right, summary = metrics(task, oracle(task))
    assert (right["accuracy"], right["F1"], right["precision"], right["recall"]) == (1, 1, 1, 1)
    assert set(summary["breakdown"]["split"]) == set(SPLITS)
    wrong, _ = metrics(task, {q.id: {"yes": "No", "no": "Yes"}[q.target] for q in task.questions})
    assert (wrong["accuracy"], wrong["precision"], wrong["recall"]) == (0, 0, 0)
    # The official script ends with a division by zero here.
    assert wrong.get("F1") == (None if rule == "official" else 0)


def test_always_yes_by_hand(labels):
    task = pope_task(str(labels))
    found, summary = metrics(task, dict.fromkeys(oracle(task), "Yes"))
    f1 = {split: 2 * p / (p + 1) for split, p in {"random": 2 / 3, "popular": 1 / 2, "adversarial": 1 / 4}.items()}
    assert found["F1"] == pytest.approx(sum(f1.values()) / 3)
    assert (found["accuracy"], found["yes ratio"], found["recall"]) == (5 / 11, 1, 1)
    for split, value in f1.items():
        assert summary["breakdown"]["split"][split]["F1"].value == pytest.approx(value)


def test_always_no_has_no_official_f1(labels):
    task = pope_task(str(labels))
    found, _ = metrics(task, dict.fromkeys(oracle(task), "no"))
    assert (found["accuracy"], found["yes ratio"], found["recall"]) == (6 / 11, 0, 0)
    assert "F1" not in found
    assert "precision" not in found


def test_the_rules_treat_an_unread_answer_each_in_their_own_way(labels):
    """Everything right, but the first "yes" of each split is said in a way that only some rules read."""
    said = {q.id: q.target for q in pope_task(str(labels)).questions} | dict.fromkeys(
        [f"{split}/1" for split in SPLITS], "I cannot tell"
    )
    found = {
        rule: metrics(pope_task(str(labels), rule=rule), said)[0] for rule in ("lmms-eval", "vlmevalkit", "official")
    }
    assert found["official"]["accuracy"] == 1, "whatever is not a no is a yes"
    assert found["lmms-eval"]["unread"] == found["vlmevalkit"]["unread"] == 3 / 11
    assert found["lmms-eval"]["recall"] == 1, "neither a hit nor a miss"
    assert found["vlmevalkit"]["recall"] == 2 / 5
    assert found["vlmevalkit"]["F1"] == pytest.approx(2 * (2 / 5) / (1 + 2 / 5)), "of all questions together"
    assert found["lmms-eval"]["yes ratio"] == 5 / 11, "a constant of the labels"
    assert found["vlmevalkit"]["yes ratio"] == 2 / 11


def test_a_wrong_rule_is_refused(labels):
    with pytest.raises(UserError, match=r"task pope: no rule 'oficial' \(did you mean 'official'"):
        pope_task(str(labels), rule="oficial")


# Predictions made elsewhere

START = {"adversarial": 0, "random": 10_000_000, "popular": 20_000_000}


def llava_rows(prompts=True):
    rows = []
    for split, answers in LABELS.items():
        for n, answer in enumerate(answers, 1):
            row = {"question_id": START[split] + n, "text": WORDS[answer].title(), "answer_id": "x"}
            rows.append(row | ({"prompt": f"{question(split, n)}\nAnswer ..."} if prompts else {}))
    return rows


def write(path, rows, end="\n"):
    path.write_bytes(end.join(map(json.dumps, rows)).encode("utf-8-sig") + b"\r\n\r\n")
    return path


@pytest.mark.parametrize("prompts", [True, False])
def test_llava_answers_are_paired_by_order(labels, tmp_path, prompts):
    task = pope_task(str(labels))
    read = task.predictions(write(tmp_path / "answers.jsonl", llava_rows(prompts), "\r\n"))
    assert read.outputs == oracle(task)
    assert (list(read.outputs), read.unmatched) == ([sample.id for sample in task.samples], ())


def test_llava_question_file_tells_the_split(labels, tmp_path):
    rows = [row | {"question_id": 500 + n} for n, row in enumerate(llava_rows())]
    splits = [split for split, answers in LABELS.items() for _ in answers]
    asked = [{"question_id": 500 + n, "image": "", "text": "", "category": split} for n, split in enumerate(splits)]
    task = pope_task(str(labels), str(write(tmp_path / "questions.jsonl", asked)))
    assert task.predictions(write(tmp_path / "answers.jsonl", rows[::-1])).outputs == oracle(task)
    strange = write(tmp_path / "strange.jsonl", [*rows, {"question_id": 9, "text": "Yes"}])
    with pytest.raises(UserError, match=r"strange.jsonl, line 12: 9 is not a question of LLaVA"):
        task.predictions(strange)


@pytest.mark.parametrize("as_id", [int, str, float])
@pytest.mark.parametrize("prompts", [True, False])
def test_answers_are_matched_by_their_numbers_in_any_order(labels, tmp_path, prompts, as_id):
    task = pope_task(str(labels))
    rows = [row | {"question_id": as_id(row["question_id"])} for row in llava_rows(prompts)]
    assert task.predictions(write(tmp_path / "answers.jsonl", rows[::-2] + rows[-2::-2])).outputs == oracle(task)


@pytest.mark.parametrize("prompts", [True, False])
def test_gaps_and_doubles_move_no_other_answer(labels, tmp_path, prompts):
    task, rows = pope_task(str(labels)), llava_rows(prompts)
    rows[4] = rows[3] | {"text": "Never"}  # as many answers as labels
    rows.append({"question_id": 10_000_004, "text": "Yes"})
    read = task.predictions(write(tmp_path / "answers.jsonl", rows))
    right = oracle(task) | {"popular/1": "Never"}
    del right["popular/2"]
    assert (read.outputs, read.unmatched) == (right, ("random/4",))
    assert read.notes == ("several predictions for 1 question (popular/1): the last one counts",)


@pytest.mark.parametrize("first", [0, 1])
def test_labels_have_numbers_of_their_own(labels, tmp_path, first):
    """They stand in any order, and begin at 0 in the random split of some releases; LLaVA's numbers begin at 1."""
    right = oracle(pope_task(str(labels)))
    for path in labels.glob("*.json"):
        rows = [json.loads(line) for line in path.read_text("utf-8-sig").split("\n") if line.strip()]
        write(path, [row | {"question_id": row["question_id"] - 1 + first} for row in rows[::-1]])
    task = pope_task(str(labels))
    llava = write(tmp_path / "answers.jsonl", llava_rows())
    assert task.predictions(llava).outputs == right
    (tmp_path / "by split").mkdir()
    for split in SPLITS:
        rows = [(first + n, WORDS[answer].title()) for n, answer in enumerate(LABELS[split])]
        rows = [{"question_id": number, "text": text} for number, text in rows[::-1]]
        write(tmp_path / "by split" / f"llava_{split}.jsonl", rows)
        alone = pope_task(str(labels / f"coco_pope_{split}.json"))
        found = alone.predictions(write(tmp_path / "alone.jsonl", rows)).outputs
        assert found == {name: text for name, text in right.items() if name.startswith(split)}
    assert task.predictions(tmp_path / "by split").outputs == right


def test_numbers_that_could_be_of_any_split_are_refused(labels, tmp_path):
    rows = [row | {"question_id": row["question_id"] % 10_000_000} for row in llava_rows(prompts=False)]
    path = write(tmp_path / "answers.jsonl", rows)
    with pytest.raises(UserError, match="not clear which of the splits adversarial, popular, random this is"):
        pope_task(str(labels)).predictions(path)
    splits = [split for split, answers in LABELS.items() for _ in answers]
    told = [row | {"category": split} for row, split in zip(rows, splits, strict=True)]
    task = pope_task(str(labels))
    assert task.predictions(write(path, told[::-1])).outputs == oracle(task)


@pytest.mark.parametrize("number", [None, "one", "-1", [3], "9" * 5000])
def test_what_is_no_number_is_refused(labels, tmp_path, number):
    path = write(tmp_path / "answers.jsonl", [*llava_rows(), {"question_id": number, "text": "Yes"}])
    with pytest.raises(UserError, match=r"answers.jsonl, line 12: .* is not a question of LLaVA's question file"):
        pope_task(str(labels)).predictions(path)


def test_answers_without_numbers_are_paired_by_order_if_they_are_as_many(labels, tmp_path):
    task = pope_task(str(labels / "coco_pope_random.json"))
    rows = [{"question": question("random", n), "answer": WORDS[answer]} for n, answer in enumerate("yyn", 1)]
    path = write(tmp_path / "answers.json", rows)
    assert task.predictions(path).outputs == {f"random/{n}": WORDS[answer] for n, answer in enumerate("yyn", 1)}
    for count, wrong in ((2, rows[1:]), (4, [*rows, rows[0]])):
        with pytest.raises(UserError, match=f"answers.json: {count} answers to the 3 questions of the random split"):
            task.predictions(write(path, wrong))


@pytest.mark.parametrize(("asked", "given"), [(2910, 3000), (3000, 2910)])
def test_answers_to_the_other_version_of_the_random_split_are_refused(tmp_path, asked, given):
    labels = [{"text": f"Is there a {n}?", "label": "yes", "image": "0.jpg"} for n in range(asked)]
    task = pope_task(str(write(tmp_path / "coco_pope_random.json", labels)))
    rows = [{"question_id": 10_000_001 + n, "text": "Yes"} for n in range(given)]
    path = tmp_path / "answers.jsonl"
    with pytest.raises(UserError, match=f"{given:,} answers to the {asked:,} questions of the random split; take the"):
        task.predictions(write(path, rows))
    told = [row | {"prompt": f"Is there a {n}?"} for n, row in enumerate(rows)]
    assert len(task.predictions(write(path, told)).outputs) == 2910


def test_answers_to_other_questions_are_refused(labels, tmp_path):
    rows = llava_rows()
    rows[1], rows[2] = rows[2] | {"question_id": 10_000_002}, rows[1] | {"question_id": 10_000_003}
    with pytest.raises(UserError, match=r"answers.jsonl, line 2: this answers 'Is there a random3 .*random2"):
        pope_task(str(labels)).predictions(write(tmp_path / "answers.jsonl", rows))


def test_a_misspelling_of_the_questions_is_read_over(labels, tmp_path):
    rows = [row | {"prompt": row["prompt"].replace("image", "imange")} for row in llava_rows()]
    assert len(pope_task(str(labels)).predictions(write(tmp_path / "a.jsonl", rows)).outputs) == 11


def test_popes_own_answers_are_one_file_a_split(labels, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for split, answers in LABELS.items():
        rows = [{"question": question(split, n), "answer": WORDS[answer]} for n, answer in enumerate(answers, 1)]
        write(folder / f"model_{split}.json", rows)
    task = pope_task(str(labels))
    assert {name: text.title() for name, text in task.predictions(folder).outputs.items()} == oracle(task)
    nameless = write(tmp_path / "answers.json", rows)
    with pytest.raises(UserError, match="not clear which of the splits"):
        task.predictions(nameless)
    alone = pope_task(str(labels / "coco_pope_adversarial.json"))
    assert len(alone.predictions(nameless).outputs) == 4


def test_a_log_of_lmms_eval_is_read(labels, tmp_path):
    rows = [
        {
            "doc_id": n,
            "doc": {
                "question_id": str(n + 1),
                "question": question(split, n + 1),
                "answer": WORDS[a],
                "category": split,
            },
            "target": WORDS[a],
            "resps": [[WORDS[a].title()]],
            "filtered_resps": [WORDS[a].title()],
        }
        for split, answers in LABELS.items()
        for n, a in enumerate(answers)
    ]
    task = pope_task(str(labels))
    assert task.predictions(write(tmp_path / "samples_pope.jsonl", rows)).outputs == oracle(task)


def test_a_sheet_of_vlmevalkit_is_read(labels, tmp_path):
    task = pope_task(str(labels))
    lines = ["index\tquestion\tanswer\tcategory\tprediction"]
    lines += [
        f"{n}\t{q.text}\t{q.target.title()}\t{q.subsets['split']}\t{q.target.title()}"
        for n, q in enumerate(task.questions)
    ]
    path = tmp_path / "POPE.tsv"
    path.write_text("\n".join(lines))
    assert task.predictions(path).outputs == oracle(task)


def test_labels_that_are_none_are_refused(labels):
    path = labels / "coco_pope_random.json"
    path.write_text(path.read_text("utf-8-sig").replace('"yes"', '"maybe"', 1))
    with pytest.raises(UserError, match=r"coco_pope_random.json, line 1: the label 'maybe' is neither yes nor no"):
        pope_task(str(labels))


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(UserError, match="has 0 label files of POPE"):
        pope_task(str(tmp_path))
    with pytest.raises(UserError, match="no such file or folder"):
        pope_task(str(tmp_path / "nowhere"))
