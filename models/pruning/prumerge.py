"""PruMerge and PruMerge+: few visual tokens for the projector, picked by the tower's own attention (Shang et al. 2024).

Patches that the tower's CLS token attends to unusually much are kept; each takes up what is similar to it, and what is
left becomes one more token. Everything is done image by image: the published code shares one ratio over a batch.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from ...adapters.tower_signals import TowerSignals, check_kind, check_tower, received_flops
from ...harness.errors import UserError
from .choosing import OfTower, feature_width, highest, shares

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from ...adapters.tower_signals import Signals as Tower
    from ...harness.measure.work import Work
    from ...harness.specs import Value
    from ...harness.transformer import Architecture, Vision

logger = logging.getLogger(__name__)

_PATCHES = 576


class Signals(NamedTuple):
    """What is asked of a tower about the N patches of an image, or tokens of several patches.

    Attributes:
        features: [N, width], what the projector would be given.
        scores: float32 [N], how much each patch is attended to.
        keys: float32 [N, tower width].
    """

    features: torch.Tensor
    scores: torch.Tensor
    keys: torch.Tensor


class PruMerge(OfTower):
    """Keep the patches of each image whose scores are outliers, enriched by their neighbours, and one merged token.

    The defaults are what the public code does with a single image, not what the paper says where the two differ.
    """

    _usual: ClassVar[int] = 40
    """Visual tokens that an image of `_PATCHES` patches is left with."""
    _where: ClassVar[str] = "method prumerge"
    size_options = ("tokens",)

    tokens: int | None = Field(None, ge=1)
    """The visual tokens of every image, the merged one included, instead of as many as there are outliers (of 576
    patches, 73 is the public code's fixed ratio of 1/8, and 145 PruMerge+'s fixed mode, which samples some patches
    twice)."""
    iqr: float = Field(1.5, ge=0)
    """How many interquartile ranges above the third quartile a score becomes an outlier."""
    least: int = Field(1, ge=1)
    """The fewest patches that are kept, highest scores first (the public code may keep none)."""
    most: int | None = Field(None, ge=1)
    """The most outliers that are kept, highest scores first; it bounds the samples of PruMerge+ too."""
    neighbours: int = Field(32, ge=0)
    """How many patches are added to each kept one, the nearest by the cosine of the keys (16 in an older function for
    training)."""
    pool: Literal["all", "pruned"] = "all"
    """Where neighbours come from: all other patches, or those that are pruned, as in the paper."""
    weights: Literal["attention", "normalised"] = "attention"
    """What a neighbour is multiplied by: its score, or its share of the sum, as in the paper."""
    merged: bool = True
    """Whether the sum of all pruned patches, times their scores, is the last token."""
    order: Literal["attention", "raster"] = "attention"
    """The order of the kept patches: by falling score, as published, or as in the image."""
    layer: int = -1
    """The block of the tower that gives queries and keys; the last is published, and reads what the features are, the
    output of the last but one."""
    query: Literal["cls", "mean"] = "cls"
    """Whose attention the scores are; mean is for a tower without CLS token (SigLIP)."""
    heads: Literal["single", "mean"] = "single"
    """Single takes the whole width as one head, as published; mean averages the tower's heads."""

    @model_validator(mode="after")
    def _fits(self) -> PruMerge:
        if self.tokens is not None and self.tokens < 1 + self.merged:
            raise UserError("tokens=1 leaves none beside the merged one", todo="give 2 or more, or merged=false")
        if self.most is not None and self.most < self.least:
            raise UserError("it keeps at least more than at most", todo="give least=1, or a greater most")
        return self

    def sized(self, share: float, visual: int, depth: int) -> Mapping[str, Value]:  # noqa: ARG002 - before all blocks
        """Return the number of tokens, with one beside the merged one."""
        return {"tokens": max(1 + self.merged, round(share * visual))}

    def apply(self, model: Any) -> Any:
        """Return the model with this selector."""
        check_kind(model.module.model, self._where)
        self._check(model.architecture)
        return super().apply(model)

    def leaves(self, work: Work) -> Work:
        """Return the work on a shorter prompt; where each image has its own number of tokens, on a usual one."""
        self._check(work.model)
        count = self.kept(work.image_tokens)
        if self.tokens is None:
            name = type(self).__name__
            work = work.assuming(f"{name} keeps as many visual tokens as an image needs; {count} are assumed")
        return work.with_visual_tokens(work.images * count).selecting(work.images * self.choosing(work.model, count))

    def flops(self, model: Architecture, left: int) -> int:
        """FLOPs of a row of attention, of the cosines of kept patches and all, and of the sums of features."""
        vision: Vision = model.vision  # type: ignore[assignment]
        patches, width = model.visual_tokens, feature_width(model)
        merged = self.merged and left < patches
        cosines = 2 * (left - merged) * patches * (vision.stack.hidden + width)
        return received_flops(vision, self.query) + cosines + 2 * merged * patches * width

    def kept(self, given: int) -> int:
        """Return ``tokens``, or what is usual: the dissertation's Table C.2 fits 36 to 43 of 576 (158 to 165 for +)."""
        if self.tokens is None:
            return max(1, round(given * self._usual / _PATCHES))
        if self.tokens - self.merged >= given:
            raise UserError(
                f"an image has {given} patches, so {self.tokens - self.merged} cannot be picked from it",
                where=self._where,
                todo="give fewer tokens",
            )
        return self.tokens

    def __call__(self, llava: Any, pixels: torch.Tensor, questions: Sequence[str] = ()) -> list[torch.Tensor]:
        """Return the features [n, width] that the projector is given of each of the images [images, 3, h, w]."""
        return [self.select(signals) for signals in self.signals(TowerSignals(llava, pixels, questions))]

    def shared(self, tokens: Sequence[int]) -> Sequence[Self | None]:
        """Return what leaves a share of ``tokens`` in each view, as equal as the views allow.

        The merged token is one of them, but of a share of one.
        """
        if self.tokens is None:
            what = f"it leaves as many tokens as an image needs, and here are {len(tokens)} views"
            raise UserError(what, where=self._where, todo="say tokens=")
        most = [own - (own == 1 or not self.merged) for own in tokens]
        return [
            self.model_copy(update={"tokens": count, "merged": self.merged and count > 1}) if count else None
            for count in shares(self.tokens, [1] * len(tokens), most)
        ]

    def of_images(self, tower: Tower) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features [1, n, width] that are left of the one image, and which tokens' places they take.

        The merged token takes that of the token that it has most of, the pruned one with the highest score.
        """
        (signals,) = self.signals(tower)
        chosen = self.chosen(signals.scores)
        places = self._origins(signals.scores, chosen)
        pruned = signals.scores.index_fill(0, places[places >= 0], -1)
        return self.merge(signals, chosen)[None], places.where(places >= 0, highest(pruned, 1))[None]

    def origins(self, tower: Tower) -> list[torch.Tensor]:
        """Return for each image which patch each token is that is left, int64 [n]; -1 for the merged one."""
        scored = tower.received(self.layer, self.query, self.heads)
        return [self._origins(scores, self.chosen(scores)) for scores in scored]

    def _origins(self, scores: torch.Tensor, chosen: list[int]) -> torch.Tensor:
        merged = [-1] * (self.merged and len(chosen) < len(scores))
        kept = sorted(chosen) if self.order == "raster" else chosen
        return scores.new_tensor([*kept, *merged]).long()

    def select(self, signals: Signals) -> torch.Tensor:
        """Return the tokens [n, width] that are left of an image, the merged one last."""
        return self.merge(signals, self.chosen(signals.scores))

    def signals(self, tower: Tower) -> list[Signals]:
        """Return what a tower says of each image."""
        parts = (tower.features, tower.received(self.layer, self.query, self.heads), tower.keys(self.layer))
        return [Signals(*of_image) for of_image in zip(*parts, strict=True)]

    def chosen(self, scores: torch.Tensor) -> list[int]:
        """Return the patches that are kept: the highest scores, then the samples.

        Args:
            scores: [N].
        """
        ranked = scores.argsort(descending=True, stable=True).tolist()
        if self.tokens is not None:
            return self._fixed(ranked, self.kept(len(ranked)) - self.merged)
        count = outliers(scores, self.iqr)
        bounded = min(max(count, self.least), len(ranked) if self.most is None else self.most, len(ranked))
        if bounded != count:
            logger.info("an image has %d outliers of %d patches; %d are kept", count, len(ranked), bounded)
        kept = ranked[:bounded]
        return [*kept, *self._samples(len(ranked), kept)]

    def _fixed(self, ranked: list[int], count: int) -> list[int]:
        """The patches that are kept where their number is given."""
        return ranked[:count]

    def _samples(self, patches: int, kept: list[int]) -> list[int]:  # noqa: ARG002 - PruMerge takes no samples
        """The patches that are kept besides the outliers."""
        return []

    def merge(self, signals: Signals, chosen: list[int]) -> torch.Tensor:
        """Add to each chosen patch its neighbours, and make one more token of the patches that are not chosen.

        Args:
            signals: Of an image.
            chosen: Patches, each once.

        Returns:
            [n, width]: the chosen ones in their order, and the merged one, if there is something to merge.
        """
        import torch
        from torch.nn.functional import normalize

        chosen = sorted(chosen) if self.order == "raster" else chosen
        features, scores = signals.features.float(), signals.scores
        kept = torch.tensor(chosen, device=scores.device)
        pruned = torch.ones_like(scores).index_fill(0, kept, 0)
        unit = normalize(signals.keys, dim=-1)
        similarity = unit[kept] @ unit.T
        if self.pool == "pruned":
            similarity = similarity.masked_fill(pruned == 0, -torch.inf)
        similarity = similarity.scatter(1, kept[:, None], -torch.inf)  # a token is not its own neighbour
        available = len(scores) - (len(chosen) if self.pool == "pruned" else 1)
        near = similarity.topk(min(self.neighbours, available)).indices
        weights = scores[near]
        if self.weights == "normalised":
            weights = normalize(weights, p=1, dim=-1)
        tokens = [features[kept] + torch.zeros_like(similarity).scatter(1, near, weights) @ features]
        if self.merged and len(chosen) < len(scores):
            tokens.append(((scores * pruned) @ features)[None])
        return torch.cat(tokens).to(signals.features.dtype)

    def _check(self, model: Architecture) -> None:
        """Refuse options that ask a tower for what it does not have."""
        check_tower(model, query=self.query, layer=self.layer, where=self._where)
        if model.visual_tokens:  # else they follow from the image
            self.kept(model.visual_tokens)


class PruMergePlus(PruMerge):
    """Keep what PruMerge keeps, and patches spread evenly over the image; the denser, the more outliers there are.

    With n outliers of N patches every s-th patch is sampled, s = floor(floor(N / n) / divisor), but at least 1. In the
    public code 0 is an error. It takes ``least`` or a large ``divisor`` to get there: never more than a quarter of the
    scores are outliers. With ``tokens``, half of the kept patches are the highest scores, the others are spread evenly
    over the rest. The public code fails on an image without outliers. Where nothing is pruned there is no merged token.
    """

    _usual: ClassVar[int] = 164
    _where: ClassVar[str] = "method prumerge-plus"

    divisor: int = Field(3, ge=1)
    """How many times denser the samples are than the outliers."""
    last_patch: bool = False
    """Whether the last patch may be sampled; in the public code it never is."""

    def _fixed(self, ranked: list[int], count: int) -> list[int]:
        best = (count + 1) // 2
        rest, samples = sorted(ranked[best:]), count - best
        return [*ranked[:best], *(rest[(2 * i + 1) * len(rest) // (2 * samples)] for i in range(samples))]

    def _samples(self, patches: int, kept: list[int]) -> list[int]:
        stride = patches // len(kept) // self.divisor
        if not stride:
            logger.info("an image has %d outliers of %d patches; every patch is sampled", len(kept), patches)
        known = set(kept)
        return [i for i in range(0, patches - (not self.last_patch), max(1, stride)) if i not in known]


def outliers(scores: torch.Tensor, iqr: float = 1.5) -> int:
    """Count scores [N] that are more than ``iqr`` interquartile ranges above the third quartile.

    Quartiles are interpolated linearly.
    """
    exact = scores.double()
    low, high = exact.quantile(exact.new_tensor([0.25, 0.75]))
    return int((exact > high + iqr * (high - low)).sum())
