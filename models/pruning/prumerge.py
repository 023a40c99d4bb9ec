"""PruMerge and PruMerge+: few visual tokens for the projector, picked by the tower's own attention (Shang et al. 2024).

Patches that the tower's CLS token attends to unusually much are kept; each takes up what is similar to it, and what is
left becomes one more token. Everything is done image by image: the published code shares one ratio over a batch.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ...adapters.transformers_multimodal import HFMultimodal
from ...harness.errors import UserError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_CHOICES = {
    "query": ("cls", "mean"),
    "heads": ("single", "mean"),
    "pool": ("all", "pruned"),
    "weights": ("attention", "normalised"),
    "order": ("attention", "raster"),
}


def prumerge(  # noqa: PLR0913 - one parameter is one option
    model: Any,
    *,
    tokens: int | None = None,
    iqr: float = 1.5,
    least: int = 1,
    most: int | None = None,
    neighbours: int = 32,
    pool: Literal["all", "pruned"] = "all",
    weights: Literal["attention", "normalised"] = "attention",
    merged: bool = True,
    order: Literal["attention", "raster"] = "attention",
    layer: int = -1,
    query: Literal["cls", "mean"] = "cls",
    heads: Literal["single", "mean"] = "single",
) -> HFMultimodal:
    """Keep the patches of each image whose scores are outliers, enriched by their neighbours, and one merged token.

    The defaults are what the public code does with a single image, not what the paper says where the two differ.

    Args:
        model: A LLaVA; it is not changed, and shares its weights with what is returned.
        tokens: Visual tokens of every image, the merged one included, instead of as many as there are outliers. With
            576 patches, 73 is the public code's fixed ratio of 1/8.
        iqr: A score is an outlier if it is more than so many interquartile ranges above the third quartile.
        least: Patches that are kept at least, the highest scores first; the public code may keep none.
        most: Outliers that are kept at most, the highest scores first.
        neighbours: Patches whose features are added to each kept one's: the nearest by cosine similarity of the keys.
            (16 in an older function for training.)
        pool: Where neighbours come from: ``all`` other patches, kept ones included; or those that are ``pruned``, as
            the paper describes it.
        weights: What a neighbour's features are multiplied with: its score; or ``normalised``, the score's share of
            the sum over the neighbours, which makes it an average, as in the paper.
        merged: Whether the sum of all pruned patches, times their scores, is the last token.
        order: Of the kept patches: by falling score, as published; or ``raster``, as they stand in the image.
        layer: Block of the tower that gives queries and keys. The last is published; it is given what the features
            are, the output of the last but one.
        query: Whose attention the scores are: that of ``cls``; or the ``mean`` over all of the tower's tokens, which
            is the way for a tower without CLS token (SigLIP).
        heads: ``single`` takes all of the width as one head, as published; ``mean`` averages over the tower's heads.

    Raises:
        UserError: The model is no LLaVA, its tower does not give what is needed, or an option is out of range.
    """
    selector = PruMerge(tokens, iqr, least, most, neighbours, pool, weights, merged, order, layer, query, heads)
    return _selected(model, selector, "method prumerge")


def prumerge_plus(  # noqa: PLR0913 - one parameter is one option
    model: Any,
    *,
    tokens: int | None = None,
    iqr: float = 1.5,
    least: int = 1,
    most: int | None = None,
    neighbours: int = 32,
    pool: Literal["all", "pruned"] = "all",
    weights: Literal["attention", "normalised"] = "attention",
    merged: bool = True,
    order: Literal["attention", "raster"] = "attention",
    layer: int = -1,
    query: Literal["cls", "mean"] = "cls",
    heads: Literal["single", "mean"] = "single",
    divisor: int = 3,
    last_patch: bool = False,
) -> HFMultimodal:
    """Keep what `prumerge` keeps, and patches spread evenly over the image; the denser, the more outliers there are.

    With n outliers of N patches every s-th patch is sampled, s = floor(floor(N / n) / divisor), but at least 1. In the
    public code 0 is an error. It takes ``least`` or a large ``divisor`` to get there: never more than a quarter of the
    scores are outliers.

    Args:
        model: As in `prumerge`.
        tokens: Visual tokens of every image, the merged one included: half of the kept patches are the highest scores,
            the others are spread evenly over the rest. With 576 patches, 145 is as many as the public code's fixed
            mode gives, which samples some patches twice.
        iqr: As in `prumerge`.
        least: As in `prumerge`; the public code fails on an image without outliers.
        most: As in `prumerge`: of the outliers. It bounds the samples too, as few outliers make a wide grid.
        neighbours: As in `prumerge`.
        pool: As in `prumerge`.
        weights: As in `prumerge`.
        merged: As in `prumerge`. Where nothing is pruned there is no merged token.
        order: As in `prumerge`; the samples follow the outliers, as they stand in the image.
        layer: As in `prumerge`.
        query: As in `prumerge`.
        heads: As in `prumerge`.
        divisor: How many times denser the samples are than the outliers.
        last_patch: Whether the last patch may be sampled; in the public code it never is.

    Raises:
        UserError: As in `prumerge`.
    """
    selector = PruMerge(
        tokens, iqr, least, most, neighbours, pool, weights, merged, order, layer, query, heads, divisor, last_patch
    )
    return _selected(model, selector, "method prumerge-plus")


class Signals(NamedTuple):
    """What a tower says of the N patches of an image.

    Attributes:
        features: [N, width], what the projector would be given.
        scores: float32 [N], how much each patch is attended to.
        keys: float32 [N, tower width].
    """

    features: torch.Tensor
    scores: torch.Tensor
    keys: torch.Tensor


@dataclass(frozen=True)
class PruMerge:
    """Selects visual tokens; the options are those of `prumerge_plus`.

    Attributes:
        divisor: As in `prumerge_plus`; ``None`` takes no samples.
    """

    tokens: int | None = None
    iqr: float = 1.5
    least: int = 1
    most: int | None = None
    neighbours: int = 32
    pool: str = "all"
    weights: str = "attention"
    merged: bool = True
    order: str = "attention"
    layer: int = -1
    query: str = "cls"
    heads: str = "single"
    divisor: int | None = None
    last_patch: bool = False

    def __call__(self, model: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the features [n, width] that the projector is given of each of the images [images, 3, h, w]."""
        return [self.select(signals) for signals in self.signals(model, pixels)]

    def select(self, signals: Signals) -> torch.Tensor:
        """Return the tokens [n, width] that are left of an image, the merged one last."""
        return self.merge(signals, self.chosen(signals.scores))

    def signals(self, model: Any, pixels: torch.Tensor) -> list[Signals]:
        """Ask the tower for what it says of each image; its blocks run once."""
        import torch

        config, tower = model.config, model.model.vision_tower
        states = tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
        blocks, skipped = _blocks(tower), _not_patches(config)
        place = range(len(blocks))[self.layer]
        attention, given = blocks[place].self_attn, blocks[place].layer_norm1(states[place])
        asking = given[:, :1] if self.query == "cls" else given
        heads = 1 if self.heads == "single" else attention.num_heads
        keys = attention.k_proj(given).float()
        scores = _attended(attention.q_proj(asking).float(), keys, heads)
        layers = config.vision_feature_layer
        features = torch.cat([states[i] for i in ([layers] if isinstance(layers, int) else layers)], dim=-1)
        return [Signals(*(part[skipped:] for part in parts)) for parts in zip(features, scores, keys, strict=True)]

    def chosen(self, scores: torch.Tensor) -> list[int]:
        """Return the patches that are kept: the highest scores, then the samples.

        Args:
            scores: [N].
        """
        ranked = scores.argsort(descending=True, stable=True).tolist()
        if self.tokens is not None:
            return self._so_many(ranked, self.tokens - self.merged)
        count = outliers(scores, self.iqr)
        bounded = min(max(count, self.least), len(ranked) if self.most is None else self.most, len(ranked))
        if bounded != count:
            logger.info("an image has %d outliers of %d patches; %d are kept", count, len(ranked), bounded)
        kept = ranked[:bounded]
        return kept if self.divisor is None else [*kept, *self._samples(len(ranked), kept, self.divisor)]

    def _so_many(self, ranked: list[int], count: int) -> list[int]:
        if count >= len(ranked):
            raise UserError(
                f"an image has {len(ranked)} patches, so {count} cannot be picked from it", todo="give fewer tokens"
            )
        best = count if self.divisor is None else (count + 1) // 2
        rest, samples = sorted(ranked[best:]), count - best
        return [*ranked[:best], *(rest[(2 * i + 1) * len(rest) // (2 * samples)] for i in range(samples))]

    def _samples(self, patches: int, kept: list[int], divisor: int) -> list[int]:
        stride = patches // len(kept) // divisor
        if not stride:
            logger.info("an image has %d outliers of %d patches; every patch is sampled", len(kept), patches)
        known = set(kept)
        return [i for i in range(0, patches - (not self.last_patch), max(1, stride)) if i not in known]

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
        similarity = similarity.scatter(1, kept[:, None], -torch.inf)  # nobody is a neighbour of itself
        available = len(scores) - (len(chosen) if self.pool == "pruned" else 1)
        near = similarity.topk(min(self.neighbours, available)).indices
        weights = scores[near]
        if self.weights == "normalised":
            weights = normalize(weights, p=1, dim=-1)
        tokens = [features[kept] + torch.zeros_like(similarity).scatter(1, near, weights) @ features]
        if self.merged and len(chosen) < len(scores):
            tokens.append(((scores * pruned) @ features)[None])
        return torch.cat(tokens).to(signals.features.dtype)


def outliers(scores: torch.Tensor, iqr: float = 1.5) -> int:
    """Count scores [N] that are more than ``iqr`` interquartile ranges above the third quartile.

    Quartiles are interpolated linearly.
    """
    exact = scores.double()
    low, high = exact.quantile(exact.new_tensor([0.25, 0.75]))
    return int((exact > high + iqr * (high - low)).sum())


def _attended(queries: torch.Tensor, keys: torch.Tensor, heads: int) -> torch.Tensor:
    """Return the attention that each token gets, [B, n], from queries [B, q, C] to keys [B, n, C].

    Probabilities, averaged over queries and heads.
    """
    shape = (heads, keys.shape[-1] // heads)
    query, key = (part.view(*part.shape[:2], *shape).transpose(1, 2) for part in (queries, keys))
    scores: torch.Tensor = query @ key.transpose(2, 3) * shape[1] ** -0.5
    return scores.softmax(dim=-1).mean(dim=(1, 2))


def _blocks(tower: Any) -> Any:
    """The tower's blocks; its releases put them one step deeper or less."""
    return getattr(tower, "vision_model", tower).encoder.layers


def _not_patches(config: Any) -> int:
    """Tokens before the patches that the features leave out."""
    return int(config.vision_feature_select_strategy == "default")


def _selected(model: Any, selector: PruMerge, where: str) -> HFMultimodal:
    """The model with the selector, if they suit each other."""
    if not isinstance(model, HFMultimodal):
        raise UserError("only a LLaVA has visual tokens to merge", where=where, todo="leave it out")
    _check(selector, where)
    llava = model.module.model
    kind = llava.config.vision_config.model_type
    if kind not in ("clip_vision_model", "siglip_vision_model"):
        raise UserError(f"cannot read queries and keys of a {kind}", where=where, todo="take a CLIP or SigLIP tower")
    tokenless = kind == "siglip_vision_model"
    if tokenless and selector.query == "cls":
        todo = "say query=mean to score patches by the attention of all patches"
        raise UserError("its tower, a SigLIP, has no CLS token", where=where, todo=todo)
    if not tokenless and not _not_patches(llava.config):
        raise UserError("it projects its tower's CLS token, which is no patch", where=where, todo="leave it out")
    depth = len(_blocks(llava.model.vision_tower))
    if not -depth <= selector.layer < depth:
        what = f"there is no layer {selector.layer} among the {depth} of its tower"
        raise UserError(what, where=where, todo=f"give {-depth} to {depth - 1}")
    return model.with_selector(selector)


def _check(selector: PruMerge, where: str) -> None:
    for name, known in _CHOICES.items():
        value = getattr(selector, name)
        if value not in known:
            raise UserError(f"unknown {name} {value!r}", where=where, todo=f"choose from {', '.join(known)}")
    lowest = {"tokens": 1 + selector.merged, "iqr": 0, "least": 1, "most": 1, "neighbours": 0, "divisor": 1}
    for name, low in lowest.items():
        value = getattr(selector, name)
        if value is not None and value < low:
            raise UserError(f"{name}={value:g} is too small", where=where, todo=f"give {low} or more")
    if selector.most is not None and selector.most < selector.least:
        raise UserError("it keeps at least more than at most", where=where, todo="give least=1, or a greater most")
