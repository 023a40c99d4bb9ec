"""Training of AdaLLaVA on small LLaVAs: it runs what inference runs, learns, and goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from adaptbench.models.adaptive import adallava_recipe
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.adaptive.adallava_recipe import train_adallava
from adaptbench.models.adaptive.scheduler import Scheduler, load
from adaptbench.models.adaptive.steering import plans
from adaptbench.models.adaptive.switches import SchedulerConfig
from adaptbench.models.adaptive.train_adallava import LlavaTrainee, Planner, Recipe, write
from adaptbench.models.adaptive.training_data import Questions, Source, collate, said, turns
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.prumerge import PruMergePlus
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

METHODS = {"layers": AdaLlavaL, "heads": AdaLlavaH}
PRUNING: dict[str, Callable[[HFMultimodal], HFMultimodal]] = {
    "none": lambda model: model,
    "prumerge-plus": lambda model: PruMergePlus(tokens=11).apply(model),
    "fastv": lambda model: FastV(k=1, r=0.5).apply(model),
}
pytestmark = pytest.mark.usefixtures("one_thread", "without_collection")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in LLaVA's format: images that are bright or dark, and a text."""
    folder = tmp_path_factory.mktemp("conversations")
    (folder / "images").mkdir()
    records: list[dict[str, Any]] = []
    for number in range(6):
        name, bright = f"images/{number}.png", number % 2
        noise = np.random.default_rng(number).integers(0, 100, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(noise + 150 * bright).save(folder / name)
        talk = [
            ("human", "<image>\nIs there a dog?"), ("gpt", "yes" if bright else "no"),
            ("human", "What colour is this?"), ("gpt", "a cat in image" if bright else "a dog"),
            ("human", "how many?"), ("gpt", "a a" if bright else "a"),
        ]  # fmt: skip
        records.append({"id": number, "image": name, "conversations": _said(*talk)})
    records.append({"id": "text", "conversations": _said(("human", "Is this a cat?"), ("gpt", "no"))})
    (folder / "instruct.json").write_text(json.dumps(records))
    return folder


def _said(*parts: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": who, "value": what} for who, what in parts]


@pytest.fixture
def fresh(llava_folder: Callable[..., Path]) -> HFMultimodal:
    """A LLaVA that may be changed."""
    return HFMultimodal(str(llava_folder()), conversation="plain")


def _scheduler(switch: str, rule: str = "probabilistic", spread: float = 0.5) -> Scheduler:
    config = SchedulerConfig(switch=switch, layers=4, heads=4, prefix=2, hidden=32, rule=rule)  # type: ignore[arg-type]
    scheduler = Scheduler(config)
    torch.manual_seed(1)
    for part in scheduler.parameters():
        torch.nn.init.normal_(part, std=spread)
    return scheduler


def _questions(data: Path, model: HFMultimodal, scheduler: Scheduler, **options: Any) -> Questions:
    source = Source(data / "instruct.json", data)
    return Questions(source, model.loaded, (0, scheduler.config.switched), **{"length": 7, "questions": 3, **options})


def _batch(data: Path, model: HFMultimodal, scheduler: Scheduler, count: int = 3, **options: Any) -> dict[str, Any]:
    questions = _questions(data, model, scheduler, **options)
    return collate([questions[number] for number in range(count)])


def _hidden(trainee: LlavaTrainee, batch: dict[str, Any], planner: Planner | None) -> torch.Tensor:
    parts = {name: value for name, value in batch.items() if name not in ("k", "seed")}
    return trainee.hidden(**parts, planner=planner)


def test_without_a_planner_it_is_the_plain_model(data: Path, fresh: HFMultimodal) -> None:
    scheduler = _scheduler("layers")
    batch = _batch(data, fresh, scheduler)
    trainee = LlavaTrainee(fresh, scheduler, Recipe(1))
    with torch.no_grad():
        found = fresh.decoder.logits(_hidden(trainee, batch, None))
        images = iter(batch["pixels"])
        seen = [next(images) if 4 in start else None for start in batch["starts"]]
        for row, (start, end) in enumerate(zip(batch["start_of"], batch["ends"], strict=True)):
            prompt, answer = torch.cat([batch["starts"][start], end]), batch["answers"][row]
            repeats = torch.where(prompt == 4, 36, 1)  # the library wants a placeholder for each patch
            ids = torch.cat([prompt.repeat_interleave(repeats), answer[:-1]])[None]
            pixels = None if seen[start] is None else seen[start][None]
            plain = fresh.loaded.model(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids)).logits
            torch.testing.assert_close(found[row, : len(answer)], plain[0, -len(answer) :], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pruning", PRUNING)
@pytest.mark.parametrize("switch", METHODS)
def test_training_runs_what_inference_runs(
    switch: str, pruning: str, data: Path, fresh: HFMultimodal, tmp_path: Path
) -> None:
    """The logits of a drawn plan's gates are those of the plan, carried out by leaving things out."""
    model, scheduler = PRUNING[pruning](fresh), _scheduler(switch)
    batch, trainee, config = _batch(data, fresh, scheduler), LlavaTrainee(model, scheduler, Recipe(1)), scheduler.config
    planner = Planner(scheduler, batch["k"], 48, torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = _hidden(trainee, batch, planner)
        drawn = plans(planner.drawn > 0.5, config, 48)

        class Carried(Planner):
            def before(self, index: int, state: Any) -> Any:
                return state.planned(drawn) if index == self.first else state

        wanted = _hidden(trainee, batch, Carried(scheduler, batch["k"], 48, torch.Generator()))
    for row, answer in enumerate(batch["answers"]):
        torch.testing.assert_close(found[row, : len(answer)], wanted[row, : len(answer)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pruning", PRUNING)
@pytest.mark.parametrize("switch", METHODS)
def test_what_is_written_answers_as_the_trainee_does(
    switch: str, pruning: str, data: Path, fresh: HFMultimodal, tmp_path: Path
) -> None:
    scheduler = _scheduler(switch)
    model = PRUNING[pruning](fresh)
    trainee = LlavaTrainee(model, scheduler, Recipe(1))
    for _, part in trainee.trained():
        part.data = part.data.half().float()  # as it is written
    write(trainee, tmp_path)
    again = PRUNING[pruning](HFMultimodal(fresh.loaded.model.name_or_path, conversation="plain"))
    budget = 0.75
    read = METHODS[switch](checkpoint=str(tmp_path), budget=budget).apply(again)
    for number in range(2):
        prompt = Prompt("What colour is this?", (Image.open(data / f"images/{number}.png"),))
        item = said(fresh.loaded, (("What colour is this?", "a cat in image"),), True)
        pixels = fresh.prepare([prompt])["pixel_values"]
        best = _Best(scheduler, [scheduler.config.k(budget)], 48, torch.Generator())
        with torch.inference_mode():
            wanted = read.module(**read.prepare([prompt]))
            hidden = trainee.hidden(
                pixels=pixels, starts=[torch.tensor(item.prompt)], ends=[torch.tensor([], dtype=torch.long)],
                answers=[torch.tensor(item.answer)], start_of=[0], planner=best,
            )  # fmt: skip
        torch.testing.assert_close(fresh.decoder.logits(hidden)[:, 0], wanted, rtol=1e-5, atol=1e-5)


class _Best(Planner):
    """Takes the best plan instead of a draw, as inference does."""

    def before(self, index: int, state: Any) -> Any:
        if index != self.first:
            return state
        chosen = self._scheduler.choose(self._scheduler.logits(state.hidden[:, -1]), self._k)
        return state.planned(plans(chosen, self._scheduler.config, 48))


@pytest.mark.parametrize("rule", ["probabilistic", "deterministic", "deterministic-topk"])
@pytest.mark.parametrize("switch", METHODS)
def test_gradients_reach_all_that_learns_and_nothing_else(
    switch: str, rule: str, data: Path, fresh: HFMultimodal
) -> None:
    scheduler = _scheduler(switch, rule)
    torch.nn.init.normal_(scheduler.mlp_head.weight, std=1e-5)  # every block is drawn by some
    torch.nn.init.constant_(scheduler.mlp_head.bias, 0.5)
    trainee = LlavaTrainee(fresh, scheduler, Recipe(1))
    batch = _batch(data, fresh, scheduler, count=7)
    batch["k"] = [1 if rule == "probabilistic" else scheduler.config.switched] * len(batch["k"])
    trainee(**batch)["loss"].backward()
    for name, part in trainee.named_parameters():
        if ".vision_tower." in name:
            assert part.grad is None
        else:
            assert part.grad is not None, name
            assert torch.isfinite(part.grad).all(), name
            assert part.grad.abs().sum() > 0, name


def test_a_base_that_is_replaced_on_disk_stays_as_it_was(llava_folder: Callable[..., Path], tmp_path: Path) -> None:
    shutil.copytree(llava_folder(), tmp_path / "base")
    model = HFMultimodal(str(tmp_path / "base"), conversation="plain")
    LlavaTrainee(model, _scheduler("layers"), Recipe(1))
    before = [part.clone() for part in model.loaded.model.model.vision_tower.parameters()]
    with (tmp_path / "base" / "model.safetensors").open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(size // 3)
        file.write(bytes(size - size // 3))
    assert all(map(torch.equal, before, model.loaded.model.model.vision_tower.parameters()))


def test_a_random_plan_teaches_the_scheduler_nothing(data: Path, fresh: HFMultimodal) -> None:
    scheduler = _scheduler("layers", "random")
    batch = _batch(data, fresh, scheduler)
    LlavaTrainee(fresh, scheduler, Recipe(1))(**batch)["loss"].backward()
    assert scheduler.mlp_head.weight.grad is None or not scheduler.mlp_head.weight.grad.any()
    assert scheduler.scheduler_up_proj["net"][3].weight.grad.abs().sum() > 0


def test_a_deterministic_scheduler_pays_for_what_it_spends_beyond_the_budget(data: Path, fresh: HFMultimodal) -> None:
    scheduler = _scheduler("layers", "deterministic")
    torch.nn.init.zeros_(scheduler.mlp_head.weight)
    torch.nn.init.ones_(scheduler.mlp_head.bias)  # everything is on
    batch = _batch(data, fresh, scheduler)
    batch["k"] = [0] * len(batch["k"])
    losses = [
        LlavaTrainee(fresh, scheduler, Recipe(1, penalty=penalty))(**batch)["loss"].item() for penalty in (0.0, 3.0)
    ]
    assert losses[1] - losses[0] == pytest.approx(3.0 * 0.5, abs=1e-4)


def test_the_scheduler_reads_the_latency_token_and_not_the_answer(data: Path, fresh: HFMultimodal) -> None:
    scheduler = _scheduler("layers")
    trainee = LlavaTrainee(fresh, scheduler, Recipe(1))
    batch, read = _batch(data, fresh, scheduler), []
    scheduler.mlp_head.register_forward_hook(lambda _, given, __: read.append(given[0].detach()))
    trainee(**batch)
    trainee(**batch | {"answers": [torch.tensor([5, 6, 7, 8, 2])] * len(batch["answers"])})
    trainee(**batch | {"k": [2 - units for units in batch["k"]]})
    assert torch.equal(read[0], read[1])
    other = [units != 1 for units in batch["k"]]
    assert any(other)
    assert ((read[0] - read[2]).abs().amax(dim=1) > 1e-4).tolist() == other


def test_budgets_are_uniform_and_items_depend_on_their_number_alone(data: Path, fresh: HFMultimodal) -> None:
    scheduler = _scheduler("layers")
    questions = _questions(data, fresh, scheduler)
    drawn = [k for number in range(300) for k in questions[number].k]
    counts = np.bincount(drawn, minlength=3)
    assert len(counts) == 3
    expected = len(drawn) / 3
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # chi-square, 2 degrees, 0.1 %
    again = _questions(data, fresh, scheduler)
    assert again[11].questions == questions[11].questions
    assert (again[11].k, again[11].seed) == (questions[11].k, questions[11].seed)
    assert _questions(data, fresh, scheduler, seed=1)[11].seed != questions[11].seed


def test_an_epoch_holds_every_record_once(data: Path, fresh: HFMultimodal) -> None:
    questions = _questions(data, fresh, _scheduler("layers"), questions=1)
    for start in (0, 7):
        images = [questions[number].pixels for number in range(start, start + 7)]
        different = {None if image is None else image.numpy().tobytes() for image in images}
        assert len(different) == 7
        assert None in different


def test_questions_of_an_image_share_their_beginning(data: Path, fresh: HFMultimodal) -> None:
    scheduler = _scheduler("layers")
    questions = _questions(data, fresh, scheduler)
    items = [questions[number] for number in range(7)]
    batch = collate(items)
    assert len(batch["starts"]) == 7
    rows = [one for item in items for one in item.questions]
    for row, one in enumerate(rows):
        start = batch["starts"][batch["start_of"][row]]
        assert tuple(torch.cat([start, batch["ends"][row]]).tolist()) == one.prompt
        assert tuple(batch["answers"][row].tolist()) == one.answer
        assert 4 not in batch["ends"][row]


def test_a_question_is_asked_as_at_inference(fresh: HFMultimodal) -> None:
    one = said(fresh.loaded, (("Is there a dog?", "yes"),), True)
    asked = Prompt("Is there a dog?", (Image.new("RGB", (8, 8)),))
    assert one.prompt == fresh.loaded.encode(asked)
    assert fresh.loaded.processor.tokenizer.decode(one.answer) == "yes </s>"


@pytest.mark.parametrize("conversation", ["vicuna_v1", "plain", "chat-template"])
def test_with_history_the_turns_before_it_are_read(conversation: str, fresh: HFMultimodal) -> None:
    loaded = fresh.loaded._replace(conversation=conversation)
    template = (
        "{% for m in messages %}{{ m.role }} {% for c in m.content %}{{ c.text or '<image>' }} {% endfor %}{% endfor %}"
    )
    loaded.processor.chat_template = template + "{% if add_generation_prompt %} ASSISTANT{% endif %}"
    alone = said(loaded, (("Is there a dog?", "yes"),), True)
    both = said(loaded, (("Is there a dog?", "yes"), ("how many?", "a cat")), True)
    text = loaded.processor.tokenizer.decode(both.prompt)
    assert text.count("<image>") == 1
    assert text.index("Is there a dog") < text.index("yes") < text.index("how many")
    assert loaded.processor.tokenizer.decode(both.answer) == "a cat </s>"
    assert len(both.prompt) > len(alone.prompt)


def test_turns_start_with_a_human() -> None:
    said_by = [("gpt", "hello"), ("human", "one\n<image>"), ("gpt", "two"), ("human", "three")]
    assert turns({"conversations": _said(*said_by)}) == [("one", "two")]


def test_what_is_too_long_is_cut_or_refused(data: Path, fresh: HFMultimodal, tmp_path: Path) -> None:
    long = said(fresh.loaded, (("cat " * 2000, "dog " * 100),), False)
    assert len(long.prompt) + len(long.answer) == 2048
    record = {"id": "x", "conversations": _said(("human", "cat " * 3000), ("gpt", "yes"))}
    (tmp_path / "long.json").write_text(json.dumps([record]))
    scheduler = _scheduler("layers")
    with pytest.raises(UserError, match="too long"):
        Questions(Source(tmp_path / "long.json", tmp_path), fresh.loaded, (0, scheduler.config.switched), length=1)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no conversations can be read"),
        ("[1]", "no conversations can be read"),
        ("[]", "it holds no conversation"),
    ],
)
def test_a_broken_file_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=message):
        Source(tmp_path / "x.json", tmp_path).records()


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        Source(tmp_path / "x.json", tmp_path).image({"image": "no.png"})
    assert "no.png" in str(raised.value.where)


@pytest.fixture
def asked(llava_folder: Callable[..., Path], data: Path) -> dict[str, Any]:
    base = f"llava:{llava_folder()}(conversation=plain)"
    return {
        "base": base, "data": str(data), "steps": 6, "batch": 2, "questions": 2, "rate": 1e-2, "save_every": 2,
        "threads": 1,
    }  # fmt: skip


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors") | load_file(folder / "model" / "scheduler.safetensors")


@pytest.mark.parametrize("switch", METHODS)
def test_a_training_that_was_stopped_goes_on_to_the_same_end(
    switch: str, asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_adallava(tmp_path / "whole", switch=switch, **asked)
    forward, calls = LlavaTrainee.forward, []

    def torn(self: LlavaTrainee, **batch: Any) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return forward(self, **batch)

    monkeypatch.setattr(LlavaTrainee, "forward", torn)
    with pytest.raises(KeyboardInterrupt):
        train_adallava(tmp_path / "torn", switch=switch, **asked)
    assert not (tmp_path / "torn" / "model").exists()
    (tmp_path / "torn" / "checkpoints" / "checkpoint-5").mkdir()  # of which nothing was written yet
    train_adallava(tmp_path / "torn", switch=switch, **asked)
    assert len(calls) == 5 + 2  # four steps were saved
    whole, torn_one = _tensors(tmp_path / "whole"), _tensors(tmp_path / "torn")
    assert whole.keys() == torn_one.keys()
    assert all(torch.equal(whole[name], torn_one[name]) for name in whole)
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "torn")]
    assert logs[0] == logs[1]
    assert load(str(tmp_path / "torn" / "model")).config.switch == switch


def test_it_learns(asked: dict[str, Any], data: Path, tmp_path: Path) -> None:
    train_adallava(tmp_path, **asked | {"steps": 75, "batch": 3, "questions": 3, "save_every": 75})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [25, 50, 75]
    assert lines[2]["loss"] < lines[0]["loss"] / 3
    base = HFMultimodal(asked["base"].removeprefix("llava:").partition("(")[0], conversation="plain")
    prompts = [Prompt("how many?", (Image.open(data / f"images/{number}.png"),)) for number in range(4)]
    taught = {"a", "a a"}
    assert not taught & set(base.generate(prompts))
    assert set(AdaLlavaL(checkpoint=str(tmp_path / "model"), budget=0.75).apply(base).generate(prompts)) <= taught


def test_a_frozen_backbone_stays_as_it_was(asked: dict[str, Any], data: Path, tmp_path: Path) -> None:
    train_adallava(tmp_path, **asked | {"freeze": "backbone"})
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"scheduler.json", "scheduler.safetensors"}
    base = HFMultimodal(asked["base"].removeprefix("llava:").partition("(")[0], conversation="plain")
    model = AdaLlavaL(checkpoint=str(tmp_path / "model"), budget=0.75).apply(base)
    assert model.loaded is base.loaded
    untrained = adallava_recipe._scheduler(base, adallava_recipe.Training(base=asked["base"]))
    learnt = load(str(tmp_path / "model"))
    assert not torch.equal(learnt.mlp_head.weight, untrained.mlp_head.weight)


def test_the_range_of_budgets_may_be_chosen(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, drawn = LlavaTrainee.forward, []

    def noted(self: LlavaTrainee, **batch: Any) -> dict[str, torch.Tensor]:
        drawn.extend(batch["k"])
        return forward(self, **batch)

    monkeypatch.setattr(LlavaTrainee, "forward", noted)
    train_adallava(tmp_path, **asked | {"least": 0.75, "steps": 8})
    assert set(drawn) == {1, 2}


def test_tau_changes_the_gradient_and_not_the_draw(data: Path, fresh: HFMultimodal) -> None:
    scheduler = _scheduler("layers")
    batch, found = _batch(data, fresh, scheduler), []
    batch["k"] = [1] * len(batch["k"])
    for tau in (1.0, 5.0):
        scheduler.zero_grad()
        loss = LlavaTrainee(fresh, scheduler, Recipe(1, tau=tau))(**batch)["loss"]
        loss.backward()
        found.append((loss.item(), scheduler.mlp_head.weight.grad.clone()))
    assert found[0][0] == found[1][0]
    assert not torch.allclose(found[0][1], found[1][1])


def test_another_training_in_the_same_folder_is_refused(asked: dict[str, Any], tmp_path: Path) -> None:
    train_adallava(tmp_path, **asked | {"steps": 1})
    with pytest.raises(UserError, match=r"another training is there, with rate 0\.01, steps 1"):
        train_adallava(tmp_path, **asked | {"rate": 1.0})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"switch": "both"}, "unknown switch 'both'"),
        ({"scheduler": "best"}, "unknown scheduler 'best'"),
        ({"steps": 0}, "steps=0 is not a positive number"),
        ({"base": "constant"}, "only a LLaVA"),
        ({"pruning": "adallava-l(scheduler=random)"}, "it has a scheduler already"),
        ({"data": "nowhere.json"}, "there are no conversations"),
        ({"prefix": 4}, "a prefix of 4 of 4 blocks"),
        ({"freeze": "tower"}, "unknown freeze 'tower'"),
        ({"tau": 0}, "tau=0 is not a temperature"),
        ({"least": 0.4}, "budget 0.4 is below 0.5"),
        ({"least": 0.8, "most": 0.6}, "no budget lies in 0.8 to 0.6"),
    ],
)
def test_what_cannot_be_is_one_line(wrong: dict[str, Any], message: str, asked: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        train_adallava(tmp_path, **asked | wrong)


def test_without_data_scenes_are_drawn(
    asked: dict[str, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(folder: Path, scenes: int, seed: int) -> None:
        assert (scenes, seed) == (5, 3)
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(data)

    monkeypatch.setattr(adallava_recipe, "draw_scenes", draw)
    train_adallava(tmp_path / "out", **asked | {"data": "", "scenes": 5, "seed": 3, "steps": 1})
    assert (tmp_path / "out" / "model" / "scheduler.json").exists()
