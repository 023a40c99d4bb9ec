"""Multimodal checkpoints on disk: answers equal the library's, however prompts are batched and work is shared."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.conversations import CONVERSATIONS, render
from adaptbench.adapters.images import squared
from adaptbench.adapters.lru import ByteLru
from adaptbench.adapters.transformers_image_text import HFImageTextToText
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.abilities import Prefilling, Traceable
from adaptbench.harness.contracts import Generator, Prompt
from adaptbench.harness.errors import UserError
from adaptbench.harness.hashing import image_digest
from adaptbench.harness.measure.flops import count_flops
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SPECIAL = [
    "<pad>",
    "<s>",
    "</s>",
    "<unk>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
]
WORDS = (
    "A chat between a curious user and an artificial intelligence assistant . The gives helpful , detailed polite "
    "answers to the ' s questions USER : ASSISTANT Is there dog cat in image ? yes no What colour is this it how many "
    "Answer the question using single word or phrase"
).split()
VOCABULARY = {word: index for index, word in enumerate(dict.fromkeys([*SPECIAL, *WORDS]))}
TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "vocab_size": len(VOCABULARY), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GROUPED = TEXT | {"num_key_value_heads": 2}
VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
LLAVAS: dict[str, tuple[Any, Any]] = {
    "llava-llama": (hf.LlamaConfig(**TEXT), "clip"),
    "llava-phi-siglip": (hf.PhiConfig(**TEXT), "siglip"),
    "llava-qwen2": (hf.Qwen2Config(**GROUPED), "clip"),
    "llava-mistral": (hf.MistralConfig(**GROUPED, sliding_window=12), "clip"),
}
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}"
    " USER : {{ part['text'] }}{% endif %}{% endfor %}{% endfor %} ASSISTANT :"
)


def tokenizer() -> Any:
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=SPECIAL[4:],
    )  # fmt: skip


def llava(name: str) -> tuple[Any, Any]:
    text, tower = LLAVAS[name]
    if tower == "clip":
        vision, images = hf.CLIPVisionConfig(**VISION), hf.CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )  # fmt: skip
    else:
        vision, images = hf.SiglipVisionConfig(**VISION), hf.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    strategy = "default" if tower == "clip" else "full"
    config = hf.LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=4, vision_feature_select_strategy=strategy
    )
    processor = hf.LlavaProcessor(
        images, tokenizer(), patch_size=8, vision_feature_select_strategy=strategy, chat_template=TEMPLATE,
        num_additional_image_tokens=int(tower == "clip"),
    )  # fmt: skip
    return hf.LlavaForConditionalGeneration(config), processor


def idefics() -> tuple[Any, Any]:
    config = hf.Idefics3Config(
        vision_config=VISION, text_config=hf.LlamaConfig(**GROUPED), scale_factor=2, image_token_id=4, pad_token_id=0
    )
    images = hf.Idefics3ImageProcessorPil(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    processor = hf.Idefics3Processor(images, tokenizer(), image_seq_len=4, chat_template=TEMPLATE)
    return hf.Idefics3ForConditionalGeneration(config), processor


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name -> folder of a checkpoint with random weights; written once and not to be changed."""
    known: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in known:
            known[name] = tmp_path_factory.mktemp("multimodal") / name
            torch.manual_seed(0)
            model, processor = idefics() if name == "idefics3" else llava(name)
            for part, parameter in model.named_parameters():  # so large that answers depend on all that is read
                torch.nn.init.normal_(parameter, std=0.1 if parameter.ndim == 1 else 0.5)
                if "norm" in part and part.endswith("weight"):
                    parameter.data += 1
            model.lm_head.weight.data[: len(SPECIAL)] = 0  # special tokens are never the most probable
            logging.disable_progress_bar()
            model.save_pretrained(known[name])
            processor.save_pretrained(known[name])
        return known[name]

    return get


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, threads only wait for each other
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=LLAVAS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def noise(seed: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


QUESTIONS = (
    "Is there a dog in the image ?",
    "What colour is the cat ?",
    "how many",
    "Is it a dog or a cat ? yes or no",
)


def asked(text: str, *images: Image.Image, tokens: int = 8, stop: tuple[str, ...] = (), known: bool = True) -> Prompt:
    digests = tuple(map(image_digest, images)) if known else ()
    return Prompt(text, images, digests, tokens, stop)


def batch(known: bool = True) -> list[Prompt]:
    """Three images of different shapes and a prompt without one, several questions each, in no order."""
    images = [noise(0), noise(1, (50, 30)), noise(2, (20, 44))]
    prompts = [asked(text, image, known=known) for text in QUESTIONS for image in images]
    return [*prompts[:5], asked("What is the colour ?"), *prompts[5:]]


def stock(folder: Path, prompts: list[Prompt], conversation: str, square: bool = True, **options: Any) -> list[str]:
    """Answers of the library, one prompt at a time, without the token that ends them."""
    model = hf.AutoModelForImageTextToText.from_pretrained(folder, **options).eval()
    processor = hf.AutoProcessor.from_pretrained(folder, backend="pil")
    answers = []
    for prompt in prompts:
        images = [squared(i, processor.image_processor.image_mean) if square else i for i in prompt.images]
        text = render(conversation, prompt, processor)
        inputs = processor(images=images or None, text=text, return_tensors="pt").to(model.dtype)
        ids = model.generate(**inputs, max_new_tokens=prompt.max_new_tokens, do_sample=False)
        said = ids[0, inputs["input_ids"].shape[1] :].tolist()
        if said[-1] in np.atleast_1d(model.generation_config.eos_token_id):
            said.pop()
        answers.append(processor.tokenizer.decode(said, skip_special_tokens=True))
    return answers


def calls(module: torch.nn.Module) -> list[int]:
    """A list that gets the first axis of what a module is given, call by call."""
    seen: list[int] = []
    module.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(args[0] if args else kwargs["pixel_values"])), with_kwargs=True
    )
    return seen


