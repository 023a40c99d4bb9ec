"""FastV: the decoder drops visual tokens that the end of the prompt hardly looks at (Chen et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...adapters.transformers_multimodal import HFMultimodal
from ...harness.errors import UserError

if TYPE_CHECKING:
    import torch

    from ...adapters.decoder import State

_WHERE = "method fastv"
_CHOICES = {"heads": ("mean", "max"), "positions": ("original", "compacted"), "select": ("attention", "random")}


def fastv(  # noqa: PLR0913 - one parameter is one option
    model: Any,
    *,
    k: int = 2,
    r: float = 0.5,
    keep: int | None = None,
    heads: Literal["mean", "max"] = "mean",
    positions: Literal["original", "compacted"] = "original",
    select: Literal["attention", "random"] = "attention",
    seed: int = 0,
) -> HFMultimodal:
    """Drop visual tokens once, before block ``k``, for the rest of the answer.

    A token's score is the probability that the last token of the prompt attends to it with in block ``k - 1``. Only
    that row of attention is computed. Where a scheduler puts a token after the prompt, that token is the last.

    The release holds four implementations. With the defaults this is the one for Hugging Face's LLaVA, which prunes
    once and keeps keys and values. The first one scores alike but prunes again for every token of the answer, and the
    masking one hides tokens instead of dropping them: it serves to study accuracy and saves nothing. The one for
    lmms-eval is ``k=3, r=0.5``, and rounds the number that it keeps down. All of them read the last token's row. The
    mean over all queries stands in the paper's text only, needs the whole attention matrix, and is not offered.

    Args:
        model: A LLaVA; it is not changed, and shares its weights with what is returned.
        k: Blocks that read all tokens, from 1 to all. The paper's K.
        r: Share of a prompt's visual tokens that is dropped, in [0, 1): R of the paper and of the Hugging Face
            release; the lmms-eval release calls the share that is *kept* so. Halves are rounded to even.
        keep: Instead of ``r``, how many visual tokens of a prompt are kept: the rank of the first release.
        heads: How the heads' probabilities become one score: ``mean`` in every release; ``max`` in none.
        positions: ``original`` leaves gaps where tokens were dropped, as the releases do that drop tokens and prune in
            the prefill. ``compacted`` counts the kept tokens anew, as the one does that prunes while decoding.
        select: ``attention``; or ``random``, the baseline: the same places for all prompts with as many visual tokens.
            (The masking release does this for K = 0.)
        seed: Of the random places.

    Raises:
        UserError: The model is no LLaVA, or an option is out of range.
    """
    if not isinstance(model, HFMultimodal):
        raise UserError("only a LLaVA has visual tokens to drop", where=_WHERE, todo="leave it out")
    if not 1 <= k <= model.decoder.depth:
        todo = f"give k from 1 to {model.decoder.depth}"
        raise UserError(f"cannot drop tokens after {k} of {model.decoder.depth} blocks", where=_WHERE, todo=todo)
    if not 0 <= r < 1:
        raise UserError(f"r={r:g} is not in [0, 1)", where=_WHERE, todo="give the share of visual tokens to drop")
    if keep is not None and keep < 1:
        raise UserError(f"cannot keep {keep} visual tokens", where=_WHERE, todo="give 1 or more")
    for name, value in {"heads": heads, "positions": positions, "select": select}.items():
        if value not in _CHOICES[name]:
            todo = f"choose from {', '.join(_CHOICES[name])}"
            raise UserError(f"unknown {name} {value!r}", where=_WHERE, todo=todo)
    return model.with_method(FastV(k, r, keep, heads, positions, select, seed))


@dataclass
class FastV:
    """Steers a decoder; the options are those of `fastv`.

    Attributes:
        first: The block before which tokens are dropped.
    """

    first: int
    r: float = 0.5
    keep: int | None = None
    heads: str = "mean"
    positions: str = "original"
    select: str = "attention"
    seed: int = 0

    def after_prompt(self, batch: int) -> None:
        """Put nothing after a prompt."""

    def before(self, index: int, state: State) -> State:
        """Drop tokens before block ``first``; every row by its own number of visual tokens."""
        if index != self.first:
            return state
        visual = state.tokens.visual
        given = visual.sum(dim=1).tolist()
        kept = [self.kept(count) for count in given]
        if kept == given:
            return state
        scores = self._scores(state).masked_fill(~visual, -1)
        rank = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        state = state.keep(~visual | (rank < rank.new_tensor(kept)[:, None]))
        return state.compacted() if self.positions == "compacted" else state

    def kept(self, visual: int) -> int:
        """How many of so many visual tokens are kept."""
        return round(visual * (1 - self.r)) if self.keep is None else min(visual, self.keep)

    def _scores(self, state: State) -> torch.Tensor:
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
