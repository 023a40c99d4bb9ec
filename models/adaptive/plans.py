"""What AdaLLaVA's schedulers and plain layer skipping leave to be done: plan rules for the cost engine.

A budget is a share of the switchable units - blocks, or groups of heads -, quantised down; the first half of the blocks
always runs (dissertation section 5.2 and appendix C.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.measure.execution import switchable_units

if TYPE_CHECKING:
    from ...harness.measure.work import Work


def adallava_l(work: Work, *, budget: float = 1.0, prefix: int | None = None, latency_token: bool = True) -> Work:
    """AdaLLaVA-L: whole blocks are switched.

    Args:
        work: What there is to do.
        budget: In (0, 1].
        prefix: Blocks that always run; default the first half.
        latency_token: Whether the latency token is one more token to read.
    """
    work = work.with_one_more_token() if latency_token else work
    stack, execution = work.language
    first = _prefix(stack.layers, prefix)
    return work.with_execution(execution.keep_layers(first + switchable_units(stack.layers, first, budget)))


def adallava_h(
    work: Work, *, budget: float = 1.0, prefix: int | None = None, rank: int = 8, latency_token: bool = True
) -> Work:
    """AdaLLaVA-H: groups of ``rank`` heads, with as large a share of the MLP's channels, are switched.

    Args:
        work: What there is to do.
        budget: In (0, 1].
        prefix: Blocks that always run whole; default the first half.
        rank: Heads that one switch opens; it divides the number of heads.
        latency_token: Whether the latency token is one more token to read.
    """
    work = work.with_one_more_token() if latency_token else work
    stack, execution = work.language
    if rank < 1 or stack.heads % rank:
        raise UserError(
            f"{stack.heads} heads do not fall into groups of {rank}", todo="choose a rank that divides them"
        )
    first, groups = _prefix(stack.layers, prefix), stack.heads // rank
    units = switchable_units(stack.layers * groups, first * groups, budget)
    return work.with_execution(execution.open_heads(stack, units=units, rank=rank, prefix=first))


def layers(work: Work, *, keep: int) -> Work:
    """Only ``keep`` of the blocks run."""
    return work.with_execution(work.language[1].keep_layers(keep))


def _prefix(layers: int, prefix: int | None) -> int:
    first = layers // 2 if prefix is None else prefix
    if not 1 <= first <= layers:
        raise UserError(f"a prefix of {first} of {layers} blocks is none", todo=f"give 1 to {layers}")
    return first