# Answers


@pytest.mark.parametrize("conversation", ["vicuna_v1", "plain", "chat-template"])
def test_answers_are_the_librarys_word_by_word(name: str, conversation: str, saved: Callable) -> None:
    model = HFMultimodal(str(saved(name)), conversation=conversation)
    answers = model.generate(batch())
    assert answers == stock(saved(name), batch(), conversation)
    assert all(len(answer.split()) == 8 for answer in answers)
    assert len(set(answers)) > 6  # they do depend on image and question


@pytest.mark.parametrize("share", [True, False])
def test_batched_answers_are_those_of_single_prompts(name: str, share: bool, saved: Callable) -> None:
    model = HFMultimodal(str(saved(name)), share=share)
    answers = model.generate(batch())
    assert answers == [model.generate([prompt])[0] for prompt in batch()]
    assert answers == model.generate(batch()[::-1])[::-1]
    assert answers == HFMultimodal(str(saved(name)), share=not share).generate(batch(known=False))


def test_eager_attention_answers_alike(name: str, saved: Callable) -> None:
    fused, eager = (HFMultimodal(str(saved(name)), attention=kind) for kind in ("sdpa", "eager"))
    assert fused.generate(batch()) == eager.generate(batch())
    assert eager.convention["attention"] == "eager"


def test_bfloat16_runs_through(name: str, saved: Callable) -> None:
    model = HFMultimodal(str(saved(name)), dtype="bfloat16")
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.bfloat16}
    answers = model.generate(batch())
    assert all(len(answer.split()) == 8 for answer in answers)
    assert len(set(answers)) > 6


def test_each_answer_has_its_own_end(saved: Callable) -> None:
    model = HFMultimodal(str(saved("llava-llama")))
    whole = model.generate(batch())
    prompts = [dataclasses.replace(prompt, max_new_tokens=1 + i % 5) for i, prompt in enumerate(batch())]
    assert model.generate(prompts) == [" ".join(text.split()[: 1 + i % 5]) for i, text in enumerate(whole)]
    words = [text.split()[3] for text in whole]
    stopped = [dataclasses.replace(p, stop=("never", word)) for p, word in zip(batch(), words, strict=True)]
    assert model.generate(stopped) == [t.partition(w)[0].strip() for t, w in zip(whole, words, strict=True)]


