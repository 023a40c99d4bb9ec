"""A LLaVA with random weights, for what is measured: its folder, its prompts, its methods, its bare matrix products."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from adaptbench.adapters.transformers_multimodal import HFMultimodal
    from adaptbench.harness.contracts import Prompt

TEXT_TOKENS, VISUAL_TOKENS = 69, 576
"""Of a prompt, as in the dissertation's Table C.2."""
NARROW = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
"""A tower that costs next to nothing."""
WIDE = {"hidden_size": 1024, "intermediate_size": 2752, "num_hidden_layers": 32, "num_attention_heads": 16}
"""A Llama of 404 million parameters."""
METHODS = (
    "adallava-l@0.85",
    "adallava-l@0.6",
    "adallava-h@0.85",
    "adallava-h@0.6",
    "fastv(k=2,r=0.5)",
    "prumerge-plus(tokens=164)",
)
"""164 visual tokens are what the published FLOPs of PruMerge+ fit; a random tower has no outliers worth the name."""
_SYSTEM = "A chat between a curious user and an artificial intelligence assistant . The gives helpful , detailed"
_KNOWN = f"<pad> <s> </s> <unk> <image> {_SYSTEM} polite answers to the ' s questions USER : ASSISTANT"


def write(
    folder: Path,
    vision: Mapping[str, Any],
    text: Mapping[str, Any],
    words: str = "",
    *,
    dtype: str = "float32",
    device: str = "cpu",
) -> Path:
    """Write a LLaVA with random weights, and a word of its own for each token; return the folder.

    Args:
        folder: Where to.
        vision: Config of the tower, which sees 24 x 24 patches.
        text: Config of the language model.
        words: That the tokenizer knows besides those of a prompt.
        dtype: Of the weights.
        device: Where they are drawn.
    """
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(f"{_KNOWN} {words}".split()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    ids = {"vocab_size": len(vocabulary), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**{"image_size": 336, "patch_size": 14, **vision}),
        text_config=hf.LlamaConfig(**{**ids, **text}),
        image_token_index=4,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = hf.AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, dtype))
    for parameter in model.parameters():
        if parameter.ndim > 1:  # larger than at the start of a training, so that answers differ
            torch.nn.init.normal_(parameter, std=0.08)
    model.lm_head.weight.data[:5] = 0  # no special tokens
    model.save_pretrained(folder)
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    hf.LlavaProcessor(
        images, fast, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1
    ).save_pretrained(folder)
    return folder


def short_answers(folder: Path) -> None:
    """Let half of the words end an answer: those to such questions have one word or two, and not all that may be."""
    import json

    path = folder / "generation_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    words = json.loads((folder / "config.json").read_text(encoding="utf-8"))["text_config"]["vocab_size"]
    path.write_text(json.dumps(told | {"eos_token_id": list(range(2, words, 2))}), encoding="utf-8")


def prompt(model: HFMultimodal, image: int = 0) -> Prompt:
    """A question of `TEXT_TOKENS` tokens on an image of noise, which is another for each number."""
    import numpy as np
    from adaptbench.harness.contracts import Prompt
    from PIL import Image

    pixels = np.random.default_rng(image).integers(0, 256, (336, 336, 3), dtype=np.uint8)
    images = (Image.fromarray(pixels),)
    short, _ = model.token_counts(Prompt("", images))
    asked = Prompt("answer " * (TEXT_TOKENS - short), images, max_new_tokens=1)
    assert model.token_counts(asked) == (TEXT_TOKENS, VISUAL_TOKENS)
    return asked


def with_schedulers(
    base: str, folder: Path, model: HFMultimodal, methods: tuple[str, ...], rank: int | None = None
) -> dict[str, str]:
    """Methods -> model spec, with untrained schedulers of AdaLLaVA, which bring a latency token.

    Args:
        base: Spec of the model.
        folder: Where the schedulers are written.
        model: What they are for.
        methods: As a spec has them after its base.
        rank: Heads that one switch turns on; by default as AdaLLaVA-H has it.
    """
    from adaptbench.harness.specs import show_value
    from adaptbench.models.adaptive.scheduler import Scheduler, save
    from adaptbench.models.adaptive.switches import SchedulerConfig, default_rank

    stack, specs = model.architecture.language.stack, {text: f"{base}+{text}" for text in methods}
    for switch in ("layers", "heads"):
        config = SchedulerConfig(
            switch=switch, layers=stack.layers, heads=stack.heads, prefix=stack.layers // 2,
            rank=(rank or default_rank(stack.heads)) if switch == "heads" else 1, hidden=stack.hidden,
        )  # fmt: skip
        name, own = f"adallava-{switch[0]}", folder / switch
        save(Scheduler(config), own)
        trained = f"{name}(checkpoint={show_value(str(own))})"
        specs = {text: spec.replace(name, trained) for text, spec in specs.items()}
    return specs


def steered(base: HFMultimodal, spec: str) -> HFMultimodal:
    """The base with the methods of a spec, on the same weights."""
    from adaptbench.harness.planned_models import plan_model
    from adaptbench.harness.plugins import load_plugins
    from adaptbench.harness.specs import parse

    planned = plan_model(load_plugins().registry, parse(spec)).as_applied
    return functools.reduce(lambda model, one: one.method.apply(model), planned, base)


@dataclass(frozen=True)
class Products:
    """The matrix products of the linear layers of some blocks, and nothing between them.

    Attributes:
        run: Computes them.
        flops: Of all of them.
    """

    run: Callable[[], None]
    flops: int


def products(base: HFMultimodal, prompts: int = 1, blocks: int = 4) -> Products:
    """The decoder's own shapes and weights, of its first blocks."""
    import torch

    layers = base.decoder.blocks.layers[:blocks]
    weights = [module.weight.detach() for module in layers.modules() if isinstance(module, torch.nn.Linear)]
    rows, like = prompts * (TEXT_TOKENS + VISUAL_TOKENS), weights[0]
    states = {
        width: torch.randn(rows, width, dtype=like.dtype, device=like.device)
        for width in {weight.shape[1] for weight in weights}
    }

    def run() -> None:
        with torch.inference_mode():
            for weight in weights:
                torch.mm(states[weight.shape[1]], weight.T)

    return Products(run, sum(2 * rows * weight.numel() for weight in weights))
