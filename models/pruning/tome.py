"""ToMe: in every block of the tower, tokens that are most alike become one (Bolya et al. 2023, arXiv 2210.09461)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from ...adapters.tower_features import tokens_before_patches
from ...adapters.tower_signals import check_tower
from ...harness.errors import UserError
from ...harness.execution import Execution, LayerWork
from ...harness.methods import Selector, check_one_given

if TYPE_CHECKING:
    import torch

    from ...harness.measure.work import Work
    from ...harness.transformer import Architecture, Vision

_LAYER, _TOWERS = -2, ("clip_vision_model", "siglip_vision_model")


class Merging(NamedTuple):
    """The tokens of images in the tower.

    Attributes:
        hidden: [images, T, width].
        sizes: How many of the first tokens each stands for, [images, T].
        places: Where it stood at first, int64 [images, T].
    """

    hidden: torch.Tensor
    sizes: torch.Tensor
    places: torch.Tensor


class ToMe(Selector):
    """Merge tokens between attention and MLP of every block of the tower, until ``keep`` are left of each image.

    Every second token is compared with those between, by the cosine of the keys' mean over heads, and has one that is
    most like it; the pairs that are most alike become one token each, a mean weighted by how many tokens each stands
    for. Attention counts a token as many times (proportional attention). The CLS token is never merged. The tower ends
    at the features that LLaVA reads, those after the last block but one.

    The paper merges a constant number ``r`` in every block: 8, 16, 22 and 23 of 576 leave 392, 208, 70 and 47. No
    constant leaves 192, 128 or 64, so ``keep`` spreads what is to be merged evenly, with more in the first blocks where
    that does not divide, or where the last ones would have to merge more than half.
    The release leaves unmerged tokens before those that took others up. A port to LLaVA forgets sizes, and is not what
    was published: ``sizes=false``. Others merge behind the tower, or in the language model, and are called the same.
    """

    where: ClassVar[str] = "method tome"
    size_options = ("keep", "r")

    keep: int = Field(64, ge=1)
    """How many visual tokens of each image are left."""
    r: int | None = Field(None, ge=0)
    """How many tokens every block merges, at most half of them, instead of keep."""
    sizes: bool = True
    """Whether means and attention are weighted by how many tokens each one stands for."""
    order: Literal["raster", "release"] = "raster"
    """The order of the tokens: as they, or what they were merged into, stood in the image; or as in the release."""

    @model_validator(mode="after")
    def _fits(self) -> ToMe:
        check_one_given(self, "keep", "r")
        return self

    def apply(self, model: Any) -> Any:
        """Return the model with this selector."""
        self.tower(model.architecture)
        kind = model.module.model.config.vision_config.model_type
        if kind not in _TOWERS:
            raise UserError(f"cannot merge tokens in a {kind}", where=self.where, todo="take a CLIP or SigLIP tower")
        if model.module.model.config.vision_feature_layer != _LAYER:
            what = f"it reads features of layer {model.module.model.config.vision_feature_layer}"
            raise UserError(what, where=self.where, todo=f"take a LLaVA that reads layer {_LAYER}")
        return super().apply(model)

    def leaves(self, work: Work) -> Work:
        """Return the work of a tower, and on a prompt, with fewer tokens."""
        tower = self.tower(work.model)
        left = tower.layers[-1].passed - work.model.vision.extra_tokens  # type: ignore[operator, union-attr]
        flops = work.images * self.choosing(work.model, left)
        return work.with_tower(tower).with_visual_tokens(work.images * left).selecting(flops)

    def kept(self, given: int) -> int:
        """Return ``keep``, if an image has that many."""
        if self.keep > given:
            raise UserError(f"cannot keep {self.keep} of {given} visual tokens", todo=f"give keep from 1 to {given}")
        return self.keep

    def tower(self, model: Architecture) -> Execution:
        """Return what runs of the tower for one image."""
        if model.vision is not None and model.vision.merged > 1:
            what = f"{model.model_type} makes a token of two by two patches, which merging inside its tower breaks up"
            raise UserError(what, where=self.where, todo="take a LLaVA")
        if model.vision is not None and model.vision.views:
            what = f"a {model.model_type} reads an image in views, for which merging inside the tower is not published"
            raise UserError(what, where=self.where, todo="take a LLaVA-1.5")
        check_tower(model, query="mean", layer=_LAYER, where=self.where)
        vision: Vision = model.vision  # type: ignore[assignment]
        before, counts = vision.extra_tokens, self._counts(vision)
        layers = enumerate(pairwise(counts))
        return Execution(
            tuple(LayerWork(n, own + before, vision.stack.heads, passed=left + before) for n, (own, left) in layers)
        )

    def flops(self, model: Architecture, left: int) -> int:  # noqa: ARG002 - options say it
        """FLOPs of the cosines in every block that merges."""
        width = model.vision.stack.head_dim  # type: ignore[union-attr] # `tower` checks it
        layers = [work for work in self.tower(model).layers if work.passed != work.tokens]
        return sum(2 * (w.tokens // 2) * ((w.tokens + 1) // 2) * width for w in layers)

    def _counts(self, vision: Vision) -> list[int]:
        """The patches that each block is given, and those that are left."""
        counts = [vision.patches]
        for merged in self.merges(vision.patches, vision.stack.layers + 1 + _LAYER):
            counts.append(counts[-1] - merged)
        return counts

    def merges(self, patches: int, blocks: int) -> list[int]:
        """Return how many tokens each block merges, at most half of the patches that it is given.

        Raises:
            UserError: Too few blocks merge half of them each.
        """
        keep, found, left = self.kept(patches), list[int](), patches
        for block in range(blocks):
            still = blocks - block
            evenly = -(-(left - keep) // still)
            later = keep << (still - 1)  # what blocks that merge half of their tokens can still bring down
            found.append(min(left // 2, max(evenly, left - later) if self.r is None else self.r))
            left -= found[-1]
        if self.r is None and left > keep:
            what = f"cannot merge {patches} patches into {keep} in {blocks} blocks, each of which merges half"
            raise UserError(what, where=self.where, todo=f"give keep from {left}")
        return found

    def __call__(self, llava: Any, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features [images, n, width] that the projector is given."""
        import torch

        tower = llava.model.vision_tower
        tower = getattr(tower, "vision_model", tower)  # by release one step deeper or less
        hidden = tower.embeddings(pixels)
        hidden = tower.pre_layrnorm(hidden) if hasattr(tower, "pre_layrnorm") else hidden
        blocks, before = tower.encoder.layers[: 1 + _LAYER], tokens_before_patches(llava.config)
        places = torch.arange(hidden.shape[1], device=hidden.device).expand(len(hidden), -1)
        tokens = Merging(hidden, hidden.new_ones(hidden.shape[:2], dtype=torch.float32), places)
        for block, count in zip(blocks, self.merges(hidden.shape[1] - before, len(blocks)), strict=True):
            sizes = tokens.sizes if self.sizes else None
            attended, keys = attend(block.self_attn, block.layer_norm1(tokens.hidden), sizes)
            tokens = tokens._replace(hidden=tokens.hidden + attended)
            if count:
                tokens = merge(tokens, keys.mean(dim=1), count, protected=before, weighted=self.sizes)
            tokens = tokens._replace(hidden=tokens.hidden + block.mlp(block.layer_norm2(tokens.hidden)))
        features: torch.Tensor = tokens.hidden[:, before:]
        if self.order == "release":
            return features
        raster = tokens.places[:, before:].argsort(dim=1)
        return features.gather(1, raster[..., None].expand(-1, -1, features.shape[-1]))