def test_an_end_token_ends_an_answer_and_is_no_part_of_it(saved: Callable, tmp_path: Path) -> None:
    whole = HFMultimodal(str(saved("llava-llama"))).generate(batch())
    word = whole[0].split()[4]
    folder = shutil.copytree(saved("llava-llama"), tmp_path / "llava")
    settings = json.loads((folder / "generation_config.json").read_text())
    settings["eos_token_id"] = [2, VOCABULARY[word]]
    (folder / "generation_config.json").write_text(json.dumps(settings))
    answers = HFMultimodal(str(folder)).generate(batch())
    cut = [text.split()[: text.split().index(word)] if word in text.split() else text.split() for text in whole]
    assert answers == [" ".join(words) for words in cut]
    assert len(answers[0].split()) <= 4


def test_several_images_are_read_where_the_conversation_allows(saved: Callable) -> None:
    prompts = [asked(QUESTIONS[0], noise(0), noise(1)), asked(QUESTIONS[1], noise(1), noise(0))]
    for conversation in ("plain", "chat-template"):
        model = HFMultimodal(str(saved("llava-qwen2")), conversation=conversation)
        assert model.generate(prompts) == stock(saved("llava-qwen2"), prompts, conversation)
        assert model.token_counts(prompts[0])[1] == 32
    with pytest.raises(UserError, match="vicuna_v1 takes 1 image per message, and this one has 2"):
        HFMultimodal(str(saved("llava-qwen2")), conversation="vicuna_v1").generate(prompts)


def test_a_prompt_that_ends_with_its_image_is_answered(saved: Callable) -> None:
    model = HFMultimodal(str(saved("llava-llama")), conversation="plain")
    prompts = [asked("", noise(0)), asked("What", noise(0))]
    assert model.generate(prompts) == stock(saved("llava-llama"), prompts, "plain")


def test_a_placeholder_in_the_users_text_is_no_image(saved: Callable) -> None:
    model = HFMultimodal(str(saved("llava-llama")))
    one, other = (model.generate([asked(text, noise(0))]) for text in ("What <image> is", "What  is"))
    assert one == other


# Decoding

SETTINGS: tuple[dict[str, Any], ...] = (
    {"no_repeat_ngram_size": 2, "sequence_bias": [[[10], 99.0]]},
    {"suppress_tokens": [10, 11, 12, 13, 14, 15, 16], "begin_suppress_tokens": list(range(20, 40))},
    {"bad_words_ids": [[token] for token in range(20, 32)], "eos_token_id": [2, 33, 34, 35]},
    {"forced_eos_token_id": 2, "min_new_tokens": 3, "eos_token_id": [2, *range(10, 20)]},
    {"repetition_penalty": 1.5},
)


@pytest.mark.parametrize("family", ["llava-llama", "idefics3"])
def test_a_generation_config_is_followed_as_the_library_does(family: str, saved: Callable, tmp_path: Path) -> None:
    folder = shutil.copytree(saved(family), tmp_path / family)
    written = json.loads((folder / "generation_config.json").read_text())
    prompts = [asked(text, noise(n)) for n, text in enumerate(QUESTIONS)]
    plain = stock(folder, prompts, "chat-template")
    for settings in SETTINGS:
        (folder / "generation_config.json").write_text(json.dumps(written | {"do_sample": True} | settings))
        expected = stock(folder, prompts, "chat-template")
        assert expected != plain
        for kind in (HFImageTextToText, HFMultimodal)[: 2 if family == "llava-llama" else 1]:
            model = kind(str(folder), conversation="chat-template")
            assert model.generate(prompts) == expected
            assert model.generate(prompts[:1]) == expected[:1]
    bare = HFImageTextToText(str(folder), conversation="chat-template", decoding="bare")
    assert bare.generate(prompts) == plain
    assert bare.module.generation_config.repetition_penalty == 1.5


# Sharing


def test_an_image_is_seen_once_and_read_once(name: str, saved: Callable) -> None:
    shared, apart = (HFMultimodal(str(saved(name)), share=share) for share in (True, False))
    prompts = [asked(text, noise(seed)) for seed in (0, 1) for text in QUESTIONS]
    for model, images, beginnings in ((shared, [1, 1], [1, 1]), (apart, [1] * 8, [])):
        seen = calls(model.module.model.model.vision_tower)
        read = calls(model.decoder.blocks.layers[0].self_attn.q_proj)
        model.generate([dataclasses.replace(prompt, max_new_tokens=1) for prompt in prompts])
        assert seen == images
        assert read == [*beginnings, 8]
        model.generate([dataclasses.replace(prompt, max_new_tokens=1) for prompt in prompts])
        assert seen == (images if model is shared else images * 2)


