"""Models of images and text by family, each a tiny checkpoint with its own processor: answers and FLOPs are stock's."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import adaptbench
import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.decoding import Decoding
from adaptbench.adapters.prefill_flops import PrefillFlops
from adaptbench.adapters.transformers_image_text import HFImageTextToText
from adaptbench.harness.abilities import Prefilling, Traceable
from adaptbench.harness.contracts import Generator, Prompt
from adaptbench.harness.errors import BadSample, UserError
from adaptbench.harness.measure import flops
from adaptbench.harness.prefill_cost import PrefillCost
from adaptbench.harness.store import RunDirectory
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPECIAL = [
    *("<pad>", "<s>", "</s>", "<unk>", "<image>", "<video>", "<start>", "<end>"),
    *("<fake_token_around_image>", "<global-img>", "<end_of_utterance>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)),
]
WORDS = "USER ASSISTANT : Is there a dog in the image ? What colour is this cat how many yes no".split()
VOCABULARY = {word: n for n, word in enumerate([*SPECIAL, *WORDS, *(f"w{n}" for n in range(40))])}
IMAGE, VIDEO, START, END = (VOCABULARY[token] for token in ("<image>", "<video>", "<start>", "<end>"))
TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": len(VOCABULARY), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 7,
}  # fmt: skip
QWEN = {"depth": 2, "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
MERGED = QWEN | {"hidden_size": 16, "intermediate_size": 32, "out_hidden_size": 32}
SQUARE = {"size": {"height": 28, "width": 28}}
GRID = [[28, 56], [56, 28], [56, 56]]


class Family(NamedTuple):
    """A checkpoint on disk, and what was saved there."""

    name: str
    folder: Path
    model: Any
    processor: Any


def tokenizer(**named: str) -> Any:
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(SPECIAL)
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        extra_special_tokens=named,
    )  # fmt: skip


def template(image: str = "<image>") -> str:
    return (
        "{% for message in messages %}USER : {% for part in message['content'] %}{% if part['type'] == 'image' %}"
        + image
        + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %} ASSISTANT :"
    )


class Videos(dict[str, Any]):
    """A stored processor of videos; without torchvision none can be made."""

    num_frames = fps = _auto_class = None
    model_input_names: tuple[str, ...] = ()


def unchecked(kind: Any) -> Any:
    """A class of processors that takes anything for its processor of videos."""
    checks = {"check_argument_for_proper_class": lambda *_: None, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), checks)


def qwen(name: str, vision: dict[str, Any], **text: Any) -> tuple[Any, Any]:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    config = getattr(hf, f"{name}Config")(
        text_config=TEXT | {"rope_parameters": rope} | text, vision_config=vision, image_token_id=IMAGE,
        video_token_id=VIDEO, vision_start_token_id=START, vision_end_token_id=END,
    )  # fmt: skip
    processor = unchecked(getattr(hf, f"{name}Processor"))(
        hf.Qwen2VLImageProcessorPil(patch_size=14, size={"shortest_edge": 28 * 28, "longest_edge": 8 * 28 * 28}),
        tokenizer(image_token="<image>", video_token="<video>"), Videos(video_processor_type="Qwen2VLVideoProcessor"),
        chat_template=template("<start><image><end>"),
    )  # fmt: skip
    return getattr(hf, f"{name}ForConditionalGeneration")(config), processor


def internvl(text: Any = None) -> tuple[Any, Any]:
    config = hf.InternVLConfig(
        vision_config=VISION | {"image_size": [28, 28], "patch_size": [7, 7]},
        text_config=(text or hf.Qwen2Config(**TEXT)).to_dict(), image_token_id=IMAGE, image_seq_length=4,
    )  # fmt: skip
    words = tokenizer(
        start_image_token="<start>", end_image_token="<end>", context_image_token="<image>", video_token="<video>"
    )
    processor = unchecked(hf.InternVLProcessor)(
        hf.GotOcr2ImageProcessorPil(**SQUARE, crop_to_patches=True, max_patches=4), words,
        Videos(video_processor_type="InternVLVideoProcessor"), image_seq_length=4, chat_template=template(),
    )  # fmt: skip
    return hf.InternVLForConditionalGeneration(config), processor


def llava_next(text: Any = None, vision: Any = None, **fields: Any) -> tuple[Any, Any]:
    strategy = "default" if vision is None else "full"
    config = hf.LlavaNextConfig(
        vision_config=vision or hf.CLIPVisionConfig(**VISION), text_config=text or hf.LlamaConfig(**TEXT),
        image_token_index=IMAGE, image_grid_pinpoints=GRID, vision_feature_select_strategy=strategy, **fields,
    )  # fmt: skip
    crop = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    processor = hf.LlavaNextProcessor(
        hf.LlavaNextImageProcessorPil(**crop, image_grid_pinpoints=GRID), tokenizer(), patch_size=7,
        vision_feature_select_strategy=strategy, num_additional_image_tokens=int(vision is None),
        chat_template=template(),
    )  # fmt: skip
    return hf.LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> tuple[Any, Any]:
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**VISION, vision_use_head=False), text_config=hf.Qwen2Config(**TEXT),
        image_token_index=IMAGE, video_token_index=VIDEO, image_grid_pinpoints=GRID,
    )  # fmt: skip
    processor = unchecked(hf.LlavaOnevisionProcessor)(
        hf.LlavaOnevisionImageProcessorPil(**SQUARE, image_grid_pinpoints=GRID), tokenizer(),
        Videos(video_processor_type="LlavaOnevisionVideoProcessor"), num_image_tokens=16,
        vision_feature_select_strategy="full", chat_template=template(),
    )  # fmt: skip
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def idefics(name: str, *videos: Any) -> tuple[Any, Any]:
    config = getattr(hf, f"{name}Config")(
        vision_config=VISION, text_config=hf.LlamaConfig(**TEXT), scale_factor=2, image_token_id=IMAGE, pad_token_id=0
    )
    images = getattr(hf, f"{name}ImageProcessorPil")(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    kind = unchecked(getattr(hf, f"{name}Processor"))
    processor = kind(images, tokenizer(), *videos, image_seq_len=4, chat_template=template())
    return getattr(hf, f"{name}ForConditionalGeneration")(config), processor


def gemma3() -> tuple[Any, Any]:
    layers = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=hf.Gemma3TextConfig(**TEXT, head_dim=8, **layers), mm_tokens_per_image=4,
        image_token_index=IMAGE, boi_token_index=START, eoi_token_index=END,
    )  # fmt: skip
    words = tokenizer(image_token="<image>", boi_token="<start>", eoi_token="<end>")
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessorPil(**SQUARE), words, image_seq_length=4, chat_template=template("<start>")
    )
    return hf.Gemma3ForConditionalGeneration(config), processor


def paligemma() -> tuple[Any, Any]:
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(**VISION, vision_use_head=False, projection_dim=32),
        text_config=hf.GemmaConfig(**TEXT, head_dim=8), image_token_index=IMAGE, projection_dim=32,
    )  # fmt: skip
    images = hf.SiglipImageProcessorPil(**SQUARE)
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(images, tokenizer(image_token="<image>"))
    model = hf.PaliGemmaForConditionalGeneration(config)
    model.resize_token_embeddings(len(processor.tokenizer))  # the processor adds tokens that tell places
    return model, processor


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen2-vl": lambda: qwen("Qwen2VL", QWEN | {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}),
    "qwen2.5-vl": lambda: qwen("Qwen2_5_VL", MERGED | {"fullatt_block_indexes": [1], "window_size": 56}),
    "qwen3-vl": lambda: qwen(
        "Qwen3VL", MERGED | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}, head_dim=8
    ),
    "internvl": internvl,
    "llava-next": llava_next,
    "llava-onevision": llava_onevision,
    "idefics3": lambda: idefics("Idefics3"),
    "smolvlm": lambda: idefics("SmolVLM", Videos(video_processor_type="SmolVLMVideoProcessor")),
    "gemma3": gemma3,
    "paligemma": paligemma,
}


def save(name: str, folder: Path, make: Callable[[], tuple[Any, Any]] | None = None) -> Family:
    """Write a checkpoint with random weights, so large that answers depend on all that is read."""
    torch.manual_seed(0)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, processor = (make or FAMILIES[name])()
    for part, parameter in model.eval().named_parameters():
        torch.nn.init.normal_(parameter, std=0.1 if parameter.ndim == 1 else 0.3)
        if "norm" in part and part.endswith("weight") and (parameter.shape[0] == 16 or "gemma" not in name):
            parameter.data += 1  # Gemma's language model adds it by itself
        if "embed_tokens" in part and "gemma" in name:
            parameter.data /= 4  # it multiplies them, and they are its head too
    model.lm_head.weight.data[: len(SPECIAL)] = 0  # special tokens are never the most probable
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Family(name, folder, model, processor)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, threads only wait for each other
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return save(request.param, tmp_path_factory.mktemp("image-text") / request.param)


@pytest.fixture(scope="module")
def ours(family: Family) -> HFImageTextToText:
    return HFImageTextToText(str(family.folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2-VL."""
    return save("qwen2-vl", tmp_path_factory.mktemp("image-text") / "qwen").folder


