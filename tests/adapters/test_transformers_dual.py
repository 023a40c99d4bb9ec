"""Any transformers model of images and texts, against what transformers computes itself."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.transformers_dual import HFDualEncoder
from adaptbench.adapters.transformers_vision import HFVisionEncoder
from adaptbench.harness.contracts import DualEncoder, Embedder
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.flops import count_flops
from adaptbench.tasks.fewshot.prompt_templates import CLIP

TEXTS = [template.replace("{}", name) for name in ("red", "green", "cyan") for template in CLIP]


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_it_embeds_as_transformers_does(duals, images, family):
    folder = duals(family)
    model, stock = HFDualEncoder(str(folder)), hf.AutoModel.from_pretrained(folder).eval()
    padding = {"padding": "max_length", "max_length": 16} if family == "siglip" else {"padding": True}
    encoded = hf.AutoTokenizer.from_pretrained(folder)(TEXTS, return_tensors="pt", **padding)
    pixels = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")(images=images, return_tensors="pt")
    given = {"input_ids": encoded["input_ids"]} | ({} if family == "siglip" else dict(encoded))
    with torch.no_grad():
        logits = stock(**given, **pixels).logits_per_image
    seen, read = (torch.from_numpy(v) for v in (model.embed(images), model.embed_texts(TEXTS)))
    assert isinstance(model, Embedder)
    assert isinstance(model, DualEncoder)
    cosines = torch.nn.functional.normalize(seen) @ torch.nn.functional.normalize(read).T
    assert torch.allclose(cosines * stock.logit_scale.exp() + getattr(stock, "logit_bias", 0), logits, atol=1e-4)
    assert (cosines.argmax(1) == logits.argmax(1)).all()


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_vector_does_not_depend_on_its_batch(duals, images, family):
    model = HFDualEncoder(str(duals(family)))
    alone = np.concatenate([model.embed_texts([text]) for text in TEXTS])
    assert np.allclose(alone, model.embed_texts(TEXTS), atol=1e-6)
    assert np.allclose(np.concatenate([model.embed([i]) for i in images]), model.embed(images), atol=1e-6)


def test_a_text_that_is_too_long_is_cut_off(duals):
    model = HFDualEncoder(str(duals("clip")))
    assert model.tokenise(["red " * 100])["input_ids"].shape == (1, 16)
    assert np.isfinite(model.embed_texts(["red " * 100, ""])).all()


def test_of_images_it_is_the_encoder_that_hf_loads(duals, images):
    both, alone = HFDualEncoder(str(duals("clip"))), HFVisionEncoder(str(duals("clip")))
    assert np.array_equal(both.embed(images), alone.embed(images))
    counted = [count_flops(m.module, m.prepare(images[:1]), waive=()).stored().value for m in (both, alone)]
    assert counted[0] == counted[1]


def test_another_network_leaves_it_as_it_was(duals, images):
    model = HFDualEncoder(str(duals("clip")))
    before = model.embed(images)
    other = hf.AutoModel.from_pretrained(duals("clip"))
    torch.nn.init.zeros_(other.visual_projection.weight)
    changed = model.with_network(other)
    assert not changed.embed(images).any()
    assert (changed.embed_texts(TEXTS) == model.embed_texts(TEXTS)).all()
    assert (model.embed(images) == before).all()


def test_its_fingerprint_is_that_of_its_weights_and_of_its_tokenizer(duals, tmp_path):
    shutil.copytree(duals("clip"), tmp_path / "copy")
    first = HFDualEncoder.fingerprint(str(duals("clip")))
    assert HFDualEncoder.fingerprint(str(tmp_path / "copy")) == first
    content = json.loads((tmp_path / "copy" / "tokenizer.json").read_text())
    (tmp_path / "copy" / "tokenizer.json").write_text(json.dumps(content))
    assert HFDualEncoder.fingerprint(str(tmp_path / "copy")) != first


def test_what_is_no_such_model_is_refused(saved, language, duals, tmp_path):
    for folder in (saved("vit").folder, language("llama")):
        with pytest.raises(UserError, match="does not embed images and texts in one space; name a CLIP"):
            HFDualEncoder(str(folder))
    with pytest.raises(UserError, match="unknown dtype 'int8'; choose from float32"):
        HFDualEncoder(str(duals("clip")), dtype="int8")
    with pytest.raises(UserError, match="there is no such folder"):
        HFDualEncoder(str(tmp_path / "none"))
    shutil.copytree(duals("clip"), tmp_path / "untold", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(UserError, match="tokenizer"):
        HFDualEncoder(str(tmp_path / "untold"))
    shutil.copytree(duals("clip"), tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"hf:.*pickled"):
        HFDualEncoder(str(tmp_path / "pickled"))