def test_images_without_digests_share_nothing(saved: Callable) -> None:
    model = HFMultimodal(str(saved("llava-llama")))
    seen = calls(model.module.model.model.vision_tower)
    model.generate([asked(text, noise(0), known=False) for text in QUESTIONS])
    assert seen == [1] * 4


def test_shared_work_stays_within_its_bytes(saved: Callable) -> None:
    roomy, narrow = HFMultimodal(str(saved("llava-llama"))), HFMultimodal(str(saved("llava-llama")), memory=30_000)
    assert narrow.generate(batch()) == roomy.generate(batch())
    assert roomy._memory.bytes > narrow._memory.bytes
    assert narrow._memory.bytes <= 30_000
    nothing = HFMultimodal(str(saved("llava-llama")), memory=0)
    seen = calls(nothing.module.model.model.vision_tower)
    assert nothing.generate(batch()) == roomy.generate(batch())
    assert seen == [1, 1, 1]  # within a batch, work is shared all the same


def test_a_timed_prefill_shares_nothing(name: str, saved: Callable) -> None:
    model = HFMultimodal(str(saved(name)))
    prompts = [asked(text, noise(0)) for text in QUESTIONS]
    model.generate(prompts)
    seen = calls(model.module.model.model.vision_tower)
    run = model.prefill(prompts)
    assert seen == []
    logits = run()
    assert seen == [4]
    run()
    assert seen == [4, 4]
    assert isinstance(logits, torch.Tensor)
    first = [answer.split()[0] for answer in model.generate(prompts)]
    assert [list(VOCABULARY)[i] for i in logits.argmax(-1).tolist()] == first


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=30), st.integers(0, 100))
def test_what_is_kept_is_right_recent_and_bounded(uses: list[tuple[int, int]], limit: int) -> None:
    memory, made = ByteLru(limit), []
    for key, size in uses:

        def make(value: tuple[int, int] = (key, size)) -> tuple[int, int]:
            made.append(value)
            return value

        kept = memory.get(key, make, lambda value: value[1])
        assert kept in made
        assert kept[0] == key
        assert memory.bytes <= limit
        if kept[1] <= limit:  # what was used last is still there
            assert memory.get(key, lambda: None, lambda _: 0) == kept


# What it costs


def flops(model: HFMultimodal, prompts: Sequence[Prompt]) -> list[int]:
    return [answer.cost.flops for answer in model.answer(prompts)]


def test_flops_are_those_of_the_pass_that_is_timed(name: str, saved: Callable) -> None:
    model = HFMultimodal(str(saved(name)))
    prompts = [asked(QUESTIONS[0], noise(0)), asked(QUESTIONS[3], noise(1)), asked("how many")]
    counted = [count_flops(model.module, model.prepare([prompt]), phase="prefill").value for prompt in prompts]
    assert flops(model, prompts) == counted
    assert len(set(counted)) == 3


def test_torchs_own_counter_agrees(saved: Callable) -> None:
    model = HFMultimodal(str(saved("llava-qwen2")), attention="eager")
    for prompt in (asked(QUESTIONS[0], noise(0)), asked("how many")):
        run = model.prefill([prompt])
        with FlopCounterMode(display=False) as counter:
            run()
        assert flops(model, [prompt]) == [counter.get_total_flops()]


def test_an_answer_comes_with_its_cost(name: str, saved: Callable) -> None:
    model = HFMultimodal(str(saved(name)), conversation="chat-template")
    processor = hf.AutoProcessor.from_pretrained(saved(name), backend="pil")
    assert isinstance(model, Generator)
    assert isinstance(model, Prefilling)
    assert isinstance(model, Traceable)
    answers = model.answer(batch())
    assert [answer.text for answer in answers] == model.generate(batch())
    for answer, prompt in zip(answers, batch(), strict=True):
        text = render("chat-template", prompt, processor)
        ids = processor(images=list(prompt.images) or None, text=text, return_tensors="pt")["input_ids"]
        visual = int((ids == 4).sum())
        spent, full, base = answer.cost.language
        assert spent == full == base  # no method acts
        assert (0 < spent < answer.cost.flops) if visual else (spent == answer.cost.flops)
        assert (answer.cost.text_tokens, answer.cost.visual_tokens) == (ids.shape[1] - visual, visual)
        assert (answer.cost.units, answer.cost.ran) == (None, None)


