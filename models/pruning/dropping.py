"""Methods inside the decoder that drop visual tokens before one of its blocks, for the rest of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...harness.errors import UserError
from ...harness.methods import Method

if TYPE_CHECKING:
    import torch

    from ...adapters.decoder import State
    from ...harness.measure.work import Work


class Dropping(Method):
    """Drop visual tokens once, before block ``k``."""

    where: ClassVar[str]
    """What messages are about."""

    k: int = Field(2, ge=1)
    """The number of blocks that read all tokens, the paper's K."""
    positions: Literal["original", "compacted"] = "original"
    """The positions of the kept tokens."""

    def kept(self, visual: int) -> int:
        """How many visual tokens of a prompt are kept."""
        raise NotImplementedError

    def scores(self, state: State) -> torch.Tensor:
        """Scores [B, n], none of them negative; the highest are kept, of equal ones the first."""
        raise NotImplementedError

    def apply(self, model: Any) -> Any:
        """Return the model with this method in its decoder."""
        self._check(model.decoder.depth)
        return model.with_method(self)

    def leaves(self, work: Work) -> Work:
        """Return the work with fewer visual tokens from block ``k`` on."""
        stack, execution = work.language
        self._check(stack.layers)
        dropped = work.visual_tokens - self.kept(work.visual_tokens)
        return work.with_execution(execution.drop_tokens(dropped, before=self.k))

    def _check(self, depth: int) -> None:
        if self.k > depth:
            raise UserError(
                f"cannot drop tokens after {self.k} of {depth} blocks",
                where=self.where,
                todo=f"give k from 1 to {depth}",
            )

    @property
    def first(self) -> int:
        """The block before which tokens are dropped."""
        return self.k

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
        scores = self.scores(state).masked_fill(~visual, -1)
        rank = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        state = state.keep(~visual | (rank < rank.new_tensor(kept)[:, None]))
        return state.compacted() if self.positions == "compacted" else state
