"""The recipe of tiny-llava: what it teaches, that it resumes exactly, and that what it writes is a stock LLaVA."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from adaptbench.models.reference import train_tiny_llava
from adaptbench.models.reference.tiny_llava_batches import IGNORED, Conversations, Speech, drawn
from adaptbench.models.reference.tiny_llava_parts import (
    IMAGE,
    PATCHES,
    SYSTEM,
    make_model,
    make_processor,
    make_tokenizer,
)
from adaptbench.models.reference.train_tiny_llava import Recipe, Stage, Trainee, train
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoProcessor, LlavaForConditionalGeneration

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SUFFIX = "\nAnswer the question using a single word or phrase."
CLASSES = {"content": ["empty", "dark", "bright"], "row": ["1", "2"]}
ANSWERS = {"How dark is it?": "very dark", "Is it dark?": "yes", "Is it bright?": "no"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Conversations:
    """Eight images of 2 x 2 cells, in LLaVA's format."""
    folder = tmp_path_factory.mktemp("data")
    captions, questions = [], []
    for number in range(8):
        pixels = np.full((96, 96, 3), 20 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        head = {"id": str(number), "image": f"{number}.png", "cells": [[number % 3, cell // 2] for cell in range(4)]}
        captions.append({**head, "conversations": said([("Describe the image.", f"row 1: grey {number}.")])})
        questions.append({**head, "conversations": said([(text + SUFFIX, ANSWERS[text]) for text in ANSWERS])})
    for name, content in (("pretrain", captions), ("instruct", questions), ("classes", CLASSES)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Conversations(folder)


def said(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    turns = []
    for number, (message, reply) in enumerate(pairs):
        turns.append({"from": "human", "value": message if number else f"{IMAGE}\n{message}"})
        turns.append({"from": "gpt", "value": reply})
    return turns


@pytest.fixture(scope="module")
def tokenizer(data: Conversations) -> PreTrainedTokenizerFast:
    return make_tokenizer(data.texts())


def short(seed: int = 0) -> Recipe:
    made = Recipe(seed=seed, turns=2, together=2, layers=1)
    stages = {name: replace(stage, steps=3, batch=4, warmup=1) for name, stage in made.stages().items()}
    return replace(made, **stages)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def test_a_killed_training_goes_on_to_the_same_weights(data: Conversations, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(short(), data, whole, log_every=1, save_every=2)
    for death in (1, 3, 2, 3):  # before and after a checkpoint, at the start and the end of a stage
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, death)
            with pytest.raises(KeyboardInterrupt):
                train(short(), data, killed, log_every=1, save_every=2)
    train(short(), data, killed, log_every=1, save_every=2)
    expected, found = weights(whole), weights(killed)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def dying(patch: pytest.MonkeyPatch, after: int) -> None:
    """Die in the middle of that step of this life."""
    clip, left = torch.nn.utils.clip_grad_norm_, [after]

    def fatal(*arguments: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return clip(*arguments)

    patch.setattr(torch.nn.utils, "clip_grad_norm_", fatal)


def test_another_seed_is_another_model_and_starts_anew(data: Conversations, tmp_path: Path) -> None:
    train(short(), data, tmp_path / "run")
    first = weights(tmp_path / "run")
    train(short(seed=1), data, tmp_path / "run")
    second = weights(tmp_path / "run")
    assert not any(torch.equal(first[name], second[name]) for name in first if "q_proj.weight" in name)


def test_each_stage_trains_its_own_part(data: Conversations, tokenizer: PreTrainedTokenizerFast) -> None:
    trainee = Trainee(make_model(tokenizer), CLASSES)
    learning = {}
    for name, stage in Recipe().stages().items():
        trainee.train_only(stage.trained)
        learning[name] = {
            name.removeprefix("model.model.").split(".")[0]
            for name, weight in trainee.named_parameters()
            if weight.requires_grad
        }
    assert learning["tower"] == {"vision_tower", "heads"}
    assert learning["captions"] == learning["questions"] == {"multi_modal_projector", "language_model", "model"}


def test_the_log_tells_every_stage_and_its_losses_fall(data: Conversations, tmp_path: Path) -> None:
    longer = replace(short(), tower=Stage(12, 8, 1e-3, 1, Recipe().tower.trained))
    train(longer, data, tmp_path, log_every=1)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["tower"] * 12 + ["captions"] * 3 + ["questions"] * 3
    assert lines[11]["loss"] < lines[0]["loss"]
    assert all(0 <= line["accuracy"] <= 1 for line in lines)


def test_the_heads_see_what_a_cell_holds(data: Conversations, tokenizer: PreTrainedTokenizerFast) -> None:
    """A head that says for every patch what its cell holds, and nothing else, is always right."""
    heads = Trainee(make_model(tokenizer), CLASSES).heads
    cells = torch.tensor([[[0, 0], [1, 0], [2, 1], [0, 1]]])
    patches = torch.zeros(1, 8, 8, 5)
    for cell, (content, row) in enumerate(cells[0].tolist()):
        y, x = cell // 2 * 4, cell % 2 * 4
        patches[0, y : y + 4, x : x + 4, content] = 50
        patches[0, y : y + 4, x : x + 4, 3 + row] = 50
    heads.patch, heads.scene = torch.nn.Identity(), torch.nn.Identity()
    right = heads(patches.flatten(1, 2), torch.full((1, 5), 50.0), cells)
    assert right["accuracy"] == 1
    assert right["loss"] < 1e-5
    wrong = heads(patches.flatten(1, 2), torch.tensor([[50.0, 50, -50, 50, 50]]), cells)
    assert wrong["loss"] > 10


def test_questions_asked_apart_are_answered_as_if_each_were_alone(
    data: Conversations, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = make_model(tokenizer).eval()
    record = data.questions[3]
    pixels = data.pixels([record])
    processor = make_processor(tokenizer)
    batch = Speech(tokenizer, turns=3).batch([record], np.random.default_rng(0), together=False)
    labels = batch.pop("labels")
    with torch.no_grad():
        together = model(pixel_values=pixels, **batch).logits[0]
    image = Image.open(data.folder / record["image"])
    seen = 0
    for text, answer in ANSWERS.items():
        prompt = f"{SYSTEM} USER: {IMAGE}\n{text}{SUFFIX} ASSISTANT: {answer}</s>"
        alone = processor(images=image, text=prompt, return_tensors="pt")
        assert torch.allclose(alone["pixel_values"], pixels, atol=1e-5)
        with torch.no_grad():
            logits = model(**alone).logits[0]
        ids = alone["input_ids"][0].tolist()
        question = ids[ids.index(tokenizer.convert_tokens_to_ids("\n")) + 1 :]
        place = next(
            i for i in range(len(labels[0])) if batch["input_ids"][0, i : i + len(question)].tolist() == question
        )
        torch.testing.assert_close(
            together[place : place + len(question)], logits[-len(question) :], atol=1e-4, rtol=1e-4
        )
        answered = labels[0, place : place + len(question)]
        assert tokenizer.decode(answered[answered != IGNORED]) == f"{answer} </s>"
        seen += int((answered != IGNORED).sum())
    assert seen == (labels != IGNORED).sum()


def test_a_conversation_reads_as_the_chat_template_writes_it(
    data: Conversations, tokenizer: PreTrainedTokenizerFast
) -> None:
    batch = Speech(tokenizer, turns=3).batch([data.questions[0]], np.random.default_rng(1), together=True)
    length = batch["input_ids"].shape[1]
    assert batch["position_ids"][0].tolist() == list(range(length))
    assert torch.equal(batch["attention_mask"][0, 0], torch.ones(length, length, dtype=torch.bool).tril())
    decoded = tokenizer.decode(batch["input_ids"][0])
    texts = sorted(ANSWERS, key=lambda text: decoded.index(text.removesuffix("?")))
    messages = []
    for number, text in enumerate(texts):
        images = [] if number else [{"type": "image"}]
        messages.append({"role": "user", "content": [*images, {"type": "text", "text": text + SUFFIX}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": ANSWERS[text]}]})
    written = make_processor(tokenizer).apply_chat_template(messages)
    ids = tokenizer(written.replace(IMAGE, IMAGE * PATCHES))["input_ids"]
    assert batch["input_ids"][0].tolist() == ids


def test_the_chat_template_ends_where_the_answer_begins(tokenizer: PreTrainedTokenizerFast) -> None:
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": f"Is it dark?{SUFFIX}"}]}]
    written = make_processor(tokenizer).apply_chat_template(message, add_generation_prompt=True)
    assert written == f"{SYSTEM} USER: {IMAGE}\nIs it dark?{SUFFIX} ASSISTANT:"


def test_every_record_is_drawn_once_an_epoch() -> None:
    for epoch in range(2):
        found = [record for step in range(5) for record in drawn(range(10), 2, 5 * epoch + step, [0])[0]]
        assert sorted(found) == list(range(10))
    assert drawn(range(10), 2, 0, [0])[0] != drawn(range(10), 2, 5, [0])[0]


def test_it_saves_a_stock_llava_that_others_can_load(data: Conversations, tmp_path: Path) -> None:
    trained = train(short(), data, tmp_path).eval()
    model = LlavaForConditionalGeneration.from_pretrained(tmp_path / "model").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    assert model.config.vision_feature_layer == -2
    asked = f"{SYSTEM} USER: {IMAGE}\nIs it dark?{SUFFIX} ASSISTANT:"
    inputs = processor(images=Image.open(data.folder / "2.png"), text=asked, return_tensors="pt")
    assert (inputs["input_ids"] == model.config.image_token_index).sum() == PATCHES >= 64
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, trained(**inputs).logits)
    said = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert said.shape[1] > inputs["input_ids"].shape[1]


def test_the_command_trains(data: Conversations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_tiny_llava, "Recipe", short)
    monkeypatch.setattr("sys.argv", ["train", "--data", str(data.folder), "--out", str(tmp_path), "--seed", "3"])
    train_tiny_llava.main()
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert not list(tmp_path.glob("**/*.bin"))


def test_words_start_as_loud_as_patches_and_blocks_do_not_drown_them(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = make_model(tokenizer).eval()
    words = model.get_input_embeddings().weight.detach()
    assert words.std() == pytest.approx(1, abs=0.05)
    with torch.no_grad():
        states = model.model.language_model(inputs_embeds=words[None, 1:30], output_hidden_states=True).hidden_states
    assert torch.nn.functional.cosine_similarity(states[0], states[-2], dim=-1).min() > 0.3
