"""What ``tiny-qwen-vl`` and ``tiny-internvl`` are made of: stock classes, the language model that of ``tiny-llava``.

Both see 64 tokens in an image of 96 x 96 pixels: 16 x 16 patches, of which two by two become one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .tiny_llava import WEIGHTS
from .tiny_llava_parts import IMAGE, MEAN, PATCHES, SIDE, STD, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin

PATCH = 6
"""Pixels of a patch's side."""
MERGE = 2
"""Patches of a token's side."""
_VISION = {"hidden_size": 96, "patch_size": PATCH}


@dataclass(frozen=True)
class Parts:
    """How one of the two is made, and what it is given in training.

    Attributes:
        image: The token that stands for one visual token.
        tokens: Role of a special token -> how it is written.
        asked: How the chat template writes an image; the processor makes ``shown`` of it.
        shown: How an image is written, with all of its tokens.
        processor: (tokenizer, chat template) -> the processor.
        network: (config of the language model, tokenizer) -> the untrained model.
        learns: Parts of the names of the weights that are taught to see.
        projects: The same of those that are taught on while it is taught to speak.
        see: (model, pixels [n, 3, side, side]) -> what its language model reads of images [n, 64, width].
        place: Positions int64 [n, length] in a line -> those that its language model is given.
    """

    image: str
    tokens: dict[str, str]
    asked: str
    shown: str
    processor: Callable[[PreTrainedTokenizerFast, str], ProcessorMixin]
    network: Callable[[dict[str, Any], PreTrainedTokenizerFast], PreTrainedModel]
    learns: tuple[str, ...]
    projects: tuple[str, ...]
    see: Callable[[Any, torch.Tensor], torch.Tensor]
    place: Callable[[torch.Tensor, int], torch.Tensor]

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Return the tokenizer of ``tiny-llava``, with this model's special tokens."""
        from tokenizers import AddedToken, Tokenizer
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

        known = AutoTokenizer.from_pretrained(WEIGHTS)
        inner = Tokenizer.from_str(known.backend_tokenizer.to_str().replace(f'"{IMAGE}"', f'"{self.image}"'))
        inner.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in self.tokens.values()])
        roles = {f"{role}_token": getattr(known, f"{role}_token") for role in ("pad", "bos", "eos", "unk")}
        return PreTrainedTokenizerFast(
            tokenizer_object=inner, **roles, padding_side="left", clean_up_tokenization_spaces=False,
            model_max_length=1024, model_input_names=["input_ids", "attention_mask"],
            extra_special_tokens={f"{role}_token": one for role, one in self.tokens.items()},
        )  # fmt: skip

    def make_processor(self, tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
        """Return the processor."""
        return self.processor(tokenizer, TEMPLATE.replace(f"{IMAGE}\n", self.asked))

    def make_model(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """Return the model before its training: the language model is that of ``tiny-llava``, the rest untrained."""
        from transformers import LlavaForConditionalGeneration

        teacher = LlavaForConditionalGeneration.from_pretrained(WEIGHTS)
        old = teacher.config.text_config
        same = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                "max_position_embeddings", "rms_norm_eps", "bos_token_id", "eos_token_id", "pad_token_id")  # fmt: skip
        text = {name: getattr(old, name) for name in same}
        text |= {"vocab_size": len(tokenizer), "tie_word_embeddings": False}
        text["rope_parameters"] = {"rope_type": "default", "rope_theta": old.rope_parameters["rope_theta"]}
        model = self.network(text, tokenizer)
        model.generation_config.update(
            **{name: text[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        )
        given = teacher.model.language_model.state_dict()
        own = model.model.language_model
        ends = {"embed_tokens.weight": own.embed_tokens.weight, "lm_head.weight": model.lm_head.weight}
        told = {**given, "lm_head.weight": teacher.lm_head.weight}
        line = tokenizer.convert_tokens_to_ids("\n")
        with torch.no_grad():
            for name, weight in ends.items():  # new tokens begin as line feeds, which stand beside images there
                weight.copy_(torch.cat([told[name], told[name][line].expand(len(weight) - len(told[name]), -1)]))
            for name, tensor in own.state_dict().items():
                if name in given and name not in ends:
                    tensor.copy_(given[name])
                elif name.endswith("bias"):
                    tensor.zero_()
        return model


def _qwen_processor(tokenizer: PreTrainedTokenizerFast, template: str) -> ProcessorMixin:
    from ...adapters.installed import pil_image_processor, processor_for_images

    images = pil_image_processor(
        "Qwen2VL", patch_size=PATCH, merge_size=MERGE, temporal_patch_size=2, image_mean=list(MEAN),
        image_std=list(STD), size={"shortest_edge": SIDE**2 // 4, "longest_edge": 4 * SIDE**2},
    )  # fmt: skip
    return processor_for_images("Qwen2_5_VLProcessor", images, tokenizer, chat_template=template)


def _qwen(text: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text["rope_parameters"]["mrope_section"] = [4, 6, 6]
    vision = {
        **_VISION, "depth": 4, "num_heads": 3, "intermediate_size": 256, "spatial_merge_size": MERGE,
        "temporal_patch_size": 2, "window_size": 4 * MERGE * PATCH, "fullatt_block_indexes": [1, 3],
        "out_hidden_size": text["hidden_size"],
    }  # fmt: skip
    named = {f"{role}_token_id": tokenizer.convert_tokens_to_ids(QWEN.tokens[role]) for role in QWEN.tokens}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **named)
    )


def _qwen_sees(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    side = SIDE // PATCH
    across = (side // MERGE, MERGE, PATCH)
    patches = pixels.view(len(pixels), 3, *across, *across).permute(0, 2, 5, 3, 6, 1, 4, 7)
    twice = patches[:, :, :, :, :, :, None].expand(*patches.shape[:6], 2, PATCH, PATCH)  # an image is two equal frames
    grid = torch.tensor([[1, side, side]]).expand(len(pixels), -1)
    seen = model.model.visual(twice.reshape(len(pixels) * side**2, -1), grid_thw=grid)
    features: torch.Tensor = seen.pooler_output
    return features.view(len(pixels), PATCHES, -1)


def _qwen_places(line: torch.Tensor, start: int) -> torch.Tensor:
    """Positions of M-RoPE [3, n, length]; the image's tokens begin at ``start``."""
    side = SIDE // PATCH // MERGE
    number = line - start
    seen = (number >= 0) & (number < PATCHES)
    text = torch.where(number < 0, line, line - PATCHES + side)
    axes = torch.zeros_like(number), number // side, number % side
    return torch.stack([torch.where(seen, start + axis, text) for axis in axes])


def _internvl_processor(tokenizer: PreTrainedTokenizerFast, template: str) -> ProcessorMixin:
    from ...adapters.installed import pil_image_processor, processor_for_images

    images = pil_image_processor(
        "GotOcr2", size={"height": SIDE, "width": SIDE}, image_mean=list(MEAN), image_std=list(STD), max_patches=6
    )
    return processor_for_images(
        "InternVLProcessor", images, tokenizer, image_seq_length=PATCHES, chat_template=template
    )


def _internvl(text: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    vision = {
        **_VISION, "image_size": SIDE, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 384,
        "attention_bias": True, "layer_scale_init_value": 1.0,
    }  # fmt: skip
    image = tokenizer.convert_tokens_to_ids(INTERNVL.image)
    return InternVLForConditionalGeneration(InternVLConfig(
        text_config={**text, "model_type": "qwen2"}, vision_config=vision, image_token_id=image,
        image_seq_length=PATCHES, downsample_ratio=1 / MERGE, tie_word_embeddings=False,
    ))  # fmt: skip


def _internvl_sees(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    seen: torch.Tensor = model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
    return seen


QWEN = Parts(
    image="<|image_pad|>",
    tokens={
        "image": "<|image_pad|>", "video": "<|video_pad|>", "vision_start": "<|vision_start|>",
        "vision_end": "<|vision_end|>",
    },
    asked="<|vision_start|><|image_pad|><|vision_end|>",
    shown=f"<|vision_start|>{'<|image_pad|>' * PATCHES}<|vision_end|>",
    processor=_qwen_processor,
    network=_qwen,
    learns=("model.visual.",),
    projects=("model.visual.merger.",),
    see=_qwen_sees,
    place=_qwen_places,
)  # fmt: skip
INTERNVL = Parts(
    image="<IMG_CONTEXT>",
    tokens={
        "context_image": "<IMG_CONTEXT>", "video": "<video>", "start_image": "<img>", "end_image": "</img>",
    },
    asked="<IMG_CONTEXT>\n",
    shown=f"<img>{'<IMG_CONTEXT>' * PATCHES}</img>\n",
    processor=_internvl_processor,
    network=_internvl,
    learns=("model.vision_tower.", "model.multi_modal_projector."),
    projects=("model.multi_modal_projector.",),
    see=_internvl_sees,
    place=lambda line, _: line,
)  # fmt: skip
PARTS = {"tiny-qwen-vl": QWEN, "tiny-internvl": INTERNVL}
