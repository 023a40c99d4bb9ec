"""VTW: after some blocks the decoder goes on without visual tokens (Lin et al., AAAI 2025, arXiv 2405.05803)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from .dropping import Dropping

if TYPE_CHECKING:
    import torch

    from ...adapters.decoder import State


class VTW(Dropping):
    """Withdraw all visual tokens before block ``k``.

    Published for LLaVA-1.5-7B is ``k=15`` of 32, found on one task; the search for k is not offered.
    """

    where: ClassVar[str] = "method vtw"

    k: int = Field(15, ge=1)
    """The number of blocks that read visual tokens, the paper's K."""

    def kept(self, visual: int) -> int:  # noqa: ARG002 - none of any number
        """No visual token is kept."""
        return 0

    def scores(self, state: State) -> torch.Tensor:
        """All alike, [B, n]."""
        return state.hidden.new_zeros(state.tokens.visual.shape)