def noise(seed: int, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def asked(text: str, *images: Image.Image, tokens: int = 6) -> Prompt:
    return Prompt(text, images, max_new_tokens=tokens)


def prompts(name: str) -> list[Prompt]:
    """Images of several sizes, two in one prompt, and none at all, which PaliGemma does not know."""
    every = [
        asked("Is there a dog in the image ?", noise(0, 40, 40)),
        asked("What colour is this cat ?", noise(1, 90, 30), noise(2, 30, 50)),
        asked("how many cat"),
        asked("how many", noise(3, 64, 48)),
    ]
    return [prompt for prompt in every if prompt.images or name != "paligemma"]


def read(family: Family, prompt: Prompt) -> dict[str, Any]:
    """What the library's own processor makes of a prompt."""
    text = "<image>" * len(prompt.images) + prompt.text
    if family.processor.chat_template is not None:
        parts = [{"type": "image"}] * len(prompt.images) + [{"type": "text", "text": prompt.text}]
        message = [{"role": "user", "content": parts}]
        text = family.processor.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
    images = [list(prompt.images)] if prompt.images else None
    return dict(family.processor(text=[text], images=images, return_tensors="pt"))


def stock(family: Family, prompt: Prompt) -> str:
    inputs = read(family, prompt)
    ids = family.model.generate(**inputs, max_new_tokens=prompt.max_new_tokens, do_sample=False)
    said: str = family.processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return said


# Answers


def test_answers_are_the_librarys_alone_and_in_a_batch(family: Family, ours: HFImageTextToText) -> None:
    every = prompts(family.name)
    expected = [stock(family, prompt) for prompt in every]
    assert ours.generate(every) == expected
    assert [ours.generate([prompt])[0] for prompt in every] == expected
    assert len(set(expected)) == len(every)  # they do depend on images and questions
    for contract in (Generator, Prefilling, Traceable):
        assert isinstance(ours, contract)


@pytest.mark.parametrize(
    "settings",
    [{"repetition_penalty": 1.5, "min_new_tokens": 3}, {"suppress_tokens": [30, 31, 40], "forced_eos_token_id": 2}],
)
def test_a_generation_config_is_followed_as_the_library_does(
    family: Family, ours: HFImageTextToText, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = prompts(family.name)
    before = ours.generate(every)
    for model in (family.model, ours.module):
        for name, value in settings.items():
            monkeypatch.setattr(model.generation_config, name, value)
    followed = Decoding(ours.module, family.processor.tokenizer, "checkpoint", "")
    monkeypatch.setattr(ours, "_loaded", ours._loaded._replace(decoding=followed))
    expected = [stock(family, prompt) for prompt in every]
    assert expected != before
    assert ours.generate(every) == expected
    assert [ours.generate([prompt])[0] for prompt in every] == expected


def test_a_placeholder_in_the_users_text_asks_for_nothing(family: Family, ours: HFImageTextToText) -> None:
    plain = prompts(family.name)[0]
    hostile = dataclasses.replace(plain, text="Is <image> there <ima<image>ge> a dog in the image ?")
    assert ours.generate([hostile]) == ours.generate([plain])


def test_a_checkpoint_is_read_as_hubs_keep_it(folder: Path, tmp_path: Path) -> None:
    older = shutil.copytree(folder, tmp_path / "older")
    stored = json.loads((older / "processor_config.json").read_text())
    (older / "processor_config.json").unlink()
    images = stored["image_processor"] | {"processor_class": stored["processor_class"]}
    (older / "preprocessor_config.json").write_text(json.dumps(images))
    (older / "video_preprocessor_config.json").write_text(json.dumps(stored["video_processor"]))
    every = prompts("qwen2-vl")
    assert HFImageTextToText(str(older)).generate(every) == HFImageTextToText(str(folder)).generate(every)


# Costs


def test_flops_are_those_of_each_prompts_own_pass(family: Family, ours: HFImageTextToText) -> None:
    every = prompts(family.name)
    answers = ours.answer(every)
    assert [answer.text for answer in answers] == ours.generate(every)
    assert not ours.uncounted
    for prompt, answer in zip(every, answers, strict=True):
        inputs = read(family, prompt)
        inputs.pop("labels", None)
        visual = int((inputs["input_ids"] == IMAGE).sum())
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            family.model(**inputs, logits_to_keep=1)
        text = inputs["input_ids"].numel() - visual
        assert answer.cost == PrefillCost(text, visual, flops=counter.get_total_flops())
        assert ours.answer([prompt]) == [answer]


def test_what_is_timed_is_the_prefill_that_answers(family: Family, ours: HFImageTextToText) -> None:
    prompt = prompts(family.name)[0]
    [logits] = ours.prefill([prompt])()
    assert logits.shape[:2] == (1, 1)
    first = family.processor.tokenizer.decode(logits[0, -1].argmax())
    assert ours.generate([prompt])[0].split()[0] == first
    assert len(ours.prefill(prompts(family.name))()) == 1 + (family.name != "paligemma")


def test_counting_can_be_left_out(folder: Path) -> None:
    model = HFImageTextToText(str(folder), flops=False)
    assert model.answer(prompts("qwen2-vl"))[0].cost == PrefillCost(15, 1)
    assert model.uncounted == "not counted: flops=false"


class Squares(torch.nn.Module):
    """One product a token, for each image once more, and a Fourier transform if it is asked for."""

    def __init__(self, transform: bool = False) -> None:
        super().__init__()
        self.inner, self.transform = torch.nn.Linear(4, 4, bias=False), transform

    def forward(self, input_ids: torch.Tensor, pixels: torch.Tensor | None = None) -> torch.Tensor:
        read = self.inner(input_ids[..., None].expand(*input_ids.shape, 4).float())
        read = read if pixels is None else read + self.inner(pixels).sum()
        return torch.fft.fft(read) if self.transform else read


def inputs(tokens: int, pixels: int = 0) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.zeros(1, tokens, dtype=torch.long)} | (
        {"pixels": torch.zeros(pixels, 4)} if pixels else {}
    )


def test_a_size_is_counted_once_and_traced_only_where_it_is_of_a_new_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, made, traced = PrefillFlops(Squares()), [], []
    both = flops.count_flops
    monkeypatch.setattr(
        "adaptbench.adapters.prefill_flops.count_flops", lambda *a, **k: traced.append(1) or both(*a, **k)
    )

    def of(tokens: int, pixels: int = 0) -> int | None:
        return counts.of((tokens, pixels), bool(pixels), lambda: made.append(1) or inputs(tokens, pixels))

    assert [of(3), of(5), of(3), of(5)] == [96, 160, 96, 160]
    assert [of(3, 2), of(3, 7), of(3, 2)] == [160, 320, 160]
    assert (len(made), len(traced)) == (4, 2)


def test_what_one_counter_does_not_know_is_refused_or_waived_by_name() -> None:
    counts = PrefillFlops(Squares(transform=True))
    assert [counts.of(n, 0, lambda: inputs(3)) for n in range(2)] == [None, None]
    assert "no counter covers the operator aten::fft_fft" in counts.refused
    counts = PrefillFlops(Squares(transform=True), waive=("aten::fft_fft",))
    assert (counts.of(0, 0, lambda: inputs(3)), counts.refused) == (96, "")


def test_a_count_that_fails_later_costs_the_flops_and_no_answer() -> None:
    counts = PrefillFlops(Squares())
    assert counts.of(0, 1, lambda: inputs(3, 2)) == 160
    assert counts.of(1, 1, lambda: inputs(3) | {"pixels": torch.zeros(2, 5)}) is None
    assert "its forward pass cannot be traced: RuntimeError: " in counts.refused
    assert counts.of(0, 1, lambda: inputs(3, 2)) is None


# What a processor refuses


class Images(adaptbench.Task):
    """Four questions, one on an image that is 300 times as wide as it is high."""

    card = adaptbench.TaskCard(summary="Images", capability="generate", metrics=(adaptbench.Metric(name="accuracy"),))
    sizes = ((40, 40), (300, 1), (64, 48), (40, 40))

    def __init__(self) -> None:
        every = [asked("how many", noise(n, *size)) for n, size in enumerate(self.sizes)]
        self.inputs = [adaptbench.Input(str(n), lambda prompt=prompt: prompt) for n, prompt in enumerate(every)]
        self.samples = [adaptbench.Sample(str(n), [n], "w37") for n in range(len(every))]


def test_what_a_processor_refuses_costs_that_sample(folder: Path, tmp_path: Path) -> None:
    [result] = adaptbench.run(f"hf-vlm:{folder}", Images(), out=tmp_path).results
    assert (result.samples, result.unscored) == (4, 1)
    [journal] = RunDirectory.existing(tmp_path).journals()
    records = list(journal.records())
    assert "processor refuses it: absolute aspect ratio must be smaller than 200, got 300" in records[1].fault
    model = HFImageTextToText(str(folder))
    answers = model.answer([record.load() for n, record in enumerate(Images().inputs) if n != 1])
    assert [record.output for record in records if not record.fault] == [answer.text for answer in answers]
    assert [cost for record in records for cost in record.costs] == [answer.cost for answer in answers]
    assert result.flops is not None
    assert result.flops.value == round(sum(answer.cost.flops for answer in answers) / 3)
    timing = journal.timing()
    assert timing is not None
    assert timing.what == "prefill of 3 prompts"
    with pytest.raises(BadSample, match="processor refuses it"):
        model.generate([asked("how many", noise(0, 1, 300))])


# What cannot work


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("Llama4", "Llama4"),
        ("Cohere2Vision", "Cohere2Vision"),
        ("Phi4Multimodal", "Phi4Multimodal"),
        ("Mistral3", "Pixtral"),  # where the processor needs it, and not the image processor
    ],
)
def test_a_family_that_needs_torchvision_says_so(config: str, parts: str, tmp_path: Path) -> None:
    getattr(hf, f"{config}Config")().save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    stored = {"image_processor_type": f"{parts}ImageProcessor", "processor_class": f"{parts}Processor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stored))
    with pytest.raises(
        UserError, match=r"only with torchvision, which cannot be imported here; install the torchvision"
    ):
        HFImageTextToText(str(tmp_path))


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    hf.Florence2Config().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="a florence2 is not a chat model of images and text"):
        HFImageTextToText(str(tmp_path))


