"""A prefill and one more token that say in which stage they are, so that a clock can be read in between.

The stages are those of `harness.results.STAGES`. What a method does is told from the pass that it acts in: all that
happens within its calls, after the tower has run, is its own. A method that runs the tower's blocks itself cannot be
told from the tower.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .prefill_module import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from ..harness.abilities import Mark
    from .decoder import Method, State
    from .tower_signals import Signals


def staged(owner: Any, prepared: Mapping[str, torch.Tensor]) -> Callable[[Mark], object]:
    """Return what prefills prompts as an `HFMultimodal`'s module does, and then reads the token that is likeliest.

    Args:
        owner: The model.
        prepared: What its ``prepare`` returns.
    """
    import torch

    pixels = {name: value for name, value in prepared.items() if name not in ("input_ids", "attention_mask")}

    def run(mark: Mark) -> object:
        selector = None if owner.selector is None else _Selector(owner.selector, owner.family.tower, mark)
        with torch.inference_mode():
            images = replace(owner.sight, selector=selector).see(pixels) if pixels else []
            if pixels:
                mark("tower")
            methods = [_Method(one, mark) for one in owner.methods]
            logits, cache = read(owner, prepared["input_ids"], prepared["attention_mask"], images, methods)
            mark("prefill")
            logits = owner.decoder.step(logits.argmax(dim=-1), cache)
            mark("token")
        return logits

    return run


class _Selector:
    """A selector whose work is marked: its own, but for that of the tower."""

    def __init__(self, selector: Any, tower: Any, mark: Mark) -> None:
        self._selector, self._tower, self._mark = selector, tower, mark
        self.asks = getattr(selector, "asks", False)

    def __call__(self, llava: Any, pixels: torch.Tensor, *questions: Sequence[str]) -> Any:
        saw: list[None] = []  # once for each pass of the tower
        hook = self._tower.register_forward_hook(lambda *_: saw.append(self._mark("tower")))
        try:
            features = self._selector(llava, pixels, *questions)
        finally:
            hook.remove()
        self._mark("method" if saw else "tower")
        return features

    def left(self, signals: Signals) -> Any:
        """Choose among tokens that the tower has made already."""
        self._mark("tower")
        chosen = self._selector.left(signals)
        self._mark("method")
        return chosen


class _Method:
    """A method in the decoder whose work is marked: what runs in its calls."""

    def __init__(self, method: Method, mark: Mark) -> None:
        self._method, self._mark, self.first = method, mark, method.first

    def after_prompt(self, batch: int) -> torch.Tensor | None:
        """Return what it puts after prompts."""
        self._mark("prefill")
        embeddings = self._method.after_prompt(batch)
        self._mark("method")
        return embeddings

    def before(self, index: int, state: State) -> State:
        """Return what it makes of a block's input."""
        self._mark("prefill")
        state = self._method.before(index, state)
        self._mark("method")
        return state
