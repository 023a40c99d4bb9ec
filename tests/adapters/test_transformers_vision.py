"""Encoders of transformers: every architecture loads, pools as it says, and is refused in a line where it cannot."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import adaptbench
import numpy as np
import pytest
import torch
from adaptbench.adapters.transformers_vision import HFVisionEncoder
from adaptbench.harness.contracts import Input
from adaptbench.harness.errors import UserError
from adaptbench.harness.hashing import image_digest
from adaptbench.harness.measure.flops import count_flops
from adaptbench.tasks.fewshot.episodes import Protocol
from adaptbench.tasks.fewshot.images import ImageSet
from adaptbench.tasks.fewshot.task import FewShot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL.Image import Image

ARCHITECTURES = (
    "vit", "vit-classifier", "deit", "beit", "beit-masked", "dinov2", "dinov2-registers", "dinov3", "clip",
    "clip-vision", "clip-projected", "siglip", "siglip-vision", "resnet", "convnext", "swin",
)  # fmt: skip
WIDTH = {"clip": 8, "clip-projected": 8}
LEADING = {
    "vit": 1, "vit-classifier": 1, "deit": 2, "beit": 1, "beit-masked": 1, "dinov2": 1, "dinov2-registers": 4,
    "dinov3": 4, "clip": 1, "clip-vision": 1, "clip-projected": 1,
}  # fmt: skip
"""Tokens before the patches: CLS, DeiT's distillation token, three registers."""
OWN_POOLER = set(ARCHITECTURES) - {"vit", "vit-classifier", "deit", "beit-masked"}


