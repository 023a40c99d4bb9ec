"""What the vision tower of a LLaVA says of an image's patches: features, keys, and how much each is attended to.

Everything is computed when it is asked for, from one pass of the tower: attention from the queries and keys of the one
block that is read, so that the tower keeps its fused kernels.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..harness.errors import UserError
from .tower_features import of_patches, tokens_before_patches

if TYPE_CHECKING:
    import torch

    from ..harness.transformer import Architecture

Query: TypeAlias = Literal["cls", "mean"]
"""Whose attention patches get: the CLS token's, or that of all tokens on average."""
Heads: TypeAlias = Literal["sum", "mean", "single"]
"""How heads become one: single takes the whole width as one head."""

TOWERS = ("clip_vision_model", "siglip_vision_model")
"""Model types of the towers whose queries and keys are read."""


class TowerSignals:
    """A pass of the tower over images.

    Args:
        llava: transformers' LLaVA.
        pixels: [images, 3, h, w].
    """

    def __init__(self, llava: Any, pixels: torch.Tensor) -> None:
        self._llava, self._tower = llava, llava.model.vision_tower
        self._states = self._tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
        self._known_keys: dict[int, torch.Tensor] = {}  # here, not in a cache of functions, which would keep the images

    @cached_property
    def features(self) -> torch.Tensor:
        """[images, N, width]: what the projector would be given of all patches."""
        return of_patches(self._llava, self._states)

    @cached_property
    def projected(self) -> torch.Tensor:
        """[images, N, d]: what the language model would be given of all patches."""
        projected: torch.Tensor = self._llava.model.multi_modal_projector(self.features)
        return projected

    @cached_property
    def cls(self) -> torch.Tensor:
        """[images, width]: the CLS token, as the projector would be given it."""
        import torch

        layers = self._llava.config.vision_feature_layer
        chosen = [self._states[index] for index in ([layers] if isinstance(layers, int) else layers)]
        return torch.cat(chosen, dim=-1)[:, 0]

    def keys(self, layer: int) -> torch.Tensor:
        """Keys [images, N, width] of the patches in a block of the tower, float32."""
        return self._keys(layer)[:, self._before :]

    def heads(self, layer: int) -> int:
        """Attention heads of a block of the tower."""
        return int(self._block(layer)[0].num_heads)

    def received(self, layer: int, query: Query, heads: Heads) -> torch.Tensor:
        """The probability with which each patch is attended to in a block, float32 [images, N]."""
        attention, given = self._block(layer)
        queries = attention.q_proj(given[:, :1] if query == "cls" else given).float()
        keys, count = self._keys(layer), 1 if heads == "single" else attention.num_heads
        shape = (count, keys.shape[-1] // count)
        q, k = (part.view(*part.shape[:2], *shape).transpose(1, 2) for part in (queries, keys))
        every: torch.Tensor = (q @ k.transpose(2, 3) * shape[1] ** -0.5).softmax(dim=-1).mean(dim=2)
        one = every.sum(dim=1) if heads == "sum" else every.mean(dim=1)
        return one[:, self._before :]

    @property
    def _before(self) -> int:
        return tokens_before_patches(self._llava.config)

    def _keys(self, layer: int) -> torch.Tensor:
        if layer not in self._known_keys:
            attention, given = self._block(layer)
            self._known_keys[layer] = attention.k_proj(given).float()
        return self._known_keys[layer]

    def _block(self, layer: int) -> tuple[Any, torch.Tensor]:
        """Attention of a block, and what it is given."""
        blocks = getattr(self._tower, "vision_model", self._tower).encoder.layers  # by release one step deeper or less
        place = range(len(blocks))[layer]
        return blocks[place].self_attn, blocks[place].layer_norm1(self._states[place])


def check_tower(architecture: Architecture, *, query: Query, layer: int, where: str) -> None:
    """Refuse options that ask a tower for what it does not have.

    Args:
        architecture: The model's.
        query: Whose attention is read.
        layer: In which block; negative from the end.
        where: What the message is about.
    """
    if architecture.vision is None:
        raise UserError(f"a {architecture.model_type} has no vision tower", where=where, todo="leave it out")
    depth = architecture.vision.stack.layers
    if not architecture.vision.extra_tokens and query == "cls":
        todo = "say query=mean to score patches by the attention of all patches"
        raise UserError("its tower has no CLS token", where=where, todo=todo)
    if architecture.visual_tokens > architecture.vision.patches:
        what = "it projects its tower's CLS token, which is not a patch"
        raise UserError(what, where=where, todo="leave it out")
    if not -depth <= layer < depth:
        what = f"there is no layer {layer} among the {depth} of its tower"
        raise UserError(what, where=where, todo=f"give {-depth} to {depth - 1}")


def check_kind(llava: Any, where: str) -> None:
    """Refuse a tower whose queries and keys cannot be read."""
    kind = llava.config.vision_config.model_type
    if kind not in TOWERS:
        raise UserError(f"cannot read queries and keys of a {kind}", where=where, todo="take a CLIP or SigLIP tower")
