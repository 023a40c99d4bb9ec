"""What of a transformer runs for one input: tokens, heads and MLP channels, layer by layer.

A scheduler that skips layers or heads and a selector that drops tokens differ only in the execution that they leave, so
an execution has a cost before there is a model that runs it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from .errors import UserError

if TYPE_CHECKING:
    from .transformer import Stack


@dataclass(frozen=True, slots=True)
class LayerWork:
    """What one layer that runs does.

    Attributes:
        layer: Its index.
        tokens: Tokens that it reads, and keeps keys and values of.
        heads: Query heads that run.
        mlp: Share of the MLP's channels that runs.
        passed: Tokens that its MLP reads, and the next layer, if some are merged before it; ``None`` for all.
    """

    layer: int
    tokens: int
    heads: int
    mlp: Fraction = Fraction(1)
    passed: int | None = None


class PromptSize(NamedTuple):
    """What a decoder reads of one prompt, before a method inside it drops anything.

    Attributes:
        stack: Its blocks.
        text: Tokens that are not visual, those that methods put after the prompt among them.
        visual: Visual tokens.
    """

    stack: Stack
    text: int
    visual: int


@dataclass(frozen=True, slots=True)
class Execution:
    """The layers that run, in order; a layer that is absent is skipped, with its keys and values."""

    layers: tuple[LayerWork, ...]

    @classmethod
    def full(cls, stack: Stack, tokens: int) -> Execution:
        """Everything runs."""
        if tokens < 1:
            raise UserError(f"cannot run on {tokens} tokens", todo="give 1 or more")
        return cls(tuple(LayerWork(layer, tokens, stack.heads) for layer in range(stack.layers)))

    def keep_layers(self, count: int) -> Execution:
        """Only the first ``count`` of the layers run; which ones makes no difference to the cost."""
        if not 1 <= count <= len(self.layers):
            raise UserError(f"cannot run {count} of {len(self.layers)} layers", todo=f"give 1 to {len(self.layers)}")
        return Execution(self.layers[:count])

    def drop_tokens(self, dropped: int, *, before: int) -> Execution:
        """From layer ``before`` on, ``dropped`` tokens fewer are read (FastV: section 5.3.1; K is ``before``)."""
        return Execution(tuple(replace(w, tokens=w.tokens - dropped) if w.layer >= before else w for w in self.layers))

    def with_active_heads(self, stack: Stack, *, units: int, rank: int, prefix: int) -> Execution:
        """Open ``units`` groups of ``rank`` heads and their MLP channels, evenly over the layers from ``prefix`` on.

        Every such layer keeps at least its norms and residual additions if one head is open; a layer with none is
        skipped (dissertation section 5.2, AdaLLaVA-H).
        """
        switchable = [w for w in self.layers if w.layer >= prefix]
        most = stack.heads // rank * len(switchable)
        if not 0 <= units <= most:
            raise UserError(f"cannot turn on {units} of {most} groups of heads", todo=f"give 0 to {most}")
        base, more = divmod(units, len(switchable)) if switchable else (0, 0)
        open_of = {w.layer: rank * (base + (place < more)) for place, w in enumerate(switchable)}
        kept = []
        for work in self.layers:
            heads = open_of.get(work.layer, work.heads)
            if heads:
                kept.append(LayerWork(work.layer, work.tokens, heads, Fraction(heads, stack.heads)))
        return Execution(tuple(kept))