def test_a_processor_that_can_read_no_image_is_told_at_once(folder: Path, tmp_path: Path) -> None:
    spoilt = shutil.copytree(folder, tmp_path / "spoilt")
    stored = json.loads((spoilt / "processor_config.json").read_text())
    stored["image_processor"]["merge_size"] = 0
    (spoilt / "processor_config.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match="its processor cannot read an image: ZeroDivisionError"):
        HFImageTextToText(str(spoilt))


@pytest.mark.parametrize("merged", [True, False])
def test_with_an_adapter_it_answers_as_pefts_model(merged: bool, folder: Path, tmp_path: Path) -> None:
    import peft
    from adaptbench.adapters.peft_folder import adapted, read_adapter

    base, asked = HFImageTextToText(str(folder)), prompts("qwen2-vl")[:1]
    config = peft.LoraConfig(target_modules=["qkv", "q_proj"], r=2)
    theirs = peft.get_peft_model(hf.AutoModelForImageTextToText.from_pretrained(folder).eval(), config)
    for name, weight in theirs.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    theirs.save_pretrained(tmp_path)
    before, given = base.answer(asked)[0], base.prepare(asked)
    model = base.with_network(adapted(base.network, read_adapter(str(tmp_path)), merged=merged))
    with torch.inference_mode():
        expected, said = (module(**given).logits[:, -1] for module in (theirs, model.module))
    torch.testing.assert_close(said, expected, rtol=0, atol=1e-5 if merged else 0)
    after = model.answer(asked)[0]
    assert (after.cost.flops == before.cost.flops) == merged
    assert base.answer(asked)[0] == before
