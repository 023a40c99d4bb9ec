"""The method ``layers``: an encoder cut after its first blocks, so that the rest is really not run."""

from __future__ import annotations

import copy
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ...adapters.transformers_vision import HFVisionEncoder
from ...harness.errors import UserError

if TYPE_CHECKING:
    import torch


def layers(model: Any, *, keep: int | None = None, budget: float | None = None) -> HFVisionEncoder:
    """Keep the first blocks of a transformers encoder; its last norm and its pooling stay.

    Args:
        model: An encoder that `HFVisionEncoder` loaded; it is not changed, and shares its weights with what is
            returned.
        keep: Blocks to keep, from 1 to all.
        budget: Instead of ``keep``, the share of the blocks to keep, rounded down, at least one.

    Raises:
        UserError: The model has no blocks, ``keep`` is out of range, or not exactly one of ``keep`` and ``budget`` is
            given.
    """
    if (keep is None) == (budget is None):
        raise UserError("say how many layers to keep, once", where="method layers", todo="layers(keep=3) or layers@0.5")
    if not isinstance(model, HFVisionEncoder):
        raise UserError("only a transformers encoder has layers to cut", where="method layers", todo="leave it out")
    owner, name, blocks = find_blocks(model.encoder)
    if keep is None:
        keep = max(1, math.floor(Fraction(str(budget)) * len(blocks)))
    if not 1 <= keep <= len(blocks):
        raise UserError(
            f"cannot keep {keep} of {len(blocks)} layers", where="method layers", todo=f"keep 1 to {len(blocks)}"
        )
    return model.with_encoder(_cut(model.encoder, owner, name, keep))


def find_blocks(encoder: torch.nn.Module) -> tuple[str, str, torch.nn.ModuleList]:
    """Return where an encoder keeps its transformer blocks: (path of the owner, attribute, list)."""
    import torch

    for path, owner in encoder.named_modules():
        for name in ("layer", "layers"):
            blocks = getattr(owner, name, None)
            if (
                isinstance(blocks, torch.nn.ModuleList)
                and len({type(block) for block in blocks}) == 1
                and _transformer(blocks[0])
            ):
                return path, name, blocks
    raise UserError(f"{type(encoder).__name__} has no transformer blocks", where="method layers", todo="leave it out")


def _transformer(block: torch.nn.Module) -> bool:
    return any("attention" in name or "attn" in name for name, _ in block.named_children())


def _cut(encoder: torch.nn.Module, owner: str, name: str, keep: int) -> torch.nn.Module:
    """Copy the modules on the way to the blocks, share everything else, and shorten the list."""
    root = _shallow(encoder)
    place = root
    for part in owner.split(".") if owner else ():
        place._modules[part] = _shallow(getattr(place, part))
        place = getattr(place, part)
    place._modules[name] = getattr(place, name)[:keep]
    return root


def _shallow(module: torch.nn.Module) -> torch.nn.Module:
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other
