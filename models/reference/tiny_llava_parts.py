"""What ``tiny-llava`` is made of: tokenizer, processor and an untrained model, all of the stock classes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

SIDE, PATCH = 96, 12
"""Pixels of an image and of a patch: 8 x 8 patches and CLS."""
PATCHES = (SIDE // PATCH) ** 2
MEAN, STD = (0.3, 0.3, 0.3), (0.25, 0.25, 0.25)
SYSTEM = "A chat about a picture."
IMAGE = "<image>"

_ROLES = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_SPECIAL = (*_ROLES.values(), IMAGE)
_PHRASES = (
    "USER:",
    "ASSISTANT:",
    "Reference OCR token:",
    "\nAnswer the question using a single word or phrase.",
    "\nAnswer with the option's letter from the given choices directly.",
)
"""Fixed phrases of the prompts, one token each: a short question is then short for a small model, too."""
_SPREAD = 0.06
"""Standard deviation of the language model's weights at the start."""
_WORD = r"\n|\w+|[^\w\s]"
TEMPLATE = (
    "{% if messages[0].role == 'system' %}{{ messages[0].content[0].text }}{% else %}" + SYSTEM + "{% endif %}"
    "{% for message in messages if message.role != 'system' %}"
    "{% if message.role == 'user' %} USER: {% else %} ASSISTANT: {% endif %}"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content if part.type == 'image' %}<image>\n{% endfor %}"
    "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}"
    "{% endif %}"
    "{% if message.role == 'assistant' %}</s>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def make_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer of the words of some texts, in alphabetical order; a line feed is a word."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    phrases = re.compile("|".join(re.escape(phrase) for phrase in (*_PHRASES, IMAGE)))
    words = {"\n", *re.findall(_WORD, SYSTEM)}
    for text in texts:
        words.update(re.findall(_WORD, phrases.sub(" ", text)))
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *_PHRASES, *sorted(words)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_ROLES["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in _PHRASES])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **_ROLES, padding_side="left", clean_up_tokenization_spaces=False,
        model_max_length=1024, model_input_names=["input_ids", "attention_mask"],
        extra_special_tokens={"image_token": IMAGE},
    )  # fmt: skip


def make_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Return the processor: images scaled to `SIDE`, ``<image>`` repeated once for each patch."""
    from transformers import LlavaProcessor

    from ...adapters.installed import pil_image_processor

    square = {"height": SIDE, "width": SIDE}
    images = pil_image_processor(
        "CLIP", size={"shortest_edge": SIDE}, crop_size=square, image_mean=list(MEAN), image_std=list(STD),
        do_convert_rgb=True,
    )  # fmt: skip
    return LlavaProcessor(
        images, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip


def make_model(tokenizer: PreTrainedTokenizerFast, **text: Any) -> LlavaForConditionalGeneration:
    """Return the untrained model.

    Args:
        tokenizer: Gives the vocabulary.
        text: What differs in the config of the language model.
    """
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        image_size=SIDE, patch_size=PATCH, hidden_size=128, intermediate_size=384, num_hidden_layers=5,
        num_attention_heads=4, projection_dim=128, initializer_factor=1.0, hidden_act="gelu",
    )  # fmt: skip
    language = LlamaConfig(**{
        "vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 10,
        "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 1024,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id, "initializer_range": _SPREAD, "tie_word_embeddings": False, **text,
    })  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=language, image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=PATCHES, vision_feature_layer=-2, vision_feature_select_strategy="default",
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    _balance(model)
    model.generation_config.update(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def _balance(model: LlavaForConditionalGeneration) -> None:
    """Make words as loud as patches, and every block's say smaller, the more blocks there are.

    As transformers starts them, a word (root mean square 0.06) is 25 times quieter than a projected patch (1.5), and
    by the last block nothing of it is left in its own place.
    """
    import torch

    language = model.model.language_model
    share = (2 * len(language.layers)) ** -0.5
    with torch.no_grad():
        language.embed_tokens.weight.mul_(1 / _SPREAD)
        for layer in language.layers:
            layer.self_attn.o_proj.weight.mul_(share)
            layer.mlp.down_proj.weight.mul_(share)
