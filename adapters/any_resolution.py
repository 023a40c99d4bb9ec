"""Where LLaVA-NeXT puts the tokens of an image's views: the whole image first, then the rows of a grid of its tiles.

Padding is taken out of the grid, and a newline stands after each row. All of it is asked of transformers' own model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

NEWLINE = -1
"""Stands for the newline at the end of a row."""


class Layout(NamedTuple):
    """How an image is read: in how many views, those of padding alone included, and its height and width in pixels."""

    views: int
    height: int
    width: int


def packed(model: Any, tokens: torch.Tensor, layout: Layout, newline: torch.Tensor) -> torch.Tensor:
    """Put the tokens of an image's views, [views, N, d], into their places, [n, d], with newlines [d]."""
    strategy, size = model.config.vision_feature_select_strategy, torch.tensor([layout[1:]])
    found: torch.Tensor = model.pack_image_features([tokens], size, strategy, newline)[0][0]
    return found


def numbered(model: Any, layout: Layout) -> torch.Tensor:
    """Return which token each one is that the language model is given, int64 [n].

    They are counted one view after the other; newlines are `NEWLINE`.
    """
    every = torch.arange(layout.views * tokens_of_view(model.config)).view(layout.views, -1, 1)
    return packed(model, every, layout, torch.tensor([NEWLINE]))[:, 0]


def views_of(model: Any, layout: Layout) -> tuple[int, ...]:
    """Return the tokens of each view that is not padding alone, newlines left out."""
    numbers = numbered(model, layout)
    counts = (numbers[numbers != NEWLINE] // tokens_of_view(model.config)).bincount().tolist()
    return tuple(count for count in counts if count)


def tokens_of_view(config: Any) -> int:
    """Return the tokens of a view, padding included."""
    return int(config.vision_config.image_size // config.vision_config.patch_size) ** 2
