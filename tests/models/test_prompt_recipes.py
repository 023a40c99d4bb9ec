"""Prompt-based finetuning: what is drawn, what learns, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import adaptbench
import numpy as np
import pytest
import torch
from adaptbench.harness.contracts import MaskedPrompt, Piece
from adaptbench.harness.errors import UserError
from adaptbench.harness.specs import parse
from adaptbench.harness.suites import load_suite
from adaptbench.models.finetuning import methods
from adaptbench.models.finetuning.lora import Lora
from adaptbench.models.finetuning.masked import Draws, Masked, Shown, padded
from adaptbench.models.finetuning.prompt_recipes import multitask_prompt_ft, prompt_ft
from adaptbench.models.finetuning.sources import value
from adaptbench.models.reference.tiny_mlm import tiny_mlm
from adaptbench.tasks.builtin import SUITES
from adaptbench.tasks.prompting.task import Example, PromptTask, Verbalised, prompt_card
from adaptbench.tasks.prompting.words_tasks import HELD_OUT
from safetensors.torch import load_file

pytestmark = pytest.mark.usefixtures("one_thread", "without_collection")

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


def test_an_adapter_is_trained_alone_and_has_a_cost_of_its_own(tmp_path, model):
    asked = {**QUICK, "rate": 0.1, "learns": "", "lora_r": 2, "lora_targets": "query/value", "source": "words-shop"}
    prompt_ft(tmp_path / "out", **asked)
    folder = tmp_path / "out" / "model"
    assert {file.name for file in folder.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json"}
    assert not (folder / "model.safetensors").exists()
    live = Lora(checkpoint=str(folder), merged=False).apply(model)
    tuned = methods.prompt_ft(checkpoint=str(folder)).apply(model)
    own, merged, beside = (one.filled(PROMPTS) for one in (model, tuned, live))
    width, layers = model.network.config.hidden_size, model.network.config.num_hidden_layers
    for before, one, other in zip(own, merged, beside, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
        assert not np.allclose(one.logits, before.logits, atol=1e-3)
        assert one.cost.flops == before.cost.flops
        each = 2 * 2 * (width + width) * 2 * layers  # 2 r (in + out), queries and values
        assert other.cost.flops - before.cost.flops == each * before.cost.text_tokens
    again = {**asked, "base": f'tiny-mlm+prompt-ft(checkpoint="{folder}")', "lora_r": 0}
    prompt_ft(tmp_path / "again", **again)
    assert methods.prompt_ft(checkpoint=str(tmp_path / "again" / "model")).apply(tuned).filled(PROMPTS) != merged


def test_a_task_is_compared_by_its_own_metric():
    """Of six examples with logits for their classes, by accuracy, F1 of the last class and Matthews' correlation."""
    right, said = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]
    outputs = [[1.0, 0.0] if label == 0 else [0.0, 1.0] for label in said]
    examples = [Example(str(place), ("The soup.",), label) for place, label in enumerate(right)]
    asked = Verbalised("{s1} It was {mask}.", ("terrible", "great"))
    found = {
        measure: value(PromptTask(lambda: examples, asked, prompt_card("", measure)), outputs)
        for measure in ("accuracy", "f1", "matthews")
    }
    assert found == pytest.approx({"accuracy": 3 / 6, "f1": 2 / 5, "matthews": 0})


def test_development_scores_are_those_of_the_metric_and_other_data_is_refused(tmp_path):
    rows = [{"sentence1": "The soup was fresh.", "sentence2": f"The {what} was dull.", "label": what != "film"}
            for what in ("film", "soup", "soup")] * 4  # fmt: skip
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps({**row, "label": int(row["label"])}) + "\n" for row in rows))
    asked = {**QUICK, "source": f'prompt-mrpc(data="{tmp_path}")', "save_every": 1}
    prompt_ft(tmp_path / "out", **asked)
    spec = f'tiny-mlm+prompt-ft(checkpoint="{tmp_path}/out/model")'
    done = adaptbench.run(spec, f'prompt-mrpc(data="{tmp_path}",part=dev,k=2)', out=tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    metrics = {name: metric.value for name, metric in done.results[0].metrics.items()}
    assert max(line["score"] for line in log if "score" in line) == pytest.approx(metrics["f1"])
    assert metrics["f1"] != pytest.approx(metrics["accuracy"])
    file.write_text(file.read_text().replace("soup", "film"))
    with pytest.raises(UserError, match="another training is there, with prompt-mrpc"):
        prompt_ft(tmp_path / "out", **asked)


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
        ({"lora_r": 2}, "an adapter learns alone; leave learns or lora_r out"),
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
    assert sum(part.numel() for part in tiny_mlm().network.parameters()) < 500_000
    assert all(torch.isfinite(part).all() for part in tiny_mlm().network.parameters())


def test_tiny_mlm_reads_texts_with_some_words_masked_or_the_marked_one():
    from adaptbench.models.reference.train_tiny_mlm import Recipe, batches, make_tokenizer, plain

    texts = ["The soup was fresh. It was <great>.", "Tom ate the cake. [So] he is not hungry any more."] * 40
    tokenizer = make_tokenizer([plain(text) for text in texts])
    for mark, word in (("[", "so"), ("<", "great")):
        batch = batches(Recipe(), texts, tokenizer, mark, 1)[0]
        hidden = batch["labels"] != -100
        assert hidden.sum(dim=1).tolist() == [1] * len(hidden)
        assert set(batch["labels"][hidden].tolist()) == {tokenizer.convert_tokens_to_ids(word)}
        assert set(batch["input_ids"][hidden].tolist()) == {tokenizer.mask_token_id}
    batch = batches(Recipe(), texts, tokenizer, "", 1)[0]
    hidden, read = batch["labels"] != -100, batch["attention_mask"] == 1
    assert not (hidden & ~read).any()
    assert 0.15 < hidden.sum() / read.sum() < 0.4


def test_what_the_suite_names_ships_and_fits(model):
    suite = load_suite(SUITES / "fewshot-words.yaml")
    named = {(call.name, dict(call.args)["checkpoint"]) for text in suite.models for call in parse(text).methods}
    shipped = {(method, name) for method, names in tiny_mlm.checkpoints.items() for name in names if name != "auto"}
    assert named == shipped
    multitask = methods.multitask_prompt_ft(checkpoint="seed13-all").for_base(tiny_mlm).apply(model)
    tuned = methods.prompt_ft(checkpoint="seed13-states-all").for_base(tiny_mlm).apply(multitask)
    assert len({tuple(map(tuple, one.fill_mask(PROMPTS))) for one in (model, multitask, tuned)}) == 3
    assert suite.only == {f"*-{target}*": f"words-{target}" for target in HELD_OUT}
    for method, name in shipped:
        recipe = json.loads((Path(tiny_mlm.checkpoints[method][name]) / "recipe.json").read_text())
        assert name.startswith(f"seed{recipe['seed']}-")
