"""VTW: after some blocks the decoder goes on without visual tokens (Lin et al., AAAI 2025, arXiv 2405.05803)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from .dropping import Dropping

if TYPE_CHECKING:
    import torch

    from ...adapters.decoder import State
    from ...harness.measure.work import Work

_SHARE = 15 / 32


class VTW(Dropping):
    """Withdraw all visual tokens before block ``k``.

    Published for LLaVA-1.5-7B is 15 of 32 blocks, found on one task; the search for k is not offered.
    """

    where: ClassVar[str] = "method vtw"

    k: int | None = Field(None, ge=1)  # type: ignore[assignment]
    """The number of blocks that read visual tokens, the paper's K; by default 15 of 32, or the same share of others."""

    def apply(self, model: Any) -> Any:
        """Return the model with this method in its decoder."""
        return Dropping.apply(self._of(model.decoder.depth), model)

    def leaves(self, work: Work) -> Work:
        """Return the work without visual tokens from block ``k`` on."""
        return Dropping.leaves(self._of(work.language[0].layers), work)

    def _of(self, depth: int) -> VTW:
        """The same with a number of blocks, for a decoder of ``depth``."""
        return self if self.k is not None else self.model_copy(update={"k": max(1, round(_SHARE * depth))})

    def kept(self, visual: int) -> int:  # noqa: ARG002 - none of any number
        """No visual token is kept."""
        return 0

    def scores(self, state: State) -> torch.Tensor:
        """All alike, [B, n]."""
        return state.hidden.new_zeros(state.tokens.visual.shape)
