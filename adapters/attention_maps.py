"""What the last token of a prompt attends to in its image, read while a LLaVA runs one prefill."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..harness.errors import UserError
from ..harness.figures import AttentionMaps

if TYPE_CHECKING:
    import torch

    from ..harness.contracts import FloatArray, Prompt
    from .decoder_state import State


class Reader:
    """A method that changes nothing and reads the last token's attention after every block that ran whole.

    Attributes:
        rows: Block -> the positions of the visual tokens that it kept, int64 [n], and the token's attention to each, a
            mean over heads, float32 [n].
    """

    first = 0

    def __init__(self) -> None:
        self.rows: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._count = 0

    def after_prompt(self, batch: int) -> torch.Tensor | None:  # noqa: ARG002 - it adds nothing
        """Add no tokens."""
        return None

    def before(self, index: int, state: State) -> State:
        """Read block ``index - 1`` for the first row."""
        tokens = state.tokens
        self._count = self._count or tokens.count
        try:
            row = state.attention()[0].mean(dim=0)
        except UserError:  # no block has run yet, or a scheduler let it run in part
            return state
        if tokens.count < self._count and int(tokens.positions[0, -1]) + 1 == tokens.count:
            return state  # positions were renumbered, so tokens can no longer be matched with patches
        visual = tokens.visual[0]
        self.rows[index - 1] = tokens.positions[0][visual], row[visual]
        return state


def attention_maps(model: Any, prompt: Prompt) -> AttentionMaps:
    """Return what the last token attends to: the latency token, where the model has one.

    Args:
        model: An `HFMultimodal`; its methods act as ever. What runs only in part, as below a budget of 1, is left out.
        prompt: With one image.

    Raises:
        UserError: There is not one image, no block could be read, or the visual tokens are not the image's patches.
    """
    if model.kinds != ("llava",):
        raise UserError("attention is shown of LLaVAs only", todo="name one")
    if len(prompt.images) != 1:
        raise UserError(f"the prompt has {len(prompt.images)} images", todo="ask about one")
    reader = Reader()
    watched = copy.copy(model)
    watched.methods = (reader, *model.methods)  # first, so that it reads a block before others drop tokens of it
    watched.generate([dataclasses.replace(prompt, max_new_tokens=1)])
    if not reader.rows:
        raise UserError("no block of the decoder ran whole", todo="choose a budget of 1")
    origin = next(iter(reader.rows.values()))[0].tolist()
    vision = model.loaded.model.config.vision_config
    side = vision.image_size // vision.patch_size
    if model._selector is not None or len(origin) != side**2:
        raise UserError(
            f"the model reads {len(origin)} visual tokens that a method made of {side**2} patches: they have no place "
            "in the image",
            todo="leave the method that selects visual tokens out",
        )
    split = min((method.first for method in model.methods), default=None)
    token = any(method.after_prompt(1) is not None for method in model.methods)
    return AttentionMaps(
        image=model.family.shown(prompt.images[0]),
        blocks=tuple(reader.rows),
        maps=np.stack([_map(origin, *row) for row in reader.rows.values()]),
        token="the latency token" if token else "the last token of the question",
        split=split,
    )


def _map(origin: list[int], positions: torch.Tensor, row: torch.Tensor) -> FloatArray:
    """The attention of one block [side, side]; NaN where a patch was dropped."""
    side = math.isqrt(len(origin))
    grid = np.full(len(origin), np.nan, dtype=np.float32)
    grid[np.searchsorted(origin, positions.tolist())] = row.float().cpu().numpy()
    return grid.reshape(side, side)
