"""The finetuning recipes: what they compute, what they write, and that a finetuned model is a base with a method."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import adaptbench
import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.transformers_vision import HFVisionEncoder
from adaptbench.harness.errors import MissingArgument, UserError
from adaptbench.harness.measure.timing import TooShort
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.finetuning import checkpoints, methods, recipes
from adaptbench.models.finetuning.batches import Budget, Steps
from adaptbench.models.finetuning.maml import Maml
from adaptbench.models.finetuning.multitask import Multitask
from adaptbench.models.finetuning.sources import Images, Shape, Tasks, Validation, read
from adaptbench.models.finetuning.standard import Standard
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity, cross_entropy
from transformers.utils import logging

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread", "without_collection")

RECIPES: dict[str, Callable[..., None]] = {
    "multitask-ft": recipes.multitask_ft,
    "standard-ft": recipes.standard_ft,
    "lp-ft": recipes.lp_ft,
    "maml": recipes.maml,
}
OWN: dict[str, dict[str, Any]] = {"lp-ft": {"probe_epochs": 1}, "maml": {"inner_steps": 2}}
SHAPE = Shape(ways=3, shots=2, queries=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Spec of an encoder with two blocks."""
    logging.disable_progress_bar()
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder") / "vit"
    config = hf.ViTConfig(
        image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        initializer_range=0.2,
    )  # fmt: skip
    hf.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    hf.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return f'hf:"{folder}"'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of images of 8 and of 5 classes, noise around a mean of their own."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, classes in (("train", 8), ("val", 5)):
        for name in range(classes):
            (folder / split / str(name)).mkdir(parents=True)
            mean = rng.integers(0, 200, (16, 16, 3))
            for number in range(5):
                pixels = (mean + rng.integers(0, 56, (16, 16, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / str(name) / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def val(data: Path) -> str:
    return f'image-folder:"{data}/val"(ways=5,queries=2,episodes=4)'


@pytest.fixture(scope="module")
def asked(base: str, data: Path, val: str) -> dict[str, Any]:
    return {
        "base": base, "source": f'image-folder:"{data}/train"', "val": val, "tasks": 3, "epochs": 2,
        "ways": 4, "shots": 1, "queries": 2, "rate": 0.05, "threads": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def trained(asked: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Recipe -> the folder of its training; ``lora`` is multitask-ft with an adapter."""
    done: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp("trained") / name
            own = {"lora_r": 2} if name == "lora" else OWN.get(name, {})
            RECIPES.get(name, recipes.multitask_ft)(done[name], **asked, **own)
        return done[name]

    return get


def encoder(base: str) -> HFVisionEncoder:
    return HFVisionEncoder(base.removeprefix("hf:").strip('"'))


def images(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(count)]


def tasks(count: int = 2) -> Tasks:
    """Tasks of vectors instead of images."""
    torch.manual_seed(0)
    vectors = torch.randn(30, 5, dtype=torch.float64)
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(30), (count, 1)), axis=1)[:, : SHAPE.images]
    return Tasks(Images({"input": vectors}), rows.reshape(count, SHAPE.ways, -1), SHAPE, np.arange(30) % 7, 7)


def linear() -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(5, 4, dtype=torch.float64)


class TestLosses:
    def test_multitask_is_the_nearest_centroid(self) -> None:
        some = tasks()
        loss = Multitask(linear(), SHAPE, 10.0)(**Steps(some, 1, 2, 0)[0])["loss"]
        order = np.random.default_rng([0, 0]).permutation(2)
        found = []
        for task in order:
            vectors = linear()(some.images.inputs["input"])[torch.from_numpy(some.rows[task])].float()
            for way in range(3):
                for query in vectors[way, 2:]:
                    cosines = [cosine_similarity(query, vectors[other, :2].mean(dim=0), dim=0) for other in range(3)]
                    found.append(cross_entropy(10 * torch.stack(cosines), torch.tensor(way)))
        torch.testing.assert_close(loss, torch.stack(found).mean())

    def test_standard_has_absolute_labels(self) -> None:
        some, head = tasks(), torch.nn.Linear(4, 7)
        batch = Steps(some, 1, 1, 0)[1]
        rows = torch.from_numpy(some.rows[np.random.default_rng([0, 0]).permutation(2)[1]].ravel())
        wanted = cross_entropy(head(linear()(some.images.inputs["input"][rows]).float()), rows % 7)
        torch.testing.assert_close(Standard(linear(), head)(**batch)["loss"], wanted)

    def test_maml_has_the_gradient_of_the_adapted_weights(self) -> None:
        some, start = tasks(1), linear()
        Maml(start, SHAPE, steps=3, rate=0.1)(**Steps(some, 1, 1, 0)[0])["loss"].backward()
        vectors = some.images.inputs["input"][torch.from_numpy(some.rows[0])]
        fast, head = linear(), torch.nn.Linear(4, 3)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        optimizer = torch.optim.SGD([*fast.parameters(), *head.parameters()], lr=0.1)
        for shown, wanted in ((slice(0, 2), 3), (slice(2, 4), 1)):
            for _ in range(wanted):
                optimizer.zero_grad()
                right = torch.arange(3).repeat_interleave(2)
                cross_entropy(head(fast(vectors[:, shown].flatten(0, 1)).float()), right).backward()
                if wanted > 1:
                    optimizer.step()
        torch.testing.assert_close(start.weight.grad, fast.weight.grad)
        torch.testing.assert_close(start.bias.grad, fast.bias.grad)

    def test_maml_begins_every_task_anew(self) -> None:
        some, model = tasks(2), Maml(linear(), SHAPE, steps=2, rate=0.5)
        both, alone = Steps(some, 1, 2, 0)[0], Steps(some, 1, 1, 0)
        losses = [model(**alone[number])["loss"] for number in range(2)]
        torch.testing.assert_close(model(**both)["loss"], torch.stack(losses).mean())


class TestSteps:
    @given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 8), st.integers(0, 3))
    def test_every_epoch_sees_every_task_once(self, count: int, epochs: int, together: int, seed: int) -> None:
        steps = Steps(tasks(count), epochs, together, seed)
        assert len(steps) == epochs * steps.per_epoch
        for epoch in range(epochs):
            rows = np.concatenate(steps._steps[epoch * steps.per_epoch : (epoch + 1) * steps.per_epoch])
            assert sorted(rows) == list(range(count))
        steps.check(Budget(count, SHAPE.images, epochs))
        with pytest.raises(UserError, match="images, not"):
            steps.check(Budget(count + 1, SHAPE.images, epochs))

    def test_a_budget_is_told(self) -> None:
        assert str(Budget(200, 150, 10)) == "200 tasks x 150 images x 10 epochs = 300,000 images seen"


def test_batch_norms_keep_the_statistics_of_the_base() -> None:
    model = Multitask(torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Dropout()), SHAPE, 10.0).train()
    norm, dropout = model.encoder
    assert not norm.training
    assert dropout.training


@pytest.mark.parametrize("name", [*RECIPES, "lora"])
class TestAFinetunedModel:
    def test_differs_from_its_base_and_is_built_from_its_spec(
        self, name: str, trained: Callable[[str], Path], base: str
    ) -> None:
        method = "multitask-ft" if name == "lora" else name
        spec = f'{base}+{method}(checkpoint="{trained(name)}/model")'
        planned = plan_model(load_plugins().registry, parse(spec))
        model = encoder(base)
        before = model.embed(images(2))
        after = planned.methods[0].method.apply(model).embed(images(2))
        assert not np.allclose(before, after)
        np.testing.assert_array_equal(model.embed(images(2)), before)

    def test_says_how_it_was_made(self, name: str, trained: Callable[[str], Path], base: str) -> None:
        card = json.loads((trained(name) / "model" / "adaptation.json").read_text())
        assert card["base"] == base
        assert card["budget"] == "3 tasks x 12 images x 2 epochs = 72 images seen"
        assert card["recipe"]["seed"] == 0


def test_all_recipes_see_the_same_tasks(trained: Callable[[str], Path]) -> None:
    assert len({(trained(name) / "tasks.json").read_text() for name in RECIPES}) == 1


def test_the_weights_are_those_of_the_best_epoch(trained: Callable[[str], Path], base: str, val: str) -> None:
    lines = [json.loads(line) for line in (trained("multitask-ft") / "log.jsonl").read_text().splitlines()]
    best = max(line["score"] for line in lines if "score" in line)
    model = methods.multitask_ft(checkpoint=str(trained("multitask-ft") / "model")).apply(encoder(base))
    assert Validation(read(val, "val"), model, trained("multitask-ft") / "x")(model.module) == pytest.approx(best)


def test_an_adapter_is_a_folder_of_peft(trained: Callable[[str], Path], base: str) -> None:
    import peft

    folder = trained("lora") / "model"
    live, wanted = encoder(base), methods.multitask_ft(checkpoint=str(folder)).apply(encoder(base)).embed(images(3))
    adapted = live.with_network(peft.PeftModel.from_pretrained(live.network, folder).base_model.model)
    np.testing.assert_allclose(adapted.embed(images(3)), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["multitask-ft", "lp-ft"])
def test_a_training_that_was_stopped_goes_on_to_the_same_end(
    name: str, asked: dict[str, Any], trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, getitem, calls = trained(name), Steps.__getitem__, []

    def torn(self: Steps, number: int) -> dict[str, Any]:
        calls.append(number)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return getitem(self, number)

    monkeypatch.setattr(Steps, "__getitem__", torn)
    with pytest.raises(KeyboardInterrupt):
        RECIPES[name](tmp_path, **asked, **OWN.get(name, {}))
    assert not (tmp_path / "model").exists()
    RECIPES[name](tmp_path, **asked, **OWN.get(name, {}))
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, tmp_path))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert (whole / "log.jsonl").read_text() == (tmp_path / "log.jsonl").read_text()
    calls.clear()
    RECIPES[name](tmp_path, **asked, **OWN.get(name, {}))
    assert calls == []  # it is done


def test_sources_are_mixed(
    asked: dict[str, Any], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = [f'image-folder:"{data}/{split}"' for split in ("train", "val")]
    recipes.standard_ft(tmp_path, **asked | {"source": "; ".join(two), "epochs": 1, "val": "", "classes": 4})
    assert capsys.readouterr().err == "3 tasks x 12 images x 1 epochs = 36 images seen\n"
    assert list(json.loads((tmp_path / "tasks.json").read_text())) == two


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base": "pixels"}, "model pixels: it has no network to train"),
        ({"base": "constant"}, "it has no network to train"),
        ({"base": "tiny-icl"}, "it embeds no images"),
        ({"source": "shapes-pope(scenes=2)"}, "is not a few-shot task"),
        ({"queries": 7}, "only 0 classes have the 8 images"),
        ({"ways": 1000}, "1000 ways want more"),
        ({"classes": 3}, "only 3 classes"),
        ({"val": "nothing"}, "unknown task 'nothing'"),
        ({"source": "{val};{val}"}, "a source is given twice"),
        ({"source": "{source};{val}"}, "their tasks have different shapes"),
        ({"source": ";".join(f"digits(seed={n})" for n in range(4))}, "3 tasks for 4 sources"),
        ({"lora_r": 2, "lora_targets": "nothing"}, "LoRA does not fit"),
        ({"rate": "fast"}, "rate must be a number above 0, not fast"),
        ({"optimizer": "adam"}, "optimizer must be one of sgd, adamw, not adam"),
        ({"tasks": 0}, "tasks must be a whole number of at least 1, not 0"),
        ({"rate": 1e30}, "is not finite"),
    ],
)
def test_what_cannot_be_is_one_line(wrong: dict[str, Any], message: str, asked: dict[str, Any], tmp_path: Path) -> None:
    given = {name: value.format(**asked) if isinstance(value, str) else value for name, value in wrong.items()}
    with pytest.raises(UserError, match=message):
        recipes.multitask_ft(tmp_path, **asked | given)


def test_another_training_in_the_same_folder_is_refused(asked: dict[str, Any], trained: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match=r"another training is there, with rate 0\.05"):
        recipes.multitask_ft(trained("multitask-ft"), **asked | {"rate": 1.0})


class TestACheckpoint:
    def test_of_another_base_is_refused(self, trained: Callable[[str], Path], base: str) -> None:
        other = encoder(base)
        with torch.no_grad():
            next(other.network.parameters()).add_(1)
        with pytest.raises(UserError, match="was trained from other weights; name the base that it was trained from"):
            methods.multitask_ft(checkpoint=str(trained("multitask-ft") / "model")).apply(other)

    def test_of_another_method_is_refused(self, trained: Callable[[str], Path], base: str) -> None:
        with pytest.raises(UserError, match="is of multitask-ft; write multitask-ft instead"):
            methods.lp_ft(checkpoint=str(trained("multitask-ft") / "model")).apply(encoder(base))

    def test_that_is_missing_is_one_line(self, base: str, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no finetuned weights"):
            methods.maml(checkpoint=str(tmp_path)).apply(encoder(base))
        with pytest.raises(MissingArgument, match="it needs a checkpoint"):
            plan_model(load_plugins().registry, parse("vit-glyphs+maml"))

    @pytest.mark.parametrize(("damage", "message"), [("garbled", "cannot read its weights"), ("other", "does not fit")])
    def test_that_is_damaged_is_one_line(self, damage: str, message: str, base: str, tmp_path: Path) -> None:
        model = encoder(base)
        card = {"method": "maml", "base": base, "weights": checkpoints.weights_digest(model.network)}
        checkpoints.write(tmp_path, model.network, card)
        file = tmp_path / "model.safetensors"
        if damage == "garbled":
            file.write_bytes(file.read_bytes()[:100])
        else:
            save_file({"nothing": torch.zeros(1)}, file)
        with pytest.raises(UserError, match=message):
            methods.maml(checkpoint=str(tmp_path)).apply(model)

    def test_of_half_precision_is_half_as_large(self, base: str, tmp_path: Path) -> None:
        for half in (False, True):
            checkpoints.write(tmp_path / str(half), encoder(base).network, {}, half=half)
        one, other = (load_file(tmp_path / str(half) / "model.safetensors") for half in (False, True))
        assert all(torch.equal(one[name].half(), other[name]) for name in one)


def test_episodes_after_finetuning_embed_every_image_once(
    trained: Callable[[str], Path], base: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed, seen = HFVisionEncoder.embed, []

    def counted(self: HFVisionEncoder, batch: Any) -> Any:
        seen.append(len(batch))
        return embed(self, batch)

    def untimed(*_: Any, **__: Any) -> None:
        raise TooShort  # what is timed embeds a batch again

    monkeypatch.setattr(HFVisionEncoder, "embed", counted)
    monkeypatch.setattr("adaptbench.harness.measure.timing.measure", untimed)
    task = f'image-folder:"{data}/val"(ways=5,queries=4,episodes=1500)'
    spec = f'{base}+multitask-ft(checkpoint="{trained("multitask-ft")}/model")'
    done = adaptbench.run(spec, task, out=tmp_path)
    assert done.results[0].metrics["accuracy"].n == 1500
    assert sum(seen) == 25
