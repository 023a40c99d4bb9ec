"""SparseVLM: some words of the question say which visual tokens stay (Zhang et al., ICML 2025, arXiv 2410.04417)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from ...harness.errors import UserError
from ...harness.methods import check_one_given
from .choosing import highest
from .density_peaks import means
from .dropping import Dropping, row_flops
from .number_lists import NumberList, blocks, continued, numbers, stretched, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from ...adapters.decoder import State
    from ...harness.execution import PromptSize
    from ...harness.specs import Value
    from ...harness.transformer import Stack

_PATCHES, _DEPTH, _HEADS = 576, 32, 32
_LAYERS = (3, 7, 16)
_KEPT = {
    "v1": {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)},
    "v2": {192: (300, 200, 118), 128: (238, 108, 60), 96: (246, 54, 28), 64: (66, 34, 20)},
}
_HEADS_OF_V2 = 14


class SparseVLM(Dropping):
    """Drop visual tokens after some blocks, by the attention of *raters*, the words that images matter to most.

    Raters are chosen once, by the input embeddings: for each visual token the scores of the text tokens behind the
    image, plain dot products, become shares by a softmax; raters are those whose mean share is above the mean of all. A
    visual token's score is the raters' mean attention to it in the block that has just run.

    How many are kept is a fixed list for each ``target``, as in the release, not the rank of a matrix, as in the paper.
    By the release's own count the lists leave 192, 128, 96 or 64 of 576 on average; over all 32 blocks ``v1`` leaves
    206.5, 145.4, 114.1 and 82.2, ``v2`` 206.8, 144.1, 113.9 and 81.8. Another number of visual tokens has the same
    shares, another depth the same shares of its blocks.

    ``v1`` recycles: of the dropped tokens, three tenths with the highest scores are merged into a tenth of their
    number, behind the visual tokens that are kept. The release breaks ties of its clusters by noise; here the first
    token wins. ``v2`` recycles nothing and reads only the heads in which the raters attend to visual tokens most: 14 of
    32. Before that it divides attention by what rotary embedding alone makes of the distance, the logit of a query and
    a key of ones. That is largest between neighbours, so distant tokens gain; but it swings as it falls and may be near
    0 or negative, where a token is kept or dropped for its place: ``rotary=false`` leaves it out.
    """

    where: ClassVar[str] = "method sparsevlm"
    size_options = ("counts", "target")

    target: Literal[192, 128, 96, 64] = 192
    """Which of the release's lists says how many visual tokens are kept."""
    version: Literal["v1", "v2"] = "v1"
    """Which of the two releases: v1 recycles dropped tokens, v2, SparseVLM+, picks heads."""
    layers: NumberList = ""
    """After how many blocks tokens are dropped; by default 3/7/16 of 32, or the same shares of another depth."""
    counts: NumberList = ""
    """How many visual tokens of a prompt are kept after each of them, as in 300/200/110; by default the target's list.
    Fewer layers have its first ones, more go on in the ratio of its last two."""
    raters: Literal["above-mean", "all"] = "above-mean"
    """Which text tokens behind the image rate: those above the mean, as published, or all of them."""
    rotary: bool = True
    """Whether v2 divides attention by the logit of a query and a key of ones, as released."""
    positions: Literal["original", "compacted"] | None = None  # type: ignore[assignment]
    """The positions of the kept tokens; by default compacted in v1, which recycles, and original in v2."""

    @model_validator(mode="after")
    def _fits(self) -> SparseVLM:
        check_one_given(self, "target", "counts")
        layers = blocks(self.layers) if self.layers else [*_LAYERS]
        if len(self._counts(_PATCHES)) != len(layers):
            raise UserError("there must be as many counts as layers", todo="write layers=3/7/16,counts=300/200/110")
        if self.version == "v1" and self.positions == "original":
            raise UserError("recycled tokens have no position of their own", todo="say version=v2 as well")
        return self

    @property
    def reads(self) -> bool:
        """It reads attention."""
        return True

    def sized(self, share: float, visual: int, depth: int) -> Mapping[str, Value]:  # noqa: ARG002 - of any depth
        """Return counts in the proportions of the list's, without recycled tokens."""
        shares = stretched([count / visual for count in self._counts(visual)], share)
        return {"counts": "/".join(str(max(1, whole(one, visual))) for one in shares)}

    def for_depth(self, depth: int) -> SparseVLM:
        """Return the same with numbers of blocks, and positions said."""
        scaled = sorted({max(1, round(layer * depth / _DEPTH)) for layer in _LAYERS})
        if not self.layers and len(scaled) < len(_LAYERS):
            raise UserError(f"{depth} blocks are too few", where=self.where, todo="give layers and as many counts")
        positions = self.positions or ("compacted" if self.version == "v1" else "original")
        layers = self.layers or "/".join(map(str, scaled))
        return self.model_copy(update={"layers": layers, "positions": positions})

    def _counts(self, visual: int) -> list[int]:
        """How many of ``visual`` tokens are kept at each stage, without recycled ones."""
        if self.counts:
            return numbers(self.counts, "counts")
        stages = blocks(self.layers) if self.layers else _LAYERS
        counts = continued(_KEPT[self.version][self.target], len(stages))
        return [max(1, whole(count / _PATCHES, visual)) for count in counts]

    def _stages(self, visual: int) -> Iterator[tuple[int, int, int]]:
        """Yield blocks, with how many tokens are kept and how many are made of dropped ones."""
        before = visual
        for block, count in zip(blocks(self.layers), self._counts(visual), strict=True):
            kept = min(before, count)
            made = recycled(before - kept)[1] if self.version == "v1" else 0
            yield block, kept, made
            before = kept + made

    def left(self, visual: int) -> Mapping[int, int]:
        """Block -> tokens that are kept, and those that are made."""
        return {block: kept + made for block, kept, made in self._stages(visual)}

    @property
    def first(self) -> int:
        """Raters are chosen before the first block."""
        return 0

    def flops(self, size: PromptSize) -> int:
        """FLOPs of choosing raters, of the rows of attention of all text tokens, and of clusters' distances."""
        if not size.visual:
            return 0
        chosen = 2 * size.stack.hidden * size.visual * size.text if self.raters == "above-mean" else 0
        candidates = [recycled(before - kept)[0] for before, kept in self._recycling(size.visual)]
        return chosen + super().flops(size) + sum(2 * size.stack.hidden * count**2 for count in candidates)

    def _recycling(self, visual: int) -> Iterator[tuple[int, int]]:
        """Yield visual tokens before and after each stage that recycles."""
        before = visual
        for _, kept, made in self._stages(visual):
            if made and kept + made < before:
                yield before, kept
            before = kept + made

    def scoring(self, stack: Stack, tokens: int, visual: int) -> int:
        """FLOPs of the rows of attention of all text tokens, of which raters are some, and of their logits of ones."""
        text = tokens - visual
        return row_flops(stack, tokens, queries=text) + 2 * self._divides * stack.head_dim * text * tokens

    @property
    def _divides(self) -> bool:
        return self.rotary and self.version == "v2"

    def before(self, index: int, state: State) -> State:
        """Choose raters, then drop tokens before the blocks that it says."""
        return self._rated(state) if index == 0 else super().before(index, state)

    def _rated(self, state: State) -> State:
        import torch

        visual, marked = state.tokens.visual, torch.zeros_like(state.tokens.visual)
        behind = state.tokens.real & ~visual & (visual.cumsum(dim=1) > 0)
        if self.raters == "all":
            return dataclasses.replace(state, marked=behind)
        for row, tokens in enumerate(state.hidden):
            if bool(visual[row].any()):
                text = (state.tokens.real[row] & ~visual[row]).nonzero()[:, 0]
                marked[row, raters(tokens[visual[row]], tokens[text], behind[row, text], text)] = True
        return dataclasses.replace(state, marked=marked)

    def scores(self, index: int, state: State) -> torch.Tensor:  # noqa: ARG002 - of the block that ran last
        """Scores [B, n]; none of them negative, unless they were divided by logits of ones."""
        import torch

        from ...adapters.decoder_reading import places_of

        places, own = places_of(state.tokens.real & ~state.tokens.visual)
        assert state.marked is not None  # noqa: S101 - before the first block
        rate = (state.marked.gather(1, places) & own).float()
        rate = (rate / rate.sum(dim=1, keepdim=True).clamp(min=1))[..., None]
        rows = state.attention.by_head(places, by_distance=self._divides)
        heads = torch.stack([(attention * rate).sum(dim=1) for attention in rows], dim=1)
        if self.version == "v1":
            return heads.mean(dim=1)
        mass = (heads * state.tokens.visual[:, None]).sum(dim=2)
        most = highest(mass, max(1, round(_HEADS_OF_V2 * heads.shape[1] / _HEADS)))
        return heads.gather(1, most[..., None].expand(-1, -1, heads.shape[2])).mean(dim=1)

    def drop(self, index: int, state: State, kept: list[int]) -> State:
        """Return the state with fewer visual tokens in each row, some of them made of those that are dropped."""
        if self.version == "v2":
            return super().drop(index, state, kept)
        import torch

        from ...adapters.kv_cache import pad
        from ...adapters.prompt_rows import Row

        assert state.marked is not None  # noqa: S101 - before the first block
        asked, scores = state.asked_visual, self.scores(index, state)
        rows, marks = [], []
        parts = zip(state.hidden, state.tokens.visual, state.tokens.real, state.marked, strict=True)
        for row, (tokens, visual, real, marked) in enumerate(parts):
            count, made = {block: stage for block, *stage in self._stages(asked[row])}[index]
            places = visual.nonzero()[:, 0]
            if kept[row] == len(places):
                count, made = len(places), 0
            ranked = places[highest(scores[row][places], len(places))]
            again = ranked[count : count + recycled(len(places) - count)[0]]
            new = means(tokens[again], made).to(tokens.dtype) if made else tokens[:0]
            own = torch.cat([(real & ~visual).nonzero()[:, 0], ranked[:count]]).sort().values
            end = int((own <= places.max()).sum()) if made else len(own)
            joined = [
                torch.cat([of[own[:end]], between, of[own[end:]]])
                for of, between in ((tokens, new), (visual, visual.new_ones(made)), (marked, marked.new_zeros(made)))
            ]
            rows.append(Row(joined[0], joined[1]))
            marks.append(joined[2])
        longest = max(map(len, marks))
        return state.with_tokens(rows, torch.stack([pad(mark, longest, 0) for mark in marks]))


def recycled(dropped: int) -> tuple[int, int]:
    """Return how many of the dropped tokens are recycled, and into how many tokens."""
    if not dropped:
        return 0, 0
    again = int(0.3 * dropped) + 1
    return again, int(again / 10) + 1


def raters(visual: torch.Tensor, text: torch.Tensor, behind: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the places of the text tokens that images matter to most, int64 [m]; all, where they matter to all alike.

    Args:
        visual: Embeddings [N, d].
        text: Those of text tokens [T, d].
        behind: bool [T], which of them stand behind the image.
        places: int64 [T], of them in the prompt.
    """
    import torch

    products = (visual.float() @ text.float().T).masked_fill(~behind, -torch.inf)
    share = products.softmax(dim=1).mean(dim=0)
    above = behind & (share > share[behind].mean())
    return places[above if bool(above.any()) else behind]
