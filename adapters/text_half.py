"""The half of a CLIP that reads texts, with what puts the patches of its vision tower beside them."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.errors import UserError
from ..harness.measure.architecture import read_architecture
from ..harness.measure.closed_form import COUNTED, projector, text_tower
from .loading import LOCAL, check_whole, checkpoint, load_tokenizer, loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ..harness.transformer import Architecture

logger = logging.getLogger(__name__)

_FILES = (
    "config.json", "model*.safetensors*", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*",
    "merges.txt",
)  # fmt: skip


class Shape(NamedTuple):
    """The sizes of a text half.

    Attributes:
        architecture: Of the whole CLIP.
        positions: Tokens that its text tower reads.
    """

    architecture: Architecture
    positions: int

    @property
    def width(self) -> int:
        """Of the patches' features that it takes."""
        return self.architecture.projector[0].inputs

    def flops(self, patches: int) -> int:
        """FLOPs of a text, of some patches in the common space, and of their products with it."""
        parts = (text_tower(self.architecture, self.positions, COUNTED), projector(self.architecture, patches, COUNTED))
        return sum(one.flops for part in parts for one in part) + 2 * patches * self.architecture.projector[0].outputs


@functools.cache
def clip_l() -> Shape:
    """The text half of CLIP ViT-L/14 with 336 pixels, whose tower LLaVA-1.5 has."""
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    vision = {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "image_size": 336,
              "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}  # fmt: skip
    config = {"model_type": "clip", "projection_dim": 768, "text_config": text, "vision_config": vision}
    return Shape(read_architecture(config), 77)


class TextHalf:
    """A CLIP without its vision tower: text tower, both projections and the tower's last norm, all in float32.

    Args:
        module: The weights, as `untrained` makes them.
        tokenizer: Of the text tower.
        positions: Tokens that it reads.
    """

    def __init__(self, module: Any, tokenizer: Any, positions: int) -> None:
        self.module, self._tokenizer, self._positions = module, tokenizer, positions
        self._cut, self._said_at = 0, 1

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return what texts become in the common space, float32 [n, d].

        All are padded to the positions that the tower reads, as CLIP's own tokenizer does: each costs the same. What is
        longer is cut off, which is logged the first time, the tenth, the hundredth and so on.
        """
        found: torch.Tensor = self.module(self.tokens(texts).to(self.module.device)).text_embeds
        return found

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the ids that are read of texts, int64 [n, positions]."""
        for length in map(len, self._tokenizer(list(texts), verbose=False).input_ids):
            self._cut += length > self._positions
            if self._cut == self._said_at:
                self._said_at *= 10
                told = "a text of %d tokens is cut to the %d that its tower reads; so far %d were"
                logger.warning(told, length, self._positions, self._cut)
        read: torch.Tensor = self._tokenizer(
            list(texts), padding="max_length", max_length=self._positions, truncation=True, return_tensors="pt"
        ).input_ids
        return read

    def patches(self, features: torch.Tensor) -> torch.Tensor:
        """Return what features [..., width] of the vision tower become there, float32 [..., d]."""
        found: torch.Tensor = self.module.visual_projection(self.module.vision_model.post_layernorm(features.float()))
        return found


def untrained(config: Any) -> Any:
    """Return the untrained weights of a text half, named as in a whole CLIP.

    Args:
        config: transformers' ``CLIPConfig``.
    """
    return _kind(config)(config.text_config)


def _kind(config: Any) -> Any:
    from torch import nn
    from transformers import CLIPTextModelWithProjection

    vision = config.vision_config

    class Half(CLIPTextModelWithProjection):  # type: ignore[misc]
        def __init__(self, text: Any) -> None:
            super().__init__(text)
            norm = nn.LayerNorm(vision.hidden_size, eps=vision.layer_norm_eps)
            self.vision_model = nn.ModuleDict({"post_layernorm": norm})
            self.visual_projection = nn.Linear(vision.hidden_size, config.projection_dim, bias=False)
            self.post_init()

    return Half


@functools.lru_cache(8)
def text_half_shape(path: str) -> Shape:
    """Read the sizes of the text half of a CLIP from its config.

    Args:
        path: Folder or hub id.

    Raises:
        UserError: The checkpoint cannot be found, or is of another kind.
    """
    config = _config(path)
    return Shape(read_architecture(config.to_dict()), config.text_config.max_position_embeddings)


def _config(path: str) -> Any:
    from transformers import AutoConfig

    folder = checkpoint(path, None, ("config.json",))
    with loading(path, folder):
        config = AutoConfig.from_pretrained(folder, **LOCAL)
    if config.model_type != "clip":
        what = f"it is a {config.model_type}, and texts are read by a CLIP"
        raise UserError(what, where=f"hf:{path}", todo="name the CLIP that its tower is of")
    return config


@functools.lru_cache(2)
def load_text_half(path: str) -> TextHalf:
    """Load the text half of a CLIP; its vision tower is not read and need not be there.

    Args:
        path: Folder or hub id.

    Raises:
        UserError: The checkpoint cannot be found, is of another kind or is not whole.
    """
    config, folder, where = _config(path), checkpoint(path, None, _FILES), f"hf:{path}"
    with loading(path, folder):
        config.text_config.projection_dim = config.projection_dim
        module, report = _kind(config).from_pretrained(
            folder, config=config.text_config, use_safetensors=True, dtype="float32", output_loading_info=True, **LOCAL
        )
        check_whole(report, module, where)
        tokenizer = load_tokenizer(folder, where)
    module.requires_grad_(requires_grad=False)
    return TextHalf(module.eval(), tokenizer, config.text_config.max_position_embeddings)