def outputs(name: str, stock: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Last hidden state and pooled vector, by the model that was saved and not by the adapter."""
    parts = {"vit-classifier": "vit", "beit-masked": "beit", "clip": "vision_model", "siglip": "vision_model"}
    with torch.no_grad():
        found = (getattr(stock, parts[name]) if name in parts else stock)(pixel_values=pixels)
        if name == "clip":
            return found.last_hidden_state, stock.visual_projection(found.pooler_output)
        pooled = found.image_embeds if name == "clip-projected" else found.pooler_output if name in OWN_POOLER else None
    return found.last_hidden_state, pooled


def expected(name: str, stock: Any, pixels: torch.Tensor, pooling: str) -> torch.Tensor:
    states, pooled = outputs(name, stock, pixels)
    if pooling == "cls":
        return states[:, 0]
    if pooling == "mean":
        return states.mean(dim=(2, 3)) if states.ndim == 4 else states[:, LEADING.get(name, 0) :].mean(dim=1)
    assert pooled is not None
    return pooled.flatten(1)


def same(one: Any, other: Any, tolerance: float = 1e-5) -> bool:
    return bool(np.allclose(np.asarray(one), np.asarray(other), atol=tolerance, rtol=tolerance))


@pytest.fixture(params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_architecture_embeds_alone_as_in_a_batch(name: str, saved: Callable, images: list[Image]) -> None:
    encoder = HFVisionEncoder(str(saved(name).folder))
    vectors = encoder.embed(images)
    assert vectors.shape == (len(images), WIDTH.get(name, 16))
    assert vectors.dtype == np.float32
    assert np.ptp(vectors, axis=0).max() > 1e-4
    assert same(np.concatenate([encoder.embed([image]) for image in images]), vectors)


def test_pooling_is_what_it_says(name: str, saved: Callable, images: list[Image]) -> None:
    checkpoint = saved(name)
    possible = {"mean"} | ({"cls"} if name in LEADING else set()) | ({"pooler"} if name in OWN_POOLER else set())
    for pooling in ("cls", "mean", "pooler"):
        encoder = HFVisionEncoder(str(checkpoint.folder), pooling=pooling)
        if pooling in possible:
            pixels = encoder.prepare(images)["pixel_values"]
            assert same(encoder.embed(images), expected(name, checkpoint.stock, pixels, pooling)), pooling
        else:
            with pytest.raises(UserError, match=f"no output for pooling={pooling}"):
                encoder.embed(images)


def test_auto_is_the_pooler_if_it_was_trained_else_the_cls_token(
    name: str, saved: Callable, images: list[Image]
) -> None:
    folder = str(saved(name).folder)
    auto, chosen = (HFVisionEncoder(folder, pooling=p) for p in ("auto", "pooler" if name in OWN_POOLER else "cls"))
    assert np.array_equal(auto.embed(images), chosen.embed(images))


def test_auto_falls_back_to_the_mean_where_there_is_neither(saved: Callable, images: list[Image]) -> None:
    encoder = HFVisionEncoder(str(saved("swin").folder))
    encoder.network.pooler = None
    states, _ = outputs("siglip-vision", encoder.network, encoder.prepare(images)["pixel_values"])
    assert same(encoder.embed(images), states.mean(dim=1))


def test_both_counters_count_every_architecture(name: str, saved: Callable, images: list[Image]) -> None:
    encoder = HFVisionEncoder(str(saved(name).folder))
    one, two = (count_flops(encoder.module, encoder.prepare(images[:n])) for n in (1, 2))
    assert two.value == 2 * one.value > 0
    assert (one.attention == "none") == (name in ("resnet", "convnext"))


def test_every_architecture_runs_by_its_spec(name: str, saved: Callable, images: list[Image], tmp_path: Path) -> None:
    inputs = [Input(image_digest(image), image.copy) for image in images]
    task = FewShot(
        ImageSet("noise", ("a", "b"), np.array([0, 0, 1, 1]), inputs),
        Protocol(ways=2, shots=1, queries=1, episodes=3),
    )
    result = adaptbench.run(f"hf:{saved(name).folder}", task, out=tmp_path / "run").results[0]
    assert result.metrics["accuracy"].n == 3
    assert result.flops is not None, result.flops_missing
    assert result.flops.value > 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["vit", "clip", "resnet"])
def test_half_precision_runs_and_is_near(kind: str, dtype: str, saved: Callable, images: list[Image]) -> None:
    whole, half = (HFVisionEncoder(str(saved(kind).folder), dtype=d) for d in ("float32", dtype))
    assert {parameter.dtype for parameter in half.module.parameters()} == {getattr(torch, dtype)}
    vectors = half.embed(images)
    assert vectors.dtype == np.float32
    assert not np.array_equal(vectors, whole.embed(images))
    assert same(vectors, whole.embed(images), 0.05)


def test_processors_are_those_of_pil_and_what_was_saved_rules(saved: Callable, images: list[Image]) -> None:
    encoder = HFVisionEncoder(str(saved("clip").folder))
    pixels = encoder.prepare(images)["pixel_values"]
    assert type(encoder._processor).__name__ == "CLIPImageProcessorPil"
    assert pixels.shape == (4, 3, 32, 32)
    white = encoder.prepare([images[0].point(lambda _: 255)])["pixel_values"]
    assert same(white[0, :, 0, 0], (1 - np.array([0.48145466, 0.4578275, 0.40821073])) / np.array(
        [0.26862954, 0.26130258, 0.27577711]
    ))  # fmt: skip


def test_loading_says_nothing(saved: Callable, capfd: pytest.CaptureFixture[str]) -> None:
    HFVisionEncoder(str(saved("clip").folder))
    assert capfd.readouterr() == ("", "")


def test_another_encoder_leaves_the_first_as_it_is(saved: Callable, images: list[Image]) -> None:
    first, second = (HFVisionEncoder(str(saved(kind).folder), pooling="mean") for kind in ("vit", "vit-classifier"))
    before = first.embed(images)
    assert np.array_equal(first.with_network(second.network).embed(images), second.embed(images))
    assert np.array_equal(first.embed(images), before)


def test_the_fingerprint_is_that_of_the_content(own: Callable) -> None:
    one, copy, other = own("vit", "one").folder, own("vit", "copy").folder, own("vit", "other", seed=1).folder
    prints = [HFVisionEncoder.fingerprint(str(folder)) for folder in (one, copy, other)]
    assert prints[0] == prints[1] != prints[2]
    (one / "README.md").write_text("more words")
    assert HFVisionEncoder.fingerprint(str(one)) == prints[0]
    config = json.loads((one / "preprocessor_config.json").read_text())
    (one / "preprocessor_config.json").write_text(json.dumps(config | {"image_mean": [0.1, 0.1, 0.1]}))
    assert HFVisionEncoder.fingerprint(str(one)) != prints[0]


def refused(path: object, **arguments: Any) -> str:
    with pytest.raises(UserError) as raised:
        HFVisionEncoder(str(path), **arguments)
    message = str(raised.value)
    assert message.startswith(f"hf:{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("argument", "value"), [("pooling", "max"), ("dtype", "int8"), ("dtype", "")])
def test_an_unknown_argument_is_refused_with_the_choice(argument: str, value: str, saved: Callable) -> None:
    message = refused(saved("vit").folder, **{argument: value})
    assert f"unknown {argument} '{value}'" in message
    assert {"pooling": "cls", "dtype": "bfloat16"}[argument] in message


@pytest.mark.parametrize("path", ["/no/such/folder", "./nothing", "~/no such thing", "a/b/c"])
def test_a_path_that_is_no_folder_is_not_looked_for_on_the_hub(path: str) -> None:
    assert "no such folder" in refused(path)


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    assert "a bert is not an image encoder" in refused(tmp_path)


@pytest.mark.parametrize("kind", ["ViTMAE", "VideoMAE", "Detr", "CLIPText"])
def test_what_gives_no_vector_of_an_image_is_refused(kind: str, tmp_path: Path) -> None:
    import transformers

    getattr(transformers, f"{kind}Config")().save_pretrained(tmp_path)
    assert "is not an image encoder" in refused(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named(file: str, own: Callable) -> None:
    folder = own("vit").folder
    (folder / file).unlink()
    assert file in refused(folder)


@pytest.mark.parametrize("content", [b"", b"x" * 100, None])
def test_spoilt_weights_are_refused(content: bytes | None, own: Callable) -> None:
    weights = own("vit").folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] if content is None else content)
    assert "its model.safetensors is cut off or spoilt" in refused(weights.parent)


def test_a_spoilt_config_is_refused(own: Callable) -> None:
    folder = own("vit").folder
    (folder / "config.json").write_text("{")
    assert "config.json" in refused(folder)


def test_pickled_weights_are_refused_and_not_opened(own: Callable) -> None:
    checkpoint = own("vit")
    (checkpoint.folder / "model.safetensors").unlink()
    torch.save(checkpoint.stock.state_dict(), checkpoint.folder / "pytorch_model.bin")
    assert "only pickled weights (pytorch_model.bin)" in refused(checkpoint.folder)


def test_weights_that_lack_a_part_are_refused(own: Callable) -> None:
    """transformers would draw the part at random."""
    from safetensors.torch import load_file, save_file

    weights = own("vit").folder / "model.safetensors"
    state = {key: value for key, value in load_file(weights).items() if "layernorm_after" not in key}
    save_file(state, weights, metadata={"format": "pt"})
    assert "its weights lack" in refused(weights.parent)


def test_code_that_comes_with_a_checkpoint_never_runs(own: Callable, tmp_path: Path) -> None:
    folder = own("vit").folder
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert "a evil is defined by code that comes with the checkpoint" in refused(folder)
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local cache and a hub that nobody answers for; sleeping, as retries do, is an error."""
    from huggingface_hub import constants

    def sleep(_seconds: float) -> None:
        raise AssertionError("it retries")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", sleep)
    return tmp_path / "hub"


@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_id_without_network_fails_at_once(offline: bool, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    message = refused("facebook/dinov2-small")
    assert "cannot download it" in message
    assert "check the hub id and the network" in message
    with pytest.raises(UserError, match="cannot download it"):
        HFVisionEncoder.fingerprint("facebook/dinov2-small")


def test_a_hub_id_is_read_from_the_cache_without_network(hub: Path, saved: Callable, images: list[Image]) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = hub / "models--somebody--tiny"
    shutil.copytree(saved("vit").folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert HFVisionEncoder.fingerprint("somebody/tiny") == f"hub:somebody/tiny@{commit}"
    cached, local = HFVisionEncoder("somebody/tiny"), HFVisionEncoder(str(saved("vit").folder))
    assert np.array_equal(cached.embed(images), local.embed(images))
