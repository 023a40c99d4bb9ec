"""No question is shown its own answer through lm-eval, and where it never is, the prompts are lm-eval's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from adaptbench.adapters.lm_eval_tasks import LmEvalTask
from adaptbench.harness.cli import main
from adaptbench.harness.errors import UserError

WORDS = ("cat", "dog", "bird", "ant", "owl", "bee", "elk", "fox")
TURNED = """
def turned(documents):
    return documents.map(lambda row: {"choices": row["choices"][::-1], "gold": 2})
"""
GUESS = """
import adaptbench

class Guess:
    def loglikelihood(self, pairs):
        return [(-float(len(continuation)), False) for _, continuation in pairs]

@adaptbench.hookimpl
def register(registry):
    registry.model("guess", Guess, card=adaptbench.ModelCard(capabilities=("language",)))
"""
FERN = {"q": "What is a fern?", "choices": ["a plant"], "gold": 0}
LEAKS = {
    "unnamed": {"test_split": "test"},
    "unnamed-first": {"test_split": "test", "fewshot_config": {"sampler": "first_n"}},
    "validation": {"validation_split": "test", "fewshot_split": "test"},
    "same-training": {"training_split": "test", "test_split": "test"},
    "twice": {"test_split": "twice", "fewshot_split": "twice"},
    "known": {"test_split": "test", "training_split": "known"},
    # As lm-eval's gpqa, whose choices are shuffled anew for the demonstrations.
    "turned": {"test_split": "test", "fewshot_split": "test", "doc_to_text": "{{q}} {{choices|join(', ')}}\n"}
    | {"fewshot_config": {"process_docs": "turned"}},
}
CLEAN = {
    "named": {"test_split": "test", "fewshot_split": "test"},
    "named-first": {"test_split": "test", "fewshot_split": "test", "fewshot_config": {"sampler": "first_n"}},
    "training": {"test_split": "test", "training_split": "train"},
    "validation-unnamed": {"validation_split": "test"},
    "written": {"test_split": "test", "fewshot_config": {"samples": [FERN] * 3}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demonstrations")
    rows = [
        {"number": number, "q": f"What is a {word}?", "right": f"{word}-like", "gold": 0}
        | {"choices": [f"{word}-like", "a plant", "none of the two"]}
        for number, word in enumerate(WORDS)
    ]
    others = [row | {"q": row["q"].replace("What", "Who")} for row in rows]
    again = [row | {"number": row["number"] + 100} for row in rows]
    splits = {"test": rows, "train": others, "twice": rows + again, "known": others[:4] + again[:4]}
    for split, documents in splits.items():
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (folder / "turning.py").write_text(TURNED)
    data = {"data_files": {s: str(folder / f"{s}.jsonl") for s in splits}, "cache_dir": str(folder / "cache")}
    common = {"dataset_path": "json", "dataset_kwargs": data, "output_type": "multiple_choice"}
    common |= {"doc_to_text": "Q: {{q}}\nA:", "doc_to_target": "gold", "doc_to_choice": "choices"}
    for name, fields in (LEAKS | CLEAN).items():
        text = json.dumps({"task": name} | common | fields)
        (folder / f"{name}.yaml").write_text(text.replace('"turned"}', "!function turning.turned}"))
    return folder


@pytest.fixture(scope="module")
def theirs(folder):
    """Name -> the prompts of ``simple_evaluate`` with 3 demonstrations, one a document."""
    import lm_eval
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Guess(LM):
        def loglikelihood(self, requests):
            return [(-1.0, False) for _ in requests]

        generate_until = loglikelihood_rolling = loglikelihood

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = lm_eval.simple_evaluate(
        model=Guess(), tasks=[*LEAKS, *CLEAN], num_fewshot=3, task_manager=manager, bootstrap_iters=0
    )
    return {name: [row["arguments"][0][0] for row in rows] for name, rows in found["samples"].items()}


@pytest.fixture(scope="module")
def ours(folder):
    def build(name, shots, **arguments):
        return LmEvalTask(name, include=str(folder), shots=shots, **arguments)

    return build


def prompts_of(task):
    return [task.inputs[sample.inputs[0]].load()[0] for sample in task.samples]


def asked(text):
    return text.partition("?")[0]


def shows_itself(prompt):
    *demonstrations, question = prompt.split("\n\n")
    return asked(question) in map(asked, demonstrations)


@pytest.mark.parametrize("name", LEAKS)
def test_where_lm_eval_shows_a_question_its_answer_another_document_is_shown(name, theirs, ours):
    before, task = theirs[name], ours(name, 3)
    after = prompts_of(task)
    leaking = [shows_itself(prompt) for prompt in before]
    assert any(leaking)
    assert not any(map(shows_itself, after))
    for prompt, was, leaked in zip(after, before, leaking, strict=True):
        assert (prompt != was) == leaked  # all others are lm-eval's, byte for byte
        *others, question = prompt.split("\n\n")
        assert len(others) == 3
        assert {shown for shown in was.split("\n\n") if asked(shown) != asked(question)} <= set(others)
    said = f"lm-eval shows {sum(leaking)} of {len(leaking)} documents their own answer as a demonstration"
    assert task.card.note == f"{said}; here they are shown another document instead"
    same = ours(name, 3, demonstrations="lm-eval")
    assert prompts_of(same) == before
    assert same.card.note == f"{said}, and so does this task"


@pytest.mark.parametrize("name", CLEAN)
def test_where_it_does_not_the_prompts_are_lm_evals(name, theirs, ours):
    task = ours(name, 3)
    assert prompts_of(task) == theirs[name]
    assert task.card.note == ""


def test_the_first_documents_stay_the_first(ours):
    first, *_, last = prompts_of(ours("unnamed-first", 3))
    assert [first.count(f"a {word}?") for word in WORDS] == [1, 1, 1, 1, 0, 0, 0, 0]
    assert [last.count(f"a {word}?") for word in WORDS] == [1, 1, 1, 0, 0, 0, 0, 1]


def test_where_no_other_document_is_left_there_are_fewer(ours):
    task = ours("unnamed", 8)
    assert [len(prompt.split("\n\n")) for prompt in prompts_of(task)] == [8] * 8
    assert task.card.note.endswith("instead; 8 have fewer demonstrations, since there are no more")
    for name in ("named", "named-first"):
        with pytest.raises(UserError, match="9 demonstrations are more than lm-eval draws from 8 documents"):
            ours(name, 9)
    with pytest.raises(UserError, match=r"demonstrations='all'.*give 'others' or 'lm-eval'"):
        ours("unnamed", 3, demonstrations="all")


def test_the_run_and_its_board_say_so(folder, tmp_path, monkeypatch, capsys):
    out, spec = str(tmp_path / "run"), f'lm-eval:unnamed(include="{folder}",shots=3)'
    (tmp_path / "guess.py").write_text(GUESS)
    argv = ["run", "--plugin", str(tmp_path / "guess.py"), "--model", "guess", "--task", spec, "--out", out]
    monkeypatch.setattr("sys.argv", ["adaptbench", *argv])
    with pytest.raises(SystemExit, match=r"^0?$"):
        main()
    assert "shots=3): lm-eval shows" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["adaptbench", "report", out, "--out", f"{out}/board.md"])
    with pytest.raises(SystemExit, match=r"^0?$"):
        main()
    assert "3 demonstrations. lm-eval shows" in Path(out, "board.md").read_text()
