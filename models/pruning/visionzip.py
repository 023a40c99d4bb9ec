"""VisionZip: dominant patches, and the others merged into contextual tokens (Yang et al. 2025, arXiv 2412.04467)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ...harness.errors import UserError
from .choosing import Added, AttendedTokens, highest, shares
from .number_lists import whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from ...adapters.tower_signals import Signals
    from ...harness.specs import Value
    from ...harness.transformer import Architecture

_CONTEXTUAL = 10 / 64
"""Of all tokens that are left, as in all published settings."""


class VisionZip(AttendedTokens):
    """Keep the patches that are attended to most, and merge the others into a few tokens that stand at the end.

    Every s-th of the other patches is a target; all others go to the target whose key is most like theirs (the mean of
    the heads' keys). Published settings of ``dominant`` and ``contextual`` are 162 and 30, 108 and 20, 54 and 10; the
    release's default arguments, 191 and 30, are none of them. In the release the CLS token is one of the dominant
    tokens, before all patches. A target is added to the mean of its patches there, so that a contextual token
    is twice as long as others.
    """

    size_options = ("dominant", "contextual")

    dominant: int = Field(54, ge=1)
    """How many tokens are kept as they are, the CLS token among them."""
    contextual: int = Field(10, ge=0)
    """How many tokens the others are merged into."""
    cls_token: bool = True
    """Whether the CLS token is the first of the dominant ones; a tower without one needs false."""
    reduce: Literal["sum", "mean"] = "sum"
    """How the heads' attention becomes one score; the order of scores is the same."""
    merge: Literal["target+mean", "mean", "none"] = "target+mean"
    """What a contextual token is: the target and the mean of what goes to it, as published; the mean of all of them; or
    the target alone."""

    @model_validator(mode="after")
    def _fits(self) -> VisionZip:
        if self.cls_token and self.query == "mean":
            raise UserError("query=mean is for a tower without CLS token", todo="say cls_token=false as well")
        return self

    def sized(self, share: float, visual: int, depth: int) -> Mapping[str, Value]:  # noqa: ARG002 - before all blocks
        """Return both numbers, 54 to 10 as published."""
        count = max(1, whole(share, visual))
        contextual = whole(_CONTEXTUAL, count)
        return {"dominant": count - contextual, "contextual": contextual}

    def kept(self, given: int) -> int:
        """Return ``dominant`` + ``contextual``, if an image has that many."""
        count = self.dominant + self.contextual
        if count - self.cls_token > given:
            what = f"cannot make {self.dominant} dominant and {self.contextual} contextual tokens of {given} patches"
            raise UserError(what, todo="give fewer")
        return count

    def shared(self, tokens: Sequence[int]) -> Sequence[Self | None]:
        """Return what keeps a share of both kinds in each view, as equal as the views allow; each has a CLS token."""
        each, cls = [1] * len(tokens), int(self.cls_token)
        dominant = shares(self.dominant, each, [count + cls for count in tokens])
        most = [count + cls - own if own else 0 for count, own in zip(tokens, dominant, strict=True)]
        contextual = shares(self.contextual, each, most)
        return [
            self.model_copy(update={"dominant": own, "contextual": others}) if own else None
            for own, others in zip(dominant, contextual, strict=True)
        ]

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return the dominant patches by falling score, int64 [images, dominant without the CLS token]."""
        return highest(tower.received(self.layer, self.query, self.reduce), self.dominant - self.cls_token)

    def added(self, tower: Signals, kept: torch.Tensor) -> Added:
        """Return the CLS token and the contextual tokens, where they are wanted."""
        import torch

        first = tower.cls[:, None] if self.cls_token else None
        if not self.contextual:
            return Added(first)
        keys = tower.keys(self.layer)
        metric = keys.view(*keys.shape[:2], tower.heads(self.layer), -1).mean(dim=2)
        parts = zip(tower.features.float(), metric, kept, strict=True)
        tokens, places = zip(*(self.context(*image) for image in parts), strict=True)
        return Added(first, torch.stack(tokens), torch.stack(places))

    def flops(self, model: Architecture, left: int) -> int:
        """FLOPs of a row of attention, and of the cosines of targets and what goes to them."""
        rest = model.visual_tokens - (self.dominant - self.cls_token)
        width = model.vision.stack.head_dim  # type: ignore[union-attr] # a tower gave the tokens
        return super().flops(model, left) + 2 * width * self.contextual * (rest - self.contextual)

    def context(
        self, features: torch.Tensor, metric: torch.Tensor, kept: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Merge the patches of an image that are not kept.

        Args:
            features: [N, width].
            metric: What tells how alike two patches are, [N, k].
            kept: int64 [n], the dominant patches.

        Returns:
            [contextual, width], and the targets, int64 [contextual].
        """
        import torch
        from torch.nn.functional import normalize

        rest = torch.ones(len(features), dtype=torch.bool, device=features.device)
        rest[kept] = False
        others = rest.nonzero()[:, 0]
        stride = max(1, len(others) // self.contextual)
        is_target = torch.zeros(len(others), dtype=torch.bool, device=features.device)
        is_target[torch.arange(self.contextual, device=features.device) * stride] = True
        targets, sources = others[is_target], others[~is_target]
        unit = normalize(metric, dim=-1)
        goes_to = (unit[sources] @ unit[targets].T).argmax(dim=1)
        own = features[targets]
        sums = torch.zeros_like(own).index_add_(0, goes_to, features[sources])
        counts = torch.bincount(goes_to, minlength=self.contextual)[:, None]
        if self.merge == "none":
            return own, targets
        merged = (own + sums) / (counts + 1) if self.merge == "mean" else own + sums / counts.clamp(min=1)
        return merged, targets