@dataclasses.dataclass
class First:
    """Keeps the first visual tokens from a block on, and puts a token after the prompt."""

    first: int = 1
    keep: int = 5

    def after_prompt(self, batch: int) -> torch.Tensor:
        return torch.full((batch, 1, 32), 0.1)

    def before(self, index: int, state: Any) -> Any:
        if index != self.first:
            return state
        visual = state.tokens.visual
        return state.keep(torch.logical_not(visual & (visual.cumsum(1) > self.keep)))


def test_a_method_steers_shared_and_single_prompts_alike(name: str, saved: Callable) -> None:
    base, apart = (HFMultimodal(str(saved(name)), share=share) for share in (True, False))
    ours, alone = base.with_method(First()), apart.with_method(First())
    answers = ours.answer(batch())
    assert [answer.text for answer in answers] == alone.generate(batch())
    assert [answer.text for answer in answers] == [ours.generate([prompt])[0] for prompt in batch()]
    assert [answer.text for answer in answers] != base.generate(batch())
    assert base.methods == ()
    assert ours.module.model is base.module.model
    for prompt, answer in zip(batch()[:6], answers, strict=False):
        counted = count_flops(ours.module, ours.prepare([prompt]), phase="prefill").value
        assert answer.cost.flops == counted


def test_what_a_method_computes_itself_is_part_of_the_cost(saved: Callable) -> None:
    base = HFMultimodal(str(saved("llava-llama")))
    costly = First()
    costly.flops = 1000  # type: ignore[attr-defined]
    without, prompts = flops(base.with_method(First()), batch()), batch()
    assert flops(base.with_method(costly), prompts) == [count + 1000 for count in without]


