"""DART: visual tokens that are least alike to a few pivots (Wen et al., EMNLP 2025, arXiv 2502.11494)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from ...harness.methods import check_one_given
from .choosing import highest
from .dropping import DroppingOnce
from .number_lists import whole

if TYPE_CHECKING:
    import torch

    from ...adapters.decoder import State
    from ...harness.transformer import Stack


class Dart(DroppingOnce):
    """Keep the visual pivots, and for each pivot in turn the visual tokens that are least alike to it.

    Pivots are the visual tokens, and the text tokens behind the first visual one, whose keys in block ``k - 1`` have
    the largest sum of magnitudes over all key heads. Alike is the cosine of the hidden states before block ``k``, after
    the decoder's last norm. The visual pivots take their turns first, then those of the text, each by its place in the
    prompt; the release goes through a Python set. Text pivots are kept as all text is. No attention is read.

    The release takes ``ceil(keep / pivots)`` tokens for each pivot beside the visual pivots, so that 128 keeps 132:
    ``beside=true``. Its scripts for LLaVA overwrite the reduction ratio with that number. Ports differ: 10 visual and 5
    text pivots in one, ``k=5`` in another.
    """

    where: ClassVar[str] = "method dart"
    size_options = ("keep", "r")

    r: float = Field(0.778, ge=0, lt=1)
    """The share of visual tokens that is dropped; 0.667, 0.778 and 0.889 leave 192, 128 and 64 of 576."""
    keep: int | None = Field(None, ge=1)
    """How many visual tokens of a prompt are kept, instead of r."""
    visual_pivots: int = Field(4, ge=0)
    """How many visual tokens are pivots."""
    text_pivots: int = Field(4, ge=0)
    """How many text tokens are pivots."""
    beside: bool = False
    """Whether the visual pivots are kept beside that number, and each pivot's share of it is rounded up, as in the
    release."""

    @model_validator(mode="after")
    def _fits(self) -> Dart:
        check_one_given(self, "keep", "r")
        return self

    def kept(self, visual: int) -> int:
        """How many visual tokens are kept."""
        count = whole(1 - self.r, visual) if self.keep is None else self.keep
        if self.beside and self._pivots:
            count = self.visual_pivots + self._pivots * -(-count // self._pivots)
        return min(visual, count)

    @property
    def reads(self) -> bool:
        """It reads keys."""
        return True

    @property
    def _pivots(self) -> int:
        return self.visual_pivots + self.text_pivots

    def scoring(self, stack: Stack, tokens: int, visual: int) -> int:
        """FLOPs of the cosines of visual tokens and pivots."""
        pivots = min(visual, self.visual_pivots) + min(tokens - visual, self.text_pivots)
        return 2 * stack.hidden * visual * pivots

    def scores(self, index: int, state: State) -> torch.Tensor:  # noqa: ARG002 - it drops before one block
        """Scores [B, n]: the sooner a token is taken, the higher."""
        import torch
        from torch.nn.functional import normalize

        keys = state.attention.keys().float().abs().sum(dim=(1, 3))
        unit = normalize(state.attention.normed(state).float(), dim=-1)
        scores = torch.zeros_like(keys)
        for row, tokens in enumerate(unit):
            visual = state.tokens.visual[row]
            places = visual.nonzero()[:, 0]
            if not len(places):
                continue
            own = highest(keys[row][places], self.visual_pivots).sort().values
            text = (state.tokens.real[row] & ~visual).nonzero()[:, 0]
            text = text[text > places[0]]
            others = text[highest(keys[row][text], self.text_pivots)].sort().values
            pivots = tokens[torch.cat([places[own], others])]
            order = taken(tokens[places], pivots, own, self.kept(len(places)))
            scores[row, places[order]] = torch.arange(len(order), 0, -1, device=scores.device, dtype=scores.dtype)
        return scores


def taken(visual: torch.Tensor, pivots: torch.Tensor, own: torch.Tensor, count: int) -> torch.Tensor:
    """Return the places of visual tokens in the order in which they are taken, int64 [count].

    Every pivot takes equally many, the first ones one more where that does not divide.

    Args:
        visual: Of length 1, [N, d].
        pivots: Of length 1, [P, d], first those that are visual tokens themselves.
        own: Places of those, int64.
        count: At most N.
    """
    import torch

    order, like = own[:count], visual @ pivots.T
    rest = count - len(order)
    for place in range(len(pivots)):
        share = rest // len(pivots) + (place < rest % len(pivots))
        least = like[:, place].index_fill(0, order, torch.inf)
        order = torch.cat([order, least.argsort(stable=True)[:share]])
    return order
