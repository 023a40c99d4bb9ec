"""Which visual tokens of an image are left where the decoder begins and after each stage that drops some."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ..harness.errors import UserError
from ..harness.figures import KeptTokens, Stage
from .tower_signals import TowerSignals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from ..harness.contracts import Prompt
    from .decoder_state import State
    from .family import Size
    from .tower_signals import Signals

OTHER = -1
"""Stands for a token that is not one of the image's: merged of several, or added."""


@runtime_checkable
class TellsOrigins(Protocol):
    """A selector that tells which of an image's tokens it keeps. Optional."""

    def origins(self, tower: Signals) -> Sequence[torch.Tensor]:
        """Return for each image which of its tokens each one that is left is, int64 [n]; -1 for what is none."""
        ...


class _Noting:
    """A selector that does what another one does and notes which tokens of the image are left."""

    def __init__(self, selector: TellsOrigins) -> None:
        self._selector: Any = selector
        self.asks = getattr(selector, "asks", False)
        self.origins: list[int] = []

    def __call__(self, llava: Any, pixels: torch.Tensor, *questions: Sequence[str]) -> Any:
        """Select among the patches of a LLaVA."""
        self._note(TowerSignals(llava, pixels, *questions))
        return self._selector(llava, pixels, *questions)

    def left(self, signals: Signals) -> Any:
        """Select among the tokens of another model."""
        self._note(signals)
        return self._selector.left(signals)

    def _note(self, signals: Signals) -> None:
        self.origins = self._selector.origins(signals)[0].tolist()


class _Watch:
    """A method of the decoder that changes nothing and notes the state before each block."""

    first = 0

    def __init__(self) -> None:
        self.states: list[State] = []

    def after_prompt(self, batch: int) -> None:
        """Add no tokens."""

    def before(self, index: int, state: State) -> State:  # noqa: ARG002 - it is called block by block
        """Note the state."""
        self.states.append(state)
        return state


def kept_tokens(model: Any, prompt: Prompt) -> KeptTokens:
    """Run one prefill and return which of the image's tokens are left, stage by stage.

    Args:
        model: An `HFMultimodal`; its methods act as ever.
        prompt: With one image.

    Raises:
        UserError: There is not one image, its tokens are not in a grid, or the selector does not tell what it keeps.
    """
    if len(prompt.images) != 1:
        raise UserError(f"the prompt has {len(prompt.images)} images", todo="ask about one")
    size: Size = model.family.size(prompt.images[0])
    if not size.rows:
        raise UserError(
            f"the image is read as {size.tiles} tiles, whose tokens are in no grid",
            todo="ask about a small one, or name a model that reads it whole",
        )
    selector, before, after = model._selector, _Watch(), _Watch()
    if not (selector is None or isinstance(selector, TellsOrigins)):
        what = f"{type(selector).__name__} does not tell which patches it keeps"
        raise UserError(what, todo="choose a method that keeps some")
    noting = selector and _Noting(selector)
    watched = copy.copy(model)
    watched._selector, watched.methods = noting, (before, *model.methods, after)
    watched.generate([dataclasses.replace(prompt, max_new_tokens=1, digests=())])  # without digests nothing is shared
    origins = noting.origins if noting else list(range(size.tokens))
    stages = [Stage(block, *_placed(left, size)) for block, left in _stages(origins, before.states, after.states[:-1])]
    return KeptTokens(model.family.shown(prompt.images[0]), tuple(stages))


def _stages(origins: list[int], before: Sequence[State], after: Sequence[State]) -> Iterator[tuple[int, list[int]]]:
    """Yield 0 and the tokens that enter, then each block before which some are dropped and those that are left."""
    yield 0, origins
    for block, (given, left) in enumerate(zip(before, after, strict=False)):
        places = carried(_visual(given), _visual(left))
        now = [OTHER if place is None else origins[place] for place in places]
        if now != origins:
            yield block, now
        origins = now


def _visual(state: State) -> torch.Tensor:
    return state.hidden[0][state.tokens.visual[0]]


def carried(given: torch.Tensor, left: torch.Tensor) -> list[int | None]:
    """Find each token that is left among those that were given: those that stay are passed on unchanged, in order.

    Args:
        given: [n, d].
        left: [m, d].

    Returns:
        Their places; ``None`` for a token that is new.
    """
    places: list[int | None] = []
    start = 0
    for token in left:
        same = (given[start:] == token).all(dim=1).nonzero()
        places.append(start + int(same[0]) if len(same) else None)
        start = places[-1] + 1 if places[-1] is not None else start
    return places


def _placed(origins: Sequence[int], size: Size) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], int]:
    """The grid of what is kept, bool [rows, columns], and the number of other tokens."""
    own = [place for place in origins if place != OTHER]
    grid = np.zeros(size.rows * size.columns, dtype=np.bool_)
    grid[own] = True
    return grid.reshape(size.rows, size.columns), len(origins) - len(own)
