"""FitPrune: every block drops visual tokens that are hardly attended to (Ye et al., AAAI 2025, arXiv 2409.10197)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ...harness.abilities import ShipsCheckpoints
from ...harness.errors import UserError
from ...harness.reading import read_json
from .dropping import Dropping, row_flops
from .number_lists import whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from ...adapters.decoder import State
    from ...harness.specs import Value
    from ...harness.transformer import Stack

_AUTO = "auto"


class FitPrune(Dropping):
    """Drop visual tokens after every block, as many as a schedule says that was fitted to the model.

    The score of a visual token is the mean attention that visual tokens pay to it, times the attention that the text
    pays to it, in the block that has just run; of the heads, each pair of tokens has the most attentive one. This takes
    the whole map of every block, which is computed head by head beside the fused kernel, and counted.

    The release drops tokens of a block before its MLP, here they are dropped after it: answers are the same. It holds a
    table of numbers for LLaVA-1.5-7B alone, by the share of FLOPs that is saved; here `adaptbench train fitprune` fits
    a schedule to any model, and those of the small models ship. A port of another benchmark keeps the tokens
    that the release drops: ``inverted=true``.
    """

    where: ClassVar[str] = "method fitprune"
    option: ClassVar[str] = "schedule"
    size_options = ("scale",)

    schedule: str = _AUTO
    """The JSON file of a schedule, or one that ships for the model: auto saves half of the FLOPs, and quarter leaves
    blocks a quarter of the visual tokens on average."""
    scale: float = Field(1.0, gt=0)
    """What the schedule's counts are multiplied by, where another number of tokens is wanted than it was fitted to."""
    inverted: bool = False
    """Whether the tokens with the lowest scores are kept, to show what that mistake costs."""

    @property
    def reads(self) -> bool:
        """It reads attention."""
        return True

    def for_base(self, factory: object) -> FitPrune:
        """Return the method with the schedule that ships for the base."""
        every = factory.checkpoints if isinstance(factory, ShipsCheckpoints) else {}
        return self.model_copy(update={"schedule": every.get("fitprune", {}).get(self.schedule, self.schedule)})

    def sized(self, share: float, visual: int, depth: int) -> Mapping[str, Value]:  # noqa: ARG002 - as the schedule
        """Return what makes of the schedule's last tokens that share."""
        of, left = self._plan
        return {"scale": float(f"{share * of / min(filter(None, left)):.4g}")}

    def for_depth(self, depth: int) -> FitPrune:
        """Return the method, if its schedule is for that many blocks."""
        blocks = len(self._plan[1])
        if blocks != depth:
            what = f"its schedule is for {blocks} blocks, and there are {depth}"
            raise UserError(what, where=self.where, todo="fit one to this model: `adaptbench train fitprune`")
        return self

    def left(self, visual: int) -> Mapping[int, int]:
        """Every block but the first -> what the schedule leaves it of as many visual tokens."""
        of, left = self._plan
        return {block: whole(min(1, self.scale * count / of), visual) for block, count in enumerate(left) if block}

    @property
    def first(self) -> int:
        """It reads all of the first block."""
        return 0

    @property
    def _plan(self) -> tuple[int, tuple[int, ...]]:
        if self.schedule == _AUTO:
            todo = "give schedule=FILE, which `adaptbench train fitprune` writes"
            raise UserError("there is no schedule for this model", where=self.where, todo=todo)
        return read_schedule(self.schedule)

    def scores(self, index: int, state: State) -> torch.Tensor:  # noqa: ARG002 - of the block that ran last
        """Scores [B, n], none of them negative."""
        import torch

        every = torch.arange(state.tokens.count, device=state.tokens.real.device).expand(len(state.tokens.real), -1)
        most = functools.reduce(torch.maximum, state.attention.by_head(every))
        paid = scores_of(most, state.tokens.visual, state.tokens.real & ~state.tokens.visual)
        product = paid[0] * paid[1]
        return product.amax(dim=1, keepdim=True) - product if self.inverted else product

    def scoring(self, stack: Stack, tokens: int, visual: int) -> int:  # noqa: ARG002 - the whole map
        """FLOPs of a whole map of attention."""
        return row_flops(stack, tokens, queries=tokens)


def scores_of(most: torch.Tensor, visual: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attention that each token is paid: by visual tokens on average, and by the text in all, each [B, n].

    Args:
        most: Attention of each to each in the most attentive head, [B, n, n].
        visual: bool [B, n].
        text: bool [B, n]; of those that stand before an image, none attends to it.
    """
    images = (most * visual[..., None]).sum(dim=1) / visual.sum(dim=1, keepdim=True).clamp(min=1)
    return images, (most * text[..., None]).sum(dim=1)


@functools.lru_cache(64)
def read_schedule(path: str) -> tuple[int, tuple[int, ...]]:
    """Read a schedule: the visual tokens of its prompts, and how many of them each block is given.

    Raises:
        UserError: The file cannot be read, or its numbers are not those of a schedule.
    """
    held = read_json(path)
    of, left = (held.get("visual_tokens"), held.get("left")) if isinstance(held, dict) else (0, [])
    counts = [n for n in left if isinstance(n, int)] if isinstance(left, list) else []
    if counts != left or len(left) < 2 or not of == left[0] >= left[-1] >= 0 or left != sorted(left, reverse=True):
        what = "it is not a schedule: left must be counts that fall from visual_tokens, one for each block"
        raise UserError(what, where=path, todo="write one by `adaptbench train fitprune`")
    return of, tuple(left)
