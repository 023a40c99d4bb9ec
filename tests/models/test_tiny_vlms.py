"""tiny-qwen-vl and tiny-internvl see what is there and cost what is said; the recipe makes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from adaptbench.adapters.transformers_multimodal import HFInternVL, HFQwenVL
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.reference import tiny_vlms
from adaptbench.models.reference.tiny_llava_batches import Conversations
from adaptbench.models.reference.tiny_vlm_parts import PARTS
from adaptbench.models.reference.train_tiny_vlm import Asked, Recipe, train
from adaptbench.tasks.dice import Dice
from adaptbench.tasks.multimodal.shapes_drawing import draw_scene
from adaptbench.tasks.multimodal.shapes_questions import ask_open
from adaptbench.tasks.multimodal.shapes_world import make_scene
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from adaptbench.adapters.transformers_multimodal import HFMultimodal

KINDS = {"tiny-qwen-vl": HFQwenVL, "tiny-internvl": HFInternVL}
SHIPPED = {"tiny-qwen-vl": tiny_vlms.tiny_qwen_vl, "tiny-internvl": tiny_vlms.tiny_internvl}
SUFFIX = "\nAnswer the question using a single word or phrase."
METHODS = {
    "tiny-qwen-vl": "+visionzip(dominant=12,contextual=4,query=mean,layer=-1,cls_token=false)+fastv(k=2,r=0.5)",
    "tiny-internvl": "+visionzip(dominant=12,contextual=4,cls_token=false)+fastv(k=2,r=0.5)",
}


@pytest.fixture(scope="module", params=SHIPPED)
def name(request: pytest.FixtureRequest) -> str:
    torch.set_num_threads(1)
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str) -> HFMultimodal:
    return SHIPPED[name]()


def test_it_tells_the_colours_of_things(model: HFMultimodal) -> None:
    asked, truth = [], []
    for scene in (make_scene("val", index) for index in range(24)):
        found = ask_open(scene, "color", Dice(*scene.look, 7))
        if found:
            asked.append(Prompt(found.text + SUFFIX, (draw_scene(scene),), max_new_tokens=3))
            truth.append(found.answer)
    right = [said == true for said, true in zip(model.generate(asked), truth, strict=True)]
    assert len(right) > 15
    assert np.mean(right) > 0.6  # the most frequent colour alone is right in fewer than a third


def test_one_number_of_flops(name: str, model: HFMultimodal) -> None:
    registry, methods = load_plugins().registry, METHODS[name]
    changed = model
    for method in plan_model(registry, parse(name + methods)).as_applied:
        changed = method.method.apply(changed)
    image = Image.new("RGB", (96, 96))
    (answer,) = changed.answer([Prompt(f"Is there a circle?{SUFFIX}", (image,), max_new_tokens=1)])
    assert answer.cost is not None
    costing = Costing(registry, name + methods, image_size=96)
    known, seen = costing.architecture, model.family.seeing(image)
    assert (known.vision, known.projector, known.visual_tokens) == (seen.vision, seen.projector, 64)
    priced = costing.cost(CostRequest(answer.cost.text_tokens, convention=COUNTED), count=True)
    assert priced.counted == priced.flops
    assert priced.work.visual_tokens == answer.cost.visual_tokens
    assert sum(priced.flops.values()) == answer.cost.flops


def test_schedules_ship_for_it(name: str) -> None:
    registry = load_plugins().registry
    half, quarter = (
        plan_model(registry, parse(f"{name}+fitprune{options}")).methods[0].method.left(64)
        for options in ("", "(schedule=quarter)")
    )
    assert all(half[block] > quarter[block] for block in range(1, 10))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Conversations:
    """Four images, in LLaVA's format."""
    folder, records = tmp_path_factory.mktemp("data"), []
    for number in range(4):
        Image.fromarray(np.full((96, 96, 3), 60 * number, dtype=np.uint8)).save(folder / f"{number}.png")
        said = [{"from": "human", "value": f"<image>\nIs it a circle?{SUFFIX}"}, {"from": "gpt", "value": "yes"}]
        records.append({"id": str(number), "image": f"{number}.png", "conversations": said})
    (folder / "instruct.json").write_text(json.dumps(records))
    return Conversations(folder)


@pytest.mark.parametrize("name", PARTS)
def test_the_recipe_makes_a_model_that_loads_and_answers(name: str, data: Conversations, tmp_path: Path) -> None:
    short = Recipe(tower_steps=2, tower_batch=2, question_steps=2, question_batch=2, turns=1)
    torch.manual_seed(short.seed)
    before = PARTS[name].make_model(PARTS[name].tokenizer()).state_dict()
    train(name, short, data, tmp_path)
    made = KINDS[name](str(tmp_path / "model"))
    prompt = Prompt("Is it a circle?", (Image.open(data.folder / "1.png"),), max_new_tokens=2)
    assert made.token_counts(prompt)[1] == 64
    assert len(made.generate([prompt])) == 1
    learned = made.network.state_dict()
    for part in ("language_model.layers.9.", PARTS[name].learns[0]):
        assert any(part in key and not torch.equal(before[key], learned[key]) for key in before)


@pytest.mark.parametrize("name", PARTS)
def test_a_training_reads_what_the_processor_and_the_model_make_of_it(name: str, data: Conversations) -> None:
    parts = PARTS[name]
    tokenizer = parts.tokenizer()
    network, processor = parts.make_model(tokenizer).eval(), parts.make_processor(tokenizer)
    pixels = data.pixels(data.questions[:1])
    batch = Asked(Recipe(question_batch=1), data, parts, tokenizer)[0]
    image = Image.open(data.folder / "0.png")
    text = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": f"Is it a circle?{SUFFIX}"}]}],
        add_generation_prompt=True, tokenize=False,
    )  # fmt: skip
    stock = processor(text=[text], images=[image], return_tensors="pt")
    count = stock["input_ids"].shape[1]
    assert batch["input_ids"][0, :count].tolist() == stock["input_ids"][0].tolist()
    grid = {"image_grid_thw": stock["image_grid_thw"]} if "image_grid_thw" in stock else {}
    with torch.inference_mode():
        seen = network.get_image_features(pixel_values=stock["pixel_values"], return_dict=True, **grid).pooler_output
        assert torch.equal(parts.see(network, pixels)[0], seen[0])
    if grid:
        kinds = {name: stock[name] for name in ("attention_mask", "mm_token_type_ids")}
        places, _ = network.model.get_rope_index(stock["input_ids"], **grid, **kinds)
        assert torch.equal(batch["position_ids"][..., :count], places)
