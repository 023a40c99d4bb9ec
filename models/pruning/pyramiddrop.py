"""PyramidDrop: fewer visual tokens after each stage of the decoder (Xing et al., CVPR 2025, arXiv 2410.17247)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from ...harness.errors import UserError
from .dropping import Dropping, row_flops
from .number_lists import NumberList, blocks, continued, fractions, stretched, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from ...adapters.decoder import State
    from ...harness.specs import Value
    from ...harness.transformer import Stack

_STAGES = 4
_SHARES = (0.5, 0.25, 0.125)


class PyramidDrop(Dropping):
    """Drop visual tokens after each stage of blocks, by the last token's attention in the block that runs next.

    Of that block, one row of attention is computed, from queries and keys of its own; fused kernels stay. A stage keeps
    a share of the prompt's visual tokens, not of what the stage before it left: the published shares keep 288, 144 and
    72 of 576, which is 270 on average over the 32 blocks. Settings for averages of 192, 128 and 64 were never
    published, and with these blocks no shares give less than 144. The release rounds down; here halves are rounded to
    even. A port that keeps the same share of what is left at every stage is ``shares=0.5/0.25/0.125`` for one half.
    """

    where: ClassVar[str] = "method pyramiddrop"
    size_options = ("shares",)

    layers: NumberList = ""
    """After how many blocks tokens are dropped, as in 8/16/24, which is published for 32; by default after each quarter
    of the blocks but the last."""
    shares: NumberList = ""
    """What is kept of the prompt's visual tokens after each of them; by default half of what there was before, as in
    0.5/0.25/0.125, which is published."""
    heads: Literal["mean", "max"] = "mean"
    """How the heads' probabilities become one score; mean is published."""
    positions: Literal["original", "compacted"] = "compacted"
    """The positions of the kept tokens: with gaps, or counted anew at every stage, as published."""

    @model_validator(mode="after")
    def _fits(self) -> PyramidDrop:
        shares = self._shares()
        stages = blocks(self.layers) if self.layers else shares
        if len(stages) != len(shares):
            what = f"{len(stages)} layers and {len(shares)} shares do not belong together"
            raise UserError(what, todo="give as many shares as layers")
        if not self.layers and len(shares) != _STAGES - 1:
            raise UserError(f"{len(shares)} shares need as many layers", todo="write layers=8/16/24")
        return self

    def sized(self, share: float, visual: int, depth: int) -> Mapping[str, Value]:  # noqa: ARG002 - of any depth
        """Return shares in the proportions of those it has, of whole tokens."""
        shares = stretched(self._shares(), share)
        return {"shares": "/".join(f"{whole(one, visual) / visual:.4g}" for one in shares)}

    def for_depth(self, depth: int) -> PyramidDrop:
        """Return the same with numbers of blocks."""
        if self.layers:
            return self
        stages = sorted({max(1, round(depth * stage / _STAGES)) for stage in range(1, _STAGES)})
        if len(stages) < _STAGES - 1:
            what = f"{depth} blocks do not fall into {_STAGES} stages"
            raise UserError(what, where=self.where, todo="give layers and as many shares")
        return self.model_copy(update={"layers": "/".join(map(str, stages))})

    def _shares(self) -> list[float]:
        """What is kept at each stage."""
        if self.shares:
            return fractions(self.shares, "shares")
        return continued(_SHARES, len(blocks(self.layers)) if self.layers else len(_SHARES))

    def left(self, visual: int) -> Mapping[int, int]:
        """Block -> the share of all visual tokens."""
        shares = (whole(share, visual) for share in self._shares())
        return dict(zip(blocks(self.layers), shares, strict=True))

    def scores(self, index: int, state: State) -> torch.Tensor:  # noqa: ARG002 - of the block that runs next
        """Scores [B, n], none of them negative."""
        attention = state.attention.ahead(state)
        return attention.mean(dim=1) if self.heads == "mean" else attention.amax(dim=1)

    def scoring(self, stack: Stack, tokens: int, visual: int) -> int:  # noqa: ARG002 - keys of all tokens
        """FLOPs of a row of attention and of the keys that it needs."""
        return row_flops(stack, tokens) + 2 * tokens * stack.hidden * stack.kv_heads * stack.head_dim
