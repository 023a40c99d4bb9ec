"""What token pruning leaves to be done: plan rules for the cost engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.errors import UserError

if TYPE_CHECKING:
    from ...harness.measure.work import Work


def fastv(work: Work, *, k: int = 2, r: float = 0.5, keep: int | None = None) -> Work:
    """FastV (Chen et al. 2024): after ``k`` whole blocks, the share ``r`` of the visual tokens is dropped.

    Args:
        work: What there is to do.
        k: Blocks that read everything.
        r: Share of the visual tokens that is dropped, in [0, 1). (Some releases call the share that is kept so.)
        keep: How many visual tokens stay, instead of a share.
    """
    stack, execution = work.language
    if not 1 <= k <= stack.layers:
        raise UserError(
            f"cannot drop tokens after {k} of {stack.layers} blocks", todo=f"give k from 1 to {stack.layers}"
        )
    if not 0 <= r < 1:
        raise UserError(f"r={r:g} is not in [0, 1)", todo="give the share of visual tokens to drop")
    kept = round(work.visual_tokens * (1 - r)) if keep is None else min(work.visual_tokens, keep)
    return work.with_execution(execution.drop_tokens(work.visual_tokens - kept, before=k))


def prumerge(work: Work, *, tokens: int = 40) -> Work:
    """PruMerge (Shang et al. 2024): as many visual tokens as an image's outliers need, the merged one included.

    Args:
        work: What there is to do; a pruning before the language model comes before all that switches parts of it off.
        tokens: Visual tokens that are left. The default stands in the middle of what the dissertation's Table C.2 fits
            (36 to 43); a real run gives each image its own number.
    """
    return work.with_visual_tokens(tokens)


def prumerge_plus(work: Work, *, tokens: int = 164) -> Work:
    """PruMerge+: PruMerge's outliers and a grid of spatial samples (Table C.2 fits 158 to 165)."""
    return work.with_visual_tokens(tokens)
