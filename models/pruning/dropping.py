"""Methods inside the decoder that drop visual tokens before some of its blocks, for the rest of the answer."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from ...harness.errors import UserError
from ...harness.methods import Method

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from ...adapters.decoder import State
    from ...harness.execution import PromptSize
    from ...harness.measure.work import Work
    from ...harness.transformer import Stack


class Dropping(Method):
    """Drop visual tokens before some blocks; each row of a batch by its own number of them."""

    where: ClassVar[str]
    """What messages are about."""
    option: ClassVar[str] = "layers"
    """Which option says after how many blocks."""
    positions: Literal["original", "compacted"] = "original"
    """The positions of the kept tokens: with gaps, or counted anew."""

    @property
    def reads(self) -> bool:
        """Whether it reads attention or keys of the block that ran before it drops, which must have run whole."""
        return False

    def for_depth(self, depth: int) -> Self:  # noqa: ARG002 - most say which blocks
        """Return the method for a decoder of ``depth`` blocks."""
        return self

    def left(self, visual: int) -> Mapping[int, int]:
        """Block before which tokens are dropped -> visual tokens from it on, of a prompt that has ``visual``."""
        raise NotImplementedError

    def scores(self, index: int, state: State) -> torch.Tensor:
        """Scores [B, n] before a block; the highest are kept, of equal ones the first."""
        raise NotImplementedError

    def scoring(self, stack: Stack, tokens: int, visual: int) -> int:  # noqa: ARG002 - this is the default
        """FLOPs of the products in `scores`, for a prompt that has ``tokens`` left, ``visual`` of them visual."""
        return 0

    def apply(self, model: Any) -> Any:
        """Return the model with this method in its decoder."""
        depth = model.decoder.depth
        method = self.for_depth(depth)
        method.check(depth)
        return model.with_method(method)

    def leaves(self, work: Work) -> Work:
        """Return the work with fewer visual tokens from each of the blocks on."""
        stack, execution = work.language
        method = self.for_depth(stack.layers)
        method.check(stack.layers)
        last = max(method.left(work.visual_tokens))
        if self.reads and work.always is not None and last > work.always:
            raise UserError(
                f"it reads the attention of block {last - 1}, and a scheduler may switch off all but the first "
                f"{work.always} blocks",
                where=self.where,
                todo=self.instead(work.always),
            )
        for block, before, after in method.drops(work.visual_tokens):
            execution = execution.drop_tokens(before - after, before=block)
        return work.with_execution(execution).adding(method.flops(work.size))

    def instead(self, always: int) -> str:  # noqa: ARG002 - this is the default
        """What to do where only the first ``always`` blocks are sure to run."""
        return "leave one of the two methods out"

    def check(self, depth: int) -> None:
        """Refuse blocks that a decoder of ``depth`` does not have."""
        last = max(self.left(1))
        if last > depth:
            what = f"cannot drop tokens after {last} of {depth} blocks"
            raise UserError(what, where=self.where, todo=f"give {self.option} from 1 to {depth}")

    def drops(self, visual: int) -> Iterator[tuple[int, int, int]]:
        """Yield the blocks before which something is dropped of a prompt, with its visual tokens before and after."""
        stages = [(0, visual), *sorted(self.left(visual).items())]
        for (_, before), (block, after) in pairwise(stages):
            if after < before:
                yield block, before, after

    def flops(self, size: PromptSize) -> int:
        """FLOPs of what the method computes itself for a prompt."""
        return sum(self.scoring(size.stack, size.text + before, before) for _, before, _ in self.drops(size.visual))

    @property
    def first(self) -> int:
        """The first block before which it acts."""
        return min(self.left(1))

    def after_prompt(self, batch: int) -> None:
        """Put nothing after a prompt."""

    def before(self, index: int, state: State) -> State:
        """Drop tokens before the blocks that it says."""
        given = state.tokens.visual.sum(dim=1).tolist()
        left = [self.left(asked).get(index, own) for asked, own in zip(state.asked_visual, given, strict=True)]
        kept = [min(pair) for pair in zip(given, left, strict=True)]
        return state if kept == given else self.drop(index, state, kept)

    def drop(self, index: int, state: State, kept: list[int]) -> State:
        """Return the state in which each row has ``kept`` visual tokens."""
        state = state.keep(~state.tokens.visual | self.best(index, state, kept))
        return state.compacted() if self.positions == "compacted" else state

    def best(self, index: int, state: State, kept: list[int]) -> torch.Tensor:
        """Say which visual tokens are the ``kept`` best of each row, bool [B, n]."""
        scores = self.scores(index, state).masked_fill(~state.tokens.visual, -float("inf"))
        rank = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        return rank < rank.new_tensor(kept)[:, None]


class DroppingOnce(Dropping):
    """Drop visual tokens once, before block ``k``."""

    option: ClassVar[str] = "k"

    k: int = Field(2, ge=1)
    """The number of blocks that read all tokens, the paper's K."""

    def kept(self, visual: int) -> int:
        """How many visual tokens of a prompt are kept."""
        raise NotImplementedError

    def left(self, visual: int) -> Mapping[int, int]:
        """Block ``k`` -> what it keeps."""
        return {self.k: self.kept(visual)}


def row_flops(stack: Stack, tokens: int, queries: int = 1) -> int:
    """FLOPs of the attention of some tokens to all of them, whose keys are there: queries, and their products."""
    width = stack.heads * stack.head_dim
    return 2 * queries * stack.hidden * width + 2 * queries * tokens * width
