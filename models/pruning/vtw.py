"""VTW: after some blocks the decoder goes on without visual tokens (Lin et al., AAAI 2025, arXiv 2405.05803)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from .dropping import DroppingOnce

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from ...adapters.decoder import State
    from ...harness.specs import Value

_SHARE = 15 / 32


class VTW(DroppingOnce):
    """Withdraw all visual tokens before block ``k``.

    Published for LLaVA-1.5-7B is 15 of 32 blocks, found on one task. ``adaptbench train vtw`` finds k for a model: the
    first at which the distribution of the answer's first token hardly differs from that of the whole model.
    """

    where: ClassVar[str] = "method vtw"
    size_options = ("k",)

    k: int | None = Field(None, ge=1)  # type: ignore[assignment]
    """The number of blocks that read visual tokens, the paper's K; by default 15 of 32, or the same share of others."""

    def sized(self, share: float, visual: int, depth: int) -> Mapping[str, Value]:  # noqa: ARG002 - all or none
        """Return how many blocks read them, the same share of all blocks."""
        return {"k": max(1, round(share * depth))}

    def for_depth(self, depth: int) -> VTW:
        """Return the same with a number of blocks."""
        return self if self.k is not None else self.model_copy(update={"k": max(1, round(_SHARE * depth))})

    def kept(self, visual: int) -> int:  # noqa: ARG002 - none of any number
        """No visual token is kept."""
        return 0

    def scores(self, index: int, state: State) -> torch.Tensor:  # noqa: ARG002 - they are alike before every block
        """All alike, [B, n]."""
        return state.hidden.new_zeros(state.tokens.visual.shape)
