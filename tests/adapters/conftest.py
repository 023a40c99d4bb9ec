"""Tiny checkpoints of real architectures, as ``save_pretrained`` writes them, with their image processors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.utils import logging

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOWER = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "image_size": 32, "patch_size": 8}
WIDE = TOWER | {"intermediate_size": 32}
TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32, "vocab_size": 64}
STAGES = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}

MODELS: dict[str, Callable[[], Any]] = {
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**WIDE)),
    "vit-classifier": lambda: hf.ViTForImageClassification(hf.ViTConfig(**WIDE)),
    "deit": lambda: hf.DeiTModel(hf.DeiTConfig(**WIDE)),
    "beit": lambda: hf.BeitModel(hf.BeitConfig(**WIDE)),
    "beit-masked": lambda: hf.BeitForMaskedImageModeling(hf.BeitConfig(**WIDE)),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**TOWER)),
    "dinov2-registers": lambda: hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(**TOWER, num_register_tokens=3)
    ),
    "dinov3": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**WIDE, num_register_tokens=3)),
    "clip": lambda: hf.CLIPModel(hf.CLIPConfig(vision_config=WIDE, text_config=TEXT, projection_dim=8)),
    "clip-vision": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**WIDE)),
    "clip-projected": lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**WIDE, projection_dim=8)),
    "siglip": lambda: hf.SiglipModel(hf.SiglipConfig(vision_config=WIDE, text_config=TEXT)),
    "siglip-vision": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**WIDE)),
    "resnet": lambda: hf.ResNetModel(hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])),
    "convnext": lambda: hf.ConvNextModel(hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)),
    "swin": lambda: hf.SwinModel(hf.SwinConfig(**STAGES)),
}

_CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
_SQUARE = {"size": {"height": 32, "width": 32}}
PROCESSORS: dict[str, Callable[[], Any]] = {
    "dinov2": lambda: hf.BitImageProcessorPil(**_CROP),
    "clip": lambda: hf.CLIPImageProcessorPil(**_CROP),
    "siglip": lambda: hf.SiglipImageProcessorPil(**_SQUARE),
    "deit": lambda: hf.DeiTImageProcessorPil(size=_SQUARE["size"], crop_size=_SQUARE["size"]),
    "beit": lambda: hf.BeitImageProcessorPil(**_SQUARE, do_center_crop=False),
    "convnext": lambda: hf.ConvNextImageProcessorPil(size={"shortest_edge": 32}),
    "resnet": lambda: hf.ConvNextImageProcessorPil(size={"shortest_edge": 32}),
}

WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300}
NARROW = {**WIDTH, "intermediate_size": 64, "max_position_embeddings": 256}
LOCAL = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 300, "max_position_embeddings": 256} | {
    "attention_types": [[["global", "local"], 1]]
}
GROUPED = NARROW | {"num_key_value_heads": 2}
EDGE = 142
"""A window in which test_causal's longest prompt ends, but not its answer."""
LANGUAGE_MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)),
    "llama-tied": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED, tie_word_embeddings=True)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=200)),
    "mistral-short": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=24)),
    "mistral-edge": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=EDGE)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED)),
    "phi": lambda: hf.PhiForCausalLM(hf.PhiConfig(**NARROW)),
    "pythia": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**NARROW)),
    "gpt-neo": lambda: hf.GPTNeoForCausalLM(hf.GPTNeoConfig(**LOCAL)),
    "gpt-neo-short": lambda: hf.GPTNeoForCausalLM(hf.GPTNeoConfig(**LOCAL, window_size=24)),
    "gpt-neo-edge": lambda: hf.GPTNeoForCausalLM(hf.GPTNeoConfig(**LOCAL, window_size=EDGE)),
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=300, n_positions=256)),
    "mpt": lambda: hf.MptForCausalLM(hf.MptConfig(d_model=32, n_layers=2, n_heads=4, vocab_size=300, max_seq_len=256)),
}


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk and the model that was saved."""

    folder: Path
    stock: torch.nn.Module


def save(name: str, folder: Path, seed: int = 0) -> Saved:
    torch.manual_seed(seed)
    stock = MODELS[name]().eval()
    for parameter in stock.parameters():  # biases and registers that start at zero would hide a wrong pooling
        torch.nn.init.normal_(parameter, std=0.1)
    logging.disable_progress_bar()
    stock.save_pretrained(folder)
    processor = PROCESSORS.get(name.partition("-")[0], lambda: hf.ViTImageProcessorPil(**_SQUARE))
    processor().save_pretrained(folder)
    return Saved(folder, stock)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Saved]:
    """Name -> checkpoint; each is written once and must not be changed."""
    known: dict[str, Saved] = {}

    def get(name: str) -> Saved:
        if name not in known:
            known[name] = save(name, tmp_path_factory.mktemp("checkpoints") / name)
        return known[name]

    return get


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Saved]:
    """Name -> checkpoint of the test's own, to be changed."""

    def get(name: str, folder: str = "own", seed: int = 0) -> Saved:
        return save(name, tmp_path / folder, seed)

    return get


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)) for _ in range(4)]


