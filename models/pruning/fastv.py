"""FastV: the decoder drops visual tokens that the end of the prompt hardly looks at (Chen et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from ...harness.methods import Seed, check_one_given
from .dropping import DroppingOnce, row_flops

if TYPE_CHECKING:
    import torch

    from ...adapters.decoder import State
    from ...harness.transformer import Stack


class FastV(DroppingOnce):
    """Drop visual tokens once, before block ``k``, for the rest of the answer.

    A token's score is the probability that the last token of the prompt attends to it with in block ``k - 1``. Only
    that row of attention is computed. Where a scheduler puts a token after the prompt, that token is the last.

    The release holds four implementations. With the defaults this is the one for Hugging Face's LLaVA, which prunes
    once and keeps keys and values. The first one scores alike but prunes again for every token of the answer, and the
    masking one hides tokens instead of dropping them: it serves to study accuracy and saves nothing. The one for
    lmms-eval is ``k=3, r=0.5``, and rounds the number that it keeps down. All of them read the last token's row. The
    mean over all queries stands in the paper's text only, needs the whole attention matrix, and is not offered.

    ``positions=original`` leaves gaps where tokens were dropped, as the releases do that drop tokens and prune in the
    prefill; ``compacted`` counts the kept tokens anew, as the one does that prunes while decoding. ``heads=mean`` is
    every release's, ``max`` none's.
    """

    where: ClassVar[str] = "method fastv"
    size_options = ("keep", "r")

    r: float = Field(0.5, ge=0, lt=1)
    """The share of visual tokens that is dropped, R of the paper and the Hugging Face release (the lmms-eval release
    calls the share that is kept so); halves are rounded to even."""
    keep: int | None = Field(None, ge=1)
    """How many visual tokens of a prompt are kept, instead of r."""
    heads: Literal["mean", "max"] = "mean"
    """How the heads' probabilities become one score."""
    select: Literal["attention", "random"] = "attention"
    """How tokens are chosen; random is the baseline: equal places in equally long prompts."""
    seed: Seed = 0
    """The seed of the random places."""

    @model_validator(mode="after")
    def _fits(self) -> FastV:
        check_one_given(self, "keep", "r")
        return self

    @property
    def reads(self) -> bool:
        """Whether it reads attention."""
        return self.select == "attention"

    def instead(self, always: int) -> str:
        """What to do where only the first ``always`` blocks are sure to run."""
        return f"give k from 1 to {always}, or select=random"

    def kept(self, visual: int) -> int:
        """How many visual tokens are kept."""
        return round(visual * (1 - self.r)) if self.keep is None else min(visual, self.keep)

    def scoring(self, stack: Stack, tokens: int, visual: int) -> int:  # noqa: ARG002 - to all tokens
        """FLOPs of one row of attention."""
        return row_flops(stack, tokens) if self.reads else 0

    def scores(self, index: int, state: State) -> torch.Tensor:  # noqa: ARG002 - it drops before one block
        """Scores [B, n], none of them negative."""
        if self.select == "random":
            return self._random(state.tokens.visual)
        attention = state.attention()
        return attention.mean(dim=1) if self.heads == "mean" else attention.amax(dim=1)

    def _random(self, visual: torch.Tensor) -> torch.Tensor:
        import torch

        scores = torch.zeros(visual.shape)
        for row, places in zip(scores, visual.cpu(), strict=True):
            row[places] = torch.rand(int(places.sum()), generator=torch.Generator().manual_seed(self.seed))
        return scores.to(visual.device)
