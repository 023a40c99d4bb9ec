"""Prompt-based finetuning: what is drawn, what learns, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from adaptbench.harness.contracts import MaskedPrompt, Piece
from adaptbench.harness.errors import UserError
from adaptbench.harness.specs import parse
from adaptbench.harness.suites import load_suite
from adaptbench.models.finetuning import methods
from adaptbench.models.finetuning.masked import Draws, Masked, Shown, padded
from adaptbench.models.finetuning.prompt_recipes import multitask_prompt_ft, prompt_ft
from adaptbench.models.reference.tiny_mlm import tiny_mlm
from adaptbench.tasks.builtin import SUITES
from safetensors.torch import load_file

PROMPTS = [
    MaskedPrompt((Piece("The soup was fresh."), Piece(" It was")), (Piece("."),), ("terrible", "great")),
    MaskedPrompt((), (Piece(":"), Piece(" The film was dull yesterday.")), ("Before", "Now", "Later")),
]
QUICK = {"base": "tiny-mlm", "k": 2, "steps": 2, "rate": 0.01, "learns": "bias/LayerNorm", "seed": 13}


@pytest.fixture(scope="module")
def model():
    return tiny_mlm()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("prompt-ft") / "out"
    prompt_ft(out, source="words-shop", **QUICK)
    return out


def test_the_loss_is_that_of_the_label_words_alone(model):
    batch = padded(model, [Shown(model.encode(prompt), 1) for prompt in PROMPTS])
    assert batch["words"][0, 2] == -1
    loss = Masked(model.module)(**batch)["loss"].item()
    logits = [np.array(row) for row in model.fill_mask(PROMPTS)]
    assert loss == pytest.approx(np.mean([np.log(np.exp(row).sum()) - row[1] for row in logits]), abs=1e-4)


def test_draws_depend_on_their_number_alone_and_an_epoch_sees_each_example_once(model):
    shown = [[Shown(model.encode(PROMPTS[0]), label) for label in (0, 1)], [Shown(model.encode(PROMPTS[1]), 2)] * 3]
    turns = Draws(model, shown, 5, 2, seed=1, epochs=True)
    labels = [turns[number]["labels"].tolist() for number in (3, 1, 0, 2, 4)]
    assert labels == [
        Draws(model, shown, 9, 2, seed=1, epochs=True)[number]["labels"].tolist() for number in (3, 1, 0, 2, 4)
    ]
    in_order = [label for number in range(5) for label in turns[number]["labels"].tolist()]
    assert sorted(in_order[:5]) == sorted(in_order[5:]) == [0, 1, 2, 2, 2]
    drawn = Draws(model, shown, 1, 600, seed=1, epochs=False)[0]["labels"]
    assert 240 < int((drawn == 2).sum()) < 360  # a task is drawn, then one of its examples


def test_a_training_leaves_a_checkpoint_of_what_learns(trained, model):
    weights = load_file(trained / "model" / "model.safetensors")
    assert weights
    assert all("bias" in name or "LayerNorm" in name for name in weights)
    tuned = methods.prompt_ft(checkpoint=str(trained / "model")).apply(model)
    assert tuned.fill_mask(PROMPTS) != model.fill_mask(PROMPTS)
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "score" in line] == [2]
    assert (
        json.loads((trained / "model" / "adaptation.json").read_text())["budget"]
        == "4 examples, 2 steps of 2 = 4 examples seen"
    )


def test_the_same_command_is_done_and_another_one_refused(trained):
    before = (trained / "model" / "model.safetensors").stat().st_mtime_ns
    prompt_ft(trained, source="words-shop", **QUICK)
    assert (trained / "model" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another training is there"):
        prompt_ft(trained, source="words-shop", **{**QUICK, "k": 4})


def test_sources_are_selected_for_a_target_and_the_result_can_be_finetuned(tmp_path, model, capsys):
    source = "words-food; words-entailment; words-film"
    multitask_prompt_ft(tmp_path, source=source, target="words-shop", **{**QUICK, "k": 8})
    found = json.loads((tmp_path / "selection.json").read_text())
    assert sorted(one["source"] for one in found["sources"]) == sorted(source.split("; "))
    assert [one["similarity"] for one in found["sources"]] == sorted(
        (one["similarity"] for one in found["sources"]), reverse=True
    )
    assert f"selected for words-shop: {found['sources'][0]['source']}" in capsys.readouterr().err
    shown = 16 * found["selected"] + 8 * any(
        one["source"] == "words-entailment" for one in found["sources"][: found["selected"]]
    )
    assert json.loads((tmp_path / "model" / "adaptation.json").read_text())["budget"].startswith(f"{shown} examples")
    tuned = methods.multitask_prompt_ft(checkpoint=str(tmp_path / "model")).apply(model)
    assert tuned.fill_mask(PROMPTS) != model.fill_mask(PROMPTS)
    with pytest.raises(UserError, match="is of multitask-prompt-ft"):
        methods.prompt_ft(checkpoint=str(tmp_path / "model")).apply(model)
    with pytest.raises(UserError, match="was trained from other weights"):
        methods.multitask_prompt_ft(checkpoint=str(tmp_path / "model")).apply(tuned)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"base": "pixels"}, "it fills no masks"),
        ({"source": "digits-5way-1shot"}, "it has no samples for prompt-based finetuning"),
        ({"source": "words-food; words-food"}, "a source is given twice"),
        ({"learns": "biass"}, "no parameter has 'biass' in its name"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"step": 3}, "unknown argument 'step'"),
        ({"k": 101}, "class . has 200 rows, and 202 are needed"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_line(asked, message, tmp_path):
    with pytest.raises(UserError, match=message):
        prompt_ft(tmp_path, **{"source": "words-shop", **QUICK, **asked})


def test_the_shipped_model_is_a_whole_checkpoint_of_its_recipe():
    from adaptbench.models.reference.tiny_mlm import WEIGHTS
    from adaptbench.models.reference.train_tiny_mlm import Recipe

    config = json.loads((Path(WEIGHTS) / "config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"]) == (Recipe.layers, Recipe.width)
    assert sum(part.numel() for part in tiny_mlm().network.parameters()) < 400_000
    assert all(torch.isfinite(part).all() for part in tiny_mlm().network.parameters())


def test_what_the_suite_names_ships_and_fits(model):
    suite = load_suite(SUITES / "fewshot-words.yaml")
    named = {(call.name, dict(call.args)["checkpoint"]) for text in suite.models for call in parse(text).methods}
    shipped = {(method, name) for method, names in tiny_mlm.checkpoints.items() for name in names if name != "auto"}
    assert named == shipped
    multitask = methods.multitask_prompt_ft(checkpoint="seed13-all").for_base(tiny_mlm).apply(model)
    tuned = methods.prompt_ft(checkpoint="seed13-states-all").for_base(tiny_mlm).apply(multitask)
    assert len({tuple(map(tuple, one.fill_mask(PROMPTS))) for one in (model, multitask, tuned)}) == 3
    for method, name in shipped:
        recipe = json.loads((Path(tiny_mlm.checkpoints[method][name]) / "recipe.json").read_text())
        assert name.startswith(f"seed{recipe['seed']}-")