def test_the_tower_is_counted_once_for_all_variants(saved: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    base = HFMultimodal(str(saved("llava-llama")))
    expected = flops(base.with_method(First()), batch())
    monkeypatch.setattr("adaptbench.harness.measure.counting.Counter.count", None)
    assert flops(base.with_method(First()), batch()) == expected


def test_other_weights_are_another_model_that_shares_its_tower(name: str, saved: Callable) -> None:
    base = HFMultimodal(str(saved(name)))
    before, model = base.generate(batch()), base.module.model
    inner = [key for key, _ in model.named_parameters() if "vision_tower" not in key]
    chance = torch.Generator().manual_seed(3)
    tensors = {key: torch.randn(model.get_parameter(key).shape, generator=chance) * 0.2 for key in inner[1::2]}
    other = base.with_weights(tensors)
    answers = other.generate(batch())
    assert answers != before
    assert base.generate(batch()) == before
    assert other.module.model.model.vision_tower is model.model.vision_tower
    assert other.module.model.get_parameter(inner[0]) is model.get_parameter(inner[0])
    with torch.no_grad():  # the same, put into a model by hand
        alone = HFMultimodal(str(saved(name)))
        for key, tensor in tensors.items():
            alone.module.model.get_parameter(key).copy_(tensor)
    assert answers == alone.generate(batch())
    tower = next(key for key, _ in model.named_parameters() if "vision_tower" in key)
    for wrong in ({"none": torch.zeros(1)}, {tower: model.get_parameter(tower)}, {inner[0]: torch.zeros(1)}):
        with pytest.raises(UserError, match="give weights of this model"):
            base.with_weights(wrong)


def test_a_selector_stands_before_the_projector(saved: Callable) -> None:
    base = HFMultimodal(str(saved("llava-llama")))

    def some(model: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
        states = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        return [row[: 3 + (row[0, 0] > row[1, 0])] for row in states]

    def every(model: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
        return list(model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:])

    assert base.with_selector(every).generate(batch()) == base.generate(batch())
    chosen, prompts = base.with_selector(some), batch()
    answers = chosen.answer(prompts)
    assert [answer.text for answer in answers] == [chosen.generate([prompt])[0] for prompt in prompts]
    assert {answer.cost.visual_tokens for answer in answers} <= {0, 3, 4}
    for prompt, answer in zip(prompts[:4], answers, strict=False):
        assert answer.cost.flops == count_flops(chosen.module, chosen.prepare([prompt])).value


# Conversations and images


def test_vicuna_v1_is_what_llava_was_trained_on(saved: Callable) -> None:
    processor = hf.AutoProcessor.from_pretrained(saved("llava-llama"), backend="pil")
    text = render("vicuna_v1", asked("What is this?\nAnswer briefly.", noise(0)), processor)
    assert text == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\nWhat is this?\nAnswer briefly. ASSISTANT:"
    )
    assert render("vicuna_v1", asked("Why?"), processor) == text.split("<image>")[0] + "Why? ASSISTANT:"
    assert render("plain", asked("Why?", noise(0)), processor) == "<image>\nWhy?"
    assert render("vicuna_v1", asked("Why?"), processor, "Be brief.") == "Be brief. USER: Why? ASSISTANT:"
    assert set(CONVERSATIONS) == {"vicuna_v1", "plain", "prefix"}


def test_a_system_prompt_comes_first(saved: Callable) -> None:
    folder, prompts = str(saved("llava-llama")), [asked(text, noise(0)) for text in QUESTIONS]
    for conversation in ("vicuna_v1", "chat-template"):
        options = {"conversation": conversation, "system": "Answer yes or no"}
        models = [kind(folder, **options) for kind in (HFMultimodal, HFImageTextToText)]
        answers = models[0].generate(prompts)
        assert models[1].generate(prompts) == answers
        assert answers != HFMultimodal(folder, conversation=conversation).generate(prompts)
        text = models[0].loaded.render(prompts[0])
        assert text.index("Answer yes or no") < text.index("<image>") < text.index(QUESTIONS[0])
    with pytest.raises(UserError, match="the conversation plain has no system prompt; choose conversation=chat-templ"):
        HFMultimodal(folder, conversation="plain", system="Answer yes or no")


@pytest.mark.parametrize(
    ("folder", "template", "conversation"),
    [
        ("llava-1.5-7b-hf", True, "vicuna_v1"),
        ("tiny-vicuna", True, "vicuna_v1"),
        ("bakLlava", True, "chat-template"),
        ("bakLlava", False, "vicuna_v1"),
    ],
)
def test_auto_chooses_by_name_and_template(
    folder: str, template: bool, conversation: str, saved: Callable, tmp_path: Path
) -> None:
    path = shutil.copytree(saved("llava-llama"), tmp_path / folder)
    if not template:
        for file in path.glob("chat_template*"):
            file.unlink()
    chosen = HFMultimodal(str(path)).generate(batch())
    assert chosen == HFMultimodal(str(saved("llava-llama")), conversation=conversation).generate(batch())


def test_images_are_padded_to_a_square_of_the_mean_colour() -> None:
    white = Image.new("RGB", (5, 2), "white")
    square = np.asarray(squared(white, (0.48145466, 0.4578275, 0.40821073)))
    assert square.shape == (5, 5, 3)
    assert (square[1:3] == 255).all()
    assert (square[[0, 3, 4]] == (122, 116, 104)).all()
    tall = np.asarray(squared(white.rotate(90, expand=True), (0.5, 0.5, 0.5)))
    assert (tall[:, 1:3] == 255).all()
    assert (tall[:, [0, 3, 4]] == 127).all()


def test_palette_images_are_read_as_rgb(saved: Callable) -> None:
    model = HFMultimodal(str(saved("llava-llama")))
    palette = noise(0).convert("P")
    assert model.generate([asked("What", palette)]) == model.generate([asked("What", palette.convert("RGB"))])


# Any other model


def test_another_family_runs_in_batches(saved: Callable) -> None:
    model = HFImageTextToText(str(saved("idefics3")))
    answers = model.generate(batch())
    assert answers == stock(saved("idefics3"), batch(), "chat-template", square=False)
    assert answers == [model.generate([prompt])[0] for prompt in batch()]
    assert len(set(answers)) > 4
    assert isinstance(model, Generator)
    assert isinstance(model, Traceable)
    stopped = dataclasses.replace(batch()[0], stop=(answers[0].split()[2],))
    assert model.generate([stopped, *batch()[1:]]) == [" ".join(answers[0].split()[:2]), *answers[1:]]
    short = dataclasses.replace(batch()[1], max_new_tokens=3)
    assert model.generate([batch()[0], short]) == [answers[0], " ".join(answers[1].split()[:3])]


def test_both_adapters_answer_alike_where_images_are_square(name: str, saved: Callable) -> None:
    prompts = [asked(text, noise(seed)) for seed in (0, 1) for text in QUESTIONS]
    for conversation in ("vicuna_v1", "chat-template"):
        one, other = (kind(str(saved(name)), conversation=conversation) for kind in (HFMultimodal, HFImageTextToText))
        assert one.generate(prompts) == other.generate(prompts)


# What cannot work


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("dtype", "int8", "float32, bfloat16, float16"),
        ("attention", "flash", "sdpa, eager"),
        ("conversation", "alpaca", "auto, chat-template, vicuna_v1, plain"),
    ],
)
@pytest.mark.parametrize("kind", [HFMultimodal, HFImageTextToText])
def test_unknown_options_are_told_before_anything_loads(kind: Any, option: str, value: str, known: str) -> None:
    with pytest.raises(UserError, match=f"unknown {option} '{value}'; choose from {known}"):
        kind("nobody/nothing", **{option: value})