def _byte_tokenizer() -> hf.PreTrainedTokenizerFast:
    """One token a byte, as byte-level BPE without merges has it, and no token for padding."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"</s>": 0, **{letter: number for number, letter in enumerate(alphabet, start=1)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", model_max_length=256)


def save_language(family: str, folder: Path, tokenizer: Any, change: Callable[[Any], Any] | None = None) -> Path:
    torch.manual_seed(0)
    model = LANGUAGE_MODELS[family]().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(10)  # else all answers are the same token
        if change:
            change(model)
    model.generation_config.eos_token_id = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def language(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Family -> folder of a tiny causal language model with a tokenizer of bytes and a context of 256."""
    made: dict[str, Path] = {}

    def saved(family: str) -> Path:
        if family not in made:
            made[family] = save_language(family, tmp_path_factory.mktemp(family), _byte_tokenizer())
        return made[family]

    return saved


@pytest.fixture
def own_language(tmp_path: Path) -> Callable[..., Path]:
    """Family, and what to change of the model, and another tokenizer -> folder of the test's own."""

    def saved(family: str, change: Callable[[Any], Any] | None = None, tokenizer: Any = None) -> Path:
        return save_language(family, tmp_path / family, tokenizer or _byte_tokenizer(), change)

    return saved


@pytest.fixture(scope="session")
def tokenizer() -> hf.PreTrainedTokenizerFast:
    """The tokenizer of all of them."""
    return _byte_tokenizer()


@pytest.fixture(scope="session")
def toy_tasks(language: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of lm-eval tasks of each kind, on questions of which a tiny llama answers every other one right."""
    from adaptbench.adapters.transformers_causal import HFCausalLM
    from adaptbench.harness.contracts import Prompt

    folder = tmp_path_factory.mktemp("toy-tasks")
    model = HFCausalLM(str(language("llama")))
    rows = []
    for number, word in enumerate(("cat", "dog", "bird", "ant", "owl", "bee", "elk", "fox")):
        question = f"What is a {word}?"
        [said] = model.generate([Prompt(f"Q: {question}\nA:", max_new_tokens=6, stop=("b", "#"))])
        choices = ["an animal", "a plant", "none of the two"]
        scores = model.loglikelihood([(f"Q: {question}\nA:", f" {choice}") for choice in choices])
        best = max(range(3), key=lambda place, scores=scores: scores[place][0])
        # No text that repeats itself: lm-eval mixes up windows of the same tokens that differ in how many are new.
        text = "".join(np.random.default_rng(number).choice(list("abcde "), 80 * number + 60))
        rows.append(
            {"q": question, "choices": choices, "gold": best if number % 2 else (best + 1) % 3, "text": text}
            | {"yes": int(number < 5), "said": said if number % 2 else f" {said}"}
        )
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"data_files": {"test": str(folder / "rows.jsonl")}, "cache_dir": str(folder / "cache")}
    common = {"dataset_path": "json", "dataset_kwargs": data, "test_split": "test", "doc_to_text": "Q: {{q}}\nA:"}
    answers = {"output_type": "generate_until", "doc_to_target": "said"}
    answers["generation_kwargs"] = {"until": ["b", "#"], "max_gen_toks": 6}
    chosen = {"output_type": "multiple_choice", "doc_to_target": "gold", "doc_to_choice": "choices"}
    yes_no = {"output_type": "multiple_choice", "doc_to_target": "yes", "doc_to_choice": ["no", "yes"]}
    known: dict[str, Any] = {
        "toy-choice": chosen | {"fewshot_split": "test"},
        "toy-f1": yes_no | {"metric_list": [{"metric": "acc"}, {"metric": "f1", "aggregation": "f1"}]},
        "toy-text": answers,
        "toy-filters": answers
        | {
            "filter_list": [
                {
                    "name": "first",
                    "filter": [{"function": "regex", "regex_pattern": "(.)"}, {"function": "take_first"}],
                },
                {"name": "whole", "filter": [{"function": "take_first"}]},
            ]
        },
        "toy-cloze": {"output_type": "loglikelihood", "doc_to_target": " {{choices[gold]}}"},
        "toy-rolling": {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "text"},
        "toy-sampled": answers | {"generation_kwargs": {"until": ["b"], "do_sample": True, "temperature": 0.7}},
    }
    for name, fields in known.items():
        (folder / f"{name}.yaml").write_text(json.dumps({"task": name} | common | fields))
    (folder / "group.yaml").write_text(json.dumps({"group": "toy-group", "task": ["toy-choice", "toy-text"]}))
    return folder


@pytest.fixture(scope="session")
def lm_evals(language: Callable[[str], Path], toy_tasks: Path) -> Callable[..., Any]:
    """Run lm-eval on toy tasks, by name; with its own model of the tiny llama unless another is given."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(toy_tasks), include_defaults=False)
    own: list[Any] = []

    def evaluate(*names: str, model: Any = None, **options: Any) -> Any:
        if model is None and not own:
            own.append(HFLM(pretrained=str(language("llama")), batch_size=4, device="cpu"))
        return lm_eval.simple_evaluate(
            model=model or own[0], tasks=list(names), task_manager=manager, bootstrap_iters=0, **options
        )

    return evaluate
