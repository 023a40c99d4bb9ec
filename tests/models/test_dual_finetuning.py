"""Finetuning models of images and texts: each recipe trains, and what it wrote answers as it was validated."""

from __future__ import annotations

import json
from pathlib import Path

import adaptbench
import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.transformers_dual import HFDualEncoder
from adaptbench.harness.errors import UserError
from adaptbench.harness.specs import parse_call
from adaptbench.models.finetuning import dual_recipes
from adaptbench.models.finetuning.cocoop import Prompts, Scorer, new_context
from adaptbench.models.finetuning.contrastive import contrastive_loss
from adaptbench.models.finetuning.named_classes import Classes, among_classes, centroids
from adaptbench.models.finetuning.sources import Shape
from PIL import Image
from safetensors.torch import load_file

pytestmark = pytest.mark.usefixtures("one_thread", "without_collection")

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "cyan": (0, 1, 1)}
TEMPLATES = 'templates="a photo of a {} | the {}."'
ASKED = {"tasks": 10, "epochs": 4, "ways": 5, "optimizer": "adamw", "rate": 0.005, "threads": 1, "save_every": 100}
OWN = {"cocoop": {"rate": 0.02, "warmup": 0.1}}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Spec of a zero-shot task: noise around a colour."""
    return drawn(tmp_path_factory.mktemp("colours"), 5)


@pytest.fixture(scope="module")
def val(tmp_path_factory):
    """Spec of another one, of fewer images."""
    return drawn(tmp_path_factory.mktemp("others"), 3)


def drawn(folder, count):
    rng = np.random.default_rng(count)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(count):
            pixels = 150 * np.array(colour) + rng.integers(0, 100, (16, 16, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return f'zero-shot-image-folder:"{folder}"({TEMPLATES})'


@pytest.fixture(scope="module")
def trained(duals, task, val, tmp_path_factory):
    """Family, recipe -> the folder of its training, and what was asked."""
    done = {}

    def get(family, name):
        if (family, name) not in done:
            out = tmp_path_factory.mktemp("trained") / name
            given = {"base": f'hf-dual:"{duals(family)}"', "source": task, "val": val, **ASKED, **OWN.get(name, {})}
            getattr(dual_recipes, name.replace("-", "_"))(out, **given)
            done[family, name] = out, given
        return done[family, name]

    return get


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("clip", "locked-text-ft"),
        ("clip", "contrastive-ft"),
        ("clip", "cocoop"),
        ("siglip", "contrastive-ft"),
    ],
)
def test_it_learns_and_answers_as_it_was_validated(duals, trained, val, tmp_path, family, name):
    out, _ = trained(family, name)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses, scores = ([line[of] for line in log if of in line] for of in ("loss", "score"))
    assert losses[-1] < 0.9 * losses[0]
    assert max(scores) > 0.5  # by chance 0.2
    spec = f'hf-dual:"{duals(family)}"+{name}(checkpoint="{out}/model")'
    done = adaptbench.run([spec], [val], out=tmp_path / "run")
    assert done.results[0].metrics["accuracy"].value == pytest.approx(max(scores))
    assert done.results[0].flops.value > 0


def test_what_it_is_validated_on_belongs_to_the_training(trained, task, val):
    out, asked = trained("clip", "locked-text-ft")
    assert list(json.loads((out / "tasks.json").read_text())) == sorted([task, val])
    added = Path(parse_call(val).target) / "red" / "9.png"
    Image.new("RGB", (16, 16)).save(added)
    try:
        with pytest.raises(UserError, match="another training is there, with zero-shot-image-folder"):
            dual_recipes.locked_text_ft(out, **asked)
    finally:
        added.unlink()


def test_locked_texts_stay(duals, trained):
    model = HFDualEncoder(str(duals("clip")))
    learned = load_file(trained("clip", "locked-text-ft")[0] / "model" / "model.safetensors")
    assert all(name.startswith(("vision_model.", "visual_projection.")) for name in learned)
    assert learned.keys() == {
        name for name, _ in model.network.named_parameters() if name.startswith(("vision_model.", "visual_projection."))
    }


def test_the_contrastive_losses_are_those_of_transformers(duals, images):
    for family, loss in (("clip", "softmax"), ("siglip", "sigmoid")):
        model = HFDualEncoder(str(duals(family)))
        tokens = model.tokenise(["a red", "a green", "the blue", "a cyan"])
        with torch.no_grad():
            stock = model.network(**tokens, **model.prepare(images), return_loss=True)
            bias = getattr(model.network, "logit_bias", None)
            logits = stock.logits_per_image - (0 if bias is None else bias)
            found = contrastive_loss(logits[None], torch.arange(4)[None], bias, loss)
        assert found == pytest.approx(float(stock.loss), rel=1e-5)


def test_images_of_one_class_share_its_text():
    logits = torch.tensor([[[9.0, 9.0, 0.0], [9.0, 9.0, 0.0], [0.0, 0.0, 9.0]]])
    together = contrastive_loss(logits, torch.tensor([[0, 0, 1]]))
    assert together == pytest.approx(2 / 3 * np.log(2), abs=1e-3)
    assert together < contrastive_loss(logits, torch.tensor([[0, 1, 2]])) + 1e-6


def test_an_image_is_classified_among_the_classes_of_its_task():
    shape = Shape(ways=2, shots=0, queries=2)
    labels = torch.tensor([3, 3, 1, 1, 0, 0, 3, 3])
    cosines = torch.arange(32.0).view(8, 4)
    kept, ways = among_classes(cosines, labels, shape)
    assert kept.tolist() == [[cosines[row, 3 if row < 4 else 0], cosines[row, 1 if row < 4 else 3]] for row in range(8)]
    assert ways.tolist() == [0, 0, 1, 1] * 2


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_new_context_without_its_net_is_the_words_it_began_as(duals, images, family):
    model, names = HFDualEncoder(str(duals(family))), ("red", "green", "blue")
    context = new_context(model, "a photo of a", 0)
    assert len(context.vectors) == 4
    scorer = Scorer(model, context, Prompts(model, "a photo of a", names))
    with torch.no_grad():
        shifted = scorer(**model.prepare(images))
        torch.nn.init.zeros_(context.net[2].weight)
        torch.nn.init.zeros_(context.net[2].bias)
        plain = scorer(**model.prepare(images))
    seen = torch.nn.functional.normalize(torch.from_numpy(model.embed(images)), dim=-1)
    expected = seen @ centroids(model, Classes(names, ("a photo of a {}.",))).T
    assert torch.allclose(plain, expected, atol=1e-5)
    assert not torch.allclose(shifted, expected, atol=1e-5)


def test_what_does_not_fit_is_refused(duals, saved_vit, trained, task, tmp_path):
    clip, vit = f'hf-dual:"{duals("clip")}"', f'hf:"{saved_vit}"'
    few_shot = task.replace("zero-shot-", "").replace(f"({TEMPLATES})", "")

    def refused(message, name="locked-text-ft", **changed):
        given = {"base": clip, "source": task, **ASKED} | changed
        with pytest.raises(UserError, match=message):
            getattr(dual_recipes, name.replace("-", "_"))(tmp_path / "out", **given)

    refused("it embeds no texts; name a CLIP or a SigLIP", base=vit)
    refused("its classes have no names for prompts; write zero-shot-image-folder", source=f"{few_shot}(shots=1)")
    refused("ask for shots=1 or more, or name a zero-shot task", source=few_shot)
    refused("unknown argument 'shots'", shots=1)
    refused("only 5 classes", ways=6)
    refused("its tokens are others before a name; choose other words", "cocoop", context="")
    model = trained("clip", "locked-text-ft")[0] / "model"
    for spec, message in (
        (f'{clip}+cocoop(checkpoint="{model}")', "is of locked-text-ft; write locked-text-ft instead"),
        (f'hf-dual:"{duals("siglip")}"+locked-text-ft(checkpoint="{model}")', "was trained from other weights"),
        (f"{clip}+locked-text-ft", "it needs a checkpoint; train one: adaptbench train locked-text-ft"),
    ):
        with pytest.raises(UserError, match=message):
            adaptbench.run([spec], [task], out=tmp_path / "run")


@pytest.fixture(scope="module")
def saved_vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    hf.ViTModel(hf.ViTConfig(**sizes, image_size=16, patch_size=8)).save_pretrained(folder)
    hf.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)) for _ in range(4)]
