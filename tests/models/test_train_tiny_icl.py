"""The recipe of tiny-icl: its tokenizer, its batches, that it resumes exactly, and that a little training teaches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from adaptbench.harness.errors import UserError
from adaptbench.models.reference import tiny_icl_recipe, train_tiny_icl
from adaptbench.models.reference.tiny_icl_parts import ANSWER, END, GIVEN, make_model, make_tokenizer
from adaptbench.models.reference.tiny_icl_prompts import Lessons, Prompts, written
from adaptbench.models.reference.train_tiny_icl import IGNORED, Batches, Recipe, labels_of, schedule, told, train
from adaptbench.tasks.compositional import lessons as writing
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

SMALL = Recipe(steps=6, batch=2, rate=3e-3, warmup=1, least=3, most=6, tokens=80, merges=200, layers=1, width=32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "lessons.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lessons", "--out", str(path)])
        writing.main()
    return path


@pytest.fixture(scope="module")
def lessons(path: Path) -> Lessons:
    return Lessons.read(path)


@pytest.fixture(scope="module")
def tokenizer(lessons: Lessons) -> PreTrainedTokenizerFast:
    return make_tokenizer(train_tiny_icl.words_of(lessons), 200)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    if not any(token in text for token in tokenizer.all_special_tokens):
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_a_prompt_ends_where_training_had_the_answer_begin(
    tokenizer: PreTrainedTokenizerFast, lessons: Lessons
) -> None:
    for number in range(50):
        examples = Prompts(lessons).prompt(str(number), 4)
        whole = written(examples)
        asked = whole.removesuffix(f" {examples[-1].answer}{END}")
        ids, start = (tokenizer(text).input_ids for text in (whole, asked))
        assert ids[: len(start)] == start
        assert start[-1] == tokenizer.convert_tokens_to_ids(ANSWER)
        assert tokenizer.decode(ids[len(start) :]) == f" {examples[-1].answer}{END}"


def test_pieces_are_the_same_in_every_case_and_signs_and_digits_stand_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    for word in ("crocodile", "above", "forty"):
        plain = tokenizer.tokenize(word)
        for twin in (word.title(), word.upper(), f" {word}", f" {word.upper()}", f" {word.title()}"):
            assert [piece.removeprefix("Ġ").lower() for piece in tokenizer.tokenize(twin)] == plain
    assert tokenizer.tokenize(f"{GIVEN} 435\n{ANSWER} 436{END}") == [
        GIVEN, "Ġ", "4", "3", "5", "Ċ", ANSWER, "Ġ", "4", "3", "6", "ĊĊ"
    ]  # fmt: skip
    assert tokenizer.tokenize(" * (cat) @ x #")[:2] == ["Ġ*", "Ġ("]


def test_only_answers_and_their_ends_are_learned(tokenizer: PreTrainedTokenizerFast, lessons: Lessons) -> None:
    batches = Batches(SMALL, lessons, tokenizer)
    for step in range(9):
        ids, labels = batches.batch(step)
        for row, wanted in zip(ids, labels, strict=True):
            text = tokenizer.decode(row).replace("<s>", "").replace("<pad>", "")
            blocks = [block.partition(f"\n{ANSWER}") for block in text.split(END)]
            answers = [answer for _, mark, answer in blocks if mark]
            said = tokenizer.decode(wanted[wanted != IGNORED])
            assert said.removesuffix(END) == END.join(answers).removesuffix(END)
            assert torch.equal(row[wanted != IGNORED], wanted[wanted != IGNORED])


def test_labels_by_hand() -> None:
    ids = torch.tensor([[1, 7, 5, 2, 3, 9, 7, 5, 4, 9, 0, 0]])
    assert labels_of(ids, answer=5, end=9).tolist() == [[-100, -100, -100, 2, 3, 9, -100, -100, 4, 9, -100, -100]]


def test_batches_depend_on_the_step_alone_and_grow(tokenizer: PreTrainedTokenizerFast, lessons: Lessons) -> None:
    recipe = Recipe(steps=240, batch=2, merges=200)
    forwards = Batches(recipe, lessons, tokenizer)
    ids = [forwards.batch(step)[0] for step in range(96)]
    backwards = Batches(recipe, lessons, tokenizer)
    for step in (95, 9, 8, 0):
        assert torch.equal(backwards.batch(step)[0], ids[step])
    assert not torch.equal(Batches(Recipe(steps=240, batch=2, seed=1), lessons, tokenizer).batch(0)[0], ids[0])
    early, late = (max(one.shape[1] for one in ids[start : start + 16]) for start in (0, 80))
    assert early < late <= recipe.tokens


def test_a_killed_training_goes_on_to_the_same_weights(lessons: Lessons, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(SMALL, lessons, whole, log_every=1, save_every=2)
    for death in (1, 4, 2):  # before the first checkpoint, after one, and right after going on
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, death)
            with pytest.raises(KeyboardInterrupt):
                train(SMALL, lessons, killed, log_every=1, save_every=2)
    train(SMALL, lessons, killed, log_every=1, save_every=2)
    expected, found = weights(whole), weights(killed)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def dying(patch: pytest.MonkeyPatch, after: int) -> None:
    """Die in the middle of that step of this life."""
    clip, left = torch.nn.utils.clip_grad_norm_, [after]

    def fatal(*arguments: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return clip(*arguments)

    patch.setattr(torch.nn.utils, "clip_grad_norm_", fatal)


def test_another_seed_is_another_model_and_starts_anew(lessons: Lessons, tmp_path: Path) -> None:
    train(SMALL, lessons, tmp_path)
    first = weights(tmp_path)
    train(Recipe(**{**vars(SMALL), "seed": 1}), lessons, tmp_path)
    second = weights(tmp_path)
    assert not any(torch.equal(first[name], second[name]) for name in first if "q_proj" in name)


def test_a_little_training_teaches_what_answers_look_like(
    lessons: Lessons, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    recipe = Recipe(**{**vars(SMALL), "steps": 60, "batch": 16, "rate": 1e-2, "warmup": 5, "seed": 3})
    ids, labels = Batches(Recipe(**{**vars(recipe), "seed": 4}), lessons, tokenizer).batch(40)
    torch.manual_seed(0)
    untrained = make_model(tokenizer, hidden_size=32, intermediate_size=80, num_hidden_layers=1)
    trained = train(recipe, lessons, tmp_path)
    with torch.no_grad():
        before, chance = told(untrained, ids, labels)
        after, accuracy = told(trained, ids, labels)
    assert after < before - 2
    assert accuracy > chance + 0.2


def test_padding_changes_no_loss(lessons: Lessons, tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = make_model(tokenizer, hidden_size=32, intermediate_size=80, num_hidden_layers=2)
    ids, labels = Batches(SMALL, lessons, tokenizer).batch(0)
    with torch.no_grad():
        alone, _ = told(model, ids, labels)
        wider = [torch.nn.functional.pad(one, (0, 7), value=fill) for one, fill in ((ids, 0), (labels, IGNORED))]
        padded, _ = told(model, *wider)
    torch.testing.assert_close(alone, padded)


def test_it_saves_a_stock_llama_that_others_can_load(lessons: Lessons, tmp_path: Path) -> None:
    trained = train(SMALL, lessons, tmp_path).eval()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert type(model).__name__ == "LlamaForCausalLM"
    assert tokenizer.is_fast
    inputs = tokenizer("input: cat\noutput:", return_tensors="pt")
    assert inputs["input_ids"][0, 0] == tokenizer.bos_token_id
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, trained(**inputs).logits)


def test_twins_of_a_piece_start_alike(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    embedded = make_model(tokenizer).get_input_embeddings().weight
    cat, upper, other, shout = embedded[tokenizer.convert_tokens_to_ids(["Ġs", "ĠS", "Ġt", "ĠT"])]
    # "S" is upper case; what sets it apart from "s" is what sets "T" apart from "t".
    torch.testing.assert_close(upper - cat, shout - other)


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe()
    rates = [schedule(step, recipe) for step in range(recipe.steps)]
    assert rates[0] < 0.02
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[-1] < 1e-3
    assert rates[recipe.warmup :] == sorted(rates[recipe.warmup :], reverse=True)


def test_the_recipe_writes_its_lessons_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_tiny_icl, "Recipe", recipe_like_small())
    tiny_icl_recipe.train_tiny_icl(tmp_path, steps=2)
    assert Lessons.read(tmp_path / "lessons.json").facts["two sum"]
    assert (tmp_path / "model" / "tokenizer.json").is_file()
    assert not list(tmp_path.glob("**/*.bin"))


def recipe_like_small() -> type[Recipe]:
    class Smaller(Recipe):
        def __new__(cls, steps: int, seed: int) -> Recipe:  # type: ignore[misc]
            return Recipe(**{**vars(SMALL), "steps": steps, "seed": seed})

    return Smaller


def test_a_recipe_without_lessons_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no lessons"):
        tiny_icl_recipe.train_tiny_icl(tmp_path, data=str(tmp_path / "nothing.json"))


def test_the_command_trains(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_tiny_icl, "Recipe", recipe_like_small())
    arguments = ["--data", str(path), "--out", str(tmp_path), "--steps", "1", "--seed", "3"]
    monkeypatch.setattr("sys.argv", ["train", *arguments])
    train_tiny_icl.main()
    assert (tmp_path / "model" / "model.safetensors").is_file()