def attend(attention: Any, given: torch.Tensor, sizes: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a block's attention makes of tokens, and their keys [images, heads, T, head width].

    Args:
        attention: The library's.
        given: Tokens after the norm, [images, T, width].
        sizes: How often each counts, [images, T].
    """
    from torch.nn.functional import scaled_dot_product_attention

    parts = (part(given) for part in (attention.q_proj, attention.k_proj, attention.v_proj))
    q, k, v = (part.view(*part.shape[:2], attention.num_heads, -1).transpose(1, 2) for part in parts)
    counted = None if sizes is None else sizes.log()[:, None, None].to(q.dtype).expand(-1, 1, q.shape[2], -1)
    mixed = scaled_dot_product_attention(q, k, v, attn_mask=counted)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2)), k


def merge(tokens: Merging, metric: torch.Tensor, count: int, *, protected: int, weighted: bool) -> Merging:
    """Merge tokens of each image with those that are most like them.

    Args:
        tokens: Of the images.
        metric: What tells how alike two are, [images, T, width].
        count: How many are merged, at most half of those that are not protected.
        protected: 1 if the first token is never merged, else 0.
        weighted: Whether means are weighted by sizes.

    Returns:
        Tokens at even places that were not merged, then those at odd places.
    """
    import torch
    from torch.nn.functional import normalize

    unit = normalize(metric.float(), dim=-1)
    alike = unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)
    if protected:
        alike[:, 0] = -torch.inf
    best, of = alike.max(dim=2)
    order = best.argsort(dim=1, descending=True, stable=True)
    gone, rest = order[:, :count], order[:, count:].sort(dim=1).values
    into = of.gather(1, gone)
    weights = tokens.sizes if weighted else torch.ones_like(tokens.sizes)
    width = tokens.hidden.shape[2]

    def wide(places: torch.Tensor) -> torch.Tensor:
        return places[..., None].expand(-1, -1, width)

    total = tokens.hidden * weights[..., None].to(tokens.hidden.dtype)
    sums = total[:, 1::2].scatter_add(1, wide(into), total[:, ::2].gather(1, wide(gone)))
    counts = weights[:, 1::2].scatter_add(1, into, weights[:, ::2].gather(1, gone))
    sizes = tokens.sizes[:, 1::2].scatter_add(1, into, tokens.sizes[:, ::2].gather(1, gone))
    return Merging(
        torch.cat([tokens.hidden[:, ::2].gather(1, wide(rest)), sums / counts[..., None].to(sums.dtype)], dim=1),
        torch.cat([tokens.sizes[:, ::2].gather(1, rest), sizes], dim=1),
        torch.cat([tokens.places[:, ::2].gather(1, rest), tokens.places[:, 1::2]], dim=1),
    )