def test_other_checkpoints_are_refused_in_a_line(saved: Callable, tmp_path: Path) -> None:
    hf.BertConfig().save_pretrained(tmp_path / "bert")
    for kind in (HFMultimodal, HFImageTextToText):
        with pytest.raises(UserError, match="a bert is not a chat model of images and text; name one"):
            kind(str(tmp_path / "bert"))
    with pytest.raises(UserError, match="idefics3: idefics3 is not a LLaVA; run it as a general model"):
        HFMultimodal(str(saved("idefics3")))
    text = hf.GPT2Config(n_embd=8, n_head=2, n_layer=1)
    hf.LlavaConfig(text_config=text, vision_config=hf.CLIPVisionConfig(**VISION)).save_pretrained(tmp_path / "gpt")
    with pytest.raises(UserError, match="its language model is a gpt2, and this takes llama, mistral, phi, qwen2"):
        HFMultimodal(str(tmp_path / "gpt"))
    with pytest.raises(UserError, match="there is no such folder"):
        HFMultimodal(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("processor_config.json", "it has no image processor: none of preprocessor_config.json, processor_config.json"),
        ("tokenizer.json", "it has no tokenizer: none of tokenizer.json"),
        ("model.safetensors", r"it has no model\.safetensors, and no other weights"),
        ("config.json", r"it has no config\.json"),
    ],
)
def test_a_checkpoint_that_lacks_a_part_says_which(file: str, message: str, saved: Callable, tmp_path: Path) -> None:
    folder = shutil.copytree(saved("llava-llama"), tmp_path / "llava")
    (folder / file).unlink()
    with pytest.raises(UserError, match=message):
        HFMultimodal(str(folder))


def test_weights_that_lack_a_part_and_a_missing_template_are_told(saved: Callable, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(saved("llava-llama"), tmp_path / "llava")
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in sorted(weights) if "projector" in name)
    save_file({n: w for n, w in weights.items() if n != gone}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"its weights lack .*projector"):
        HFMultimodal(str(folder))
    for file in folder.glob("chat_template*"):
        file.unlink()
    with pytest.raises(UserError, match="its processor has no chat template; choose conversation=vicuna_v1 or plain"):
        HFMultimodal(str(folder), conversation="chat-template")


def test_the_fingerprint_covers_weights_and_words(saved: Callable, tmp_path: Path) -> None:
    folder = shutil.copytree(saved("llava-llama"), tmp_path / "llava")
    prints = {HFMultimodal.fingerprint(str(folder), dtype="float32")}
    assert prints == {HFMultimodal.fingerprint(str(saved("llava-llama")))}
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        content = bytearray((folder / file).read_bytes())
        content[-1] ^= 1
        (folder / file).write_bytes(bytes(content))
        prints.add(HFImageTextToText.fingerprint(str(folder)))
    assert len(prints) == 4
