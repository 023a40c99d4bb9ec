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

_WHERE = "method layers"


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
        raise UserError("say how many layers to keep, once", where=_WHERE, todo="layers(keep=3) or layers@0.5")
    if not isinstance(model, HFVisionEncoder):
        raise UserError("only a transformers encoder has layers to cut", where=_WHERE, todo="leave it out")
    count = len(find_blocks(model.encoder)[1])
    if keep is None:
        keep = max(1, math.floor(Fraction(str(budget)) * count))
    if not 1 <= keep <= count:
        raise UserError(f"cannot keep {keep} of {count} layers", where=_WHERE, todo=f"keep 1 to {count}")
    return model.with_encoder(_cut(model.encoder, keep))


def find_blocks(encoder: torch.nn.Module) -> tuple[str, torch.nn.ModuleList]:
    """Return an encoder's list of transformer blocks, and its path such as ``encoder.layer``.

    Raises:
        UserError: It has none, or several lists of them (Swin).
    """
    import torch

    lists = [(path, part) for path, part in encoder.named_modules() if isinstance(part, torch.nn.ModuleList)]
    found = [(path, part) for path, part in lists if len({*map(type, part)}) == 1 and _attends(part[0])]
    if len(found) != 1:
        what = f"it takes one list of transformer blocks; {type(encoder).__name__} has {len(found) or 'none'}"
        raise UserError(what, where=_WHERE, todo="leave it out")
    return found[0]


def _attends(block: torch.nn.Module) -> bool:
    return any("attention" in name or "attn" in name for name, _ in block.named_children())


def _cut(encoder: torch.nn.Module, keep: int) -> torch.nn.Module:
    """Copy an encoder's structure but not its tensors, and shorten its list of blocks."""
    tensors = [*encoder.parameters(), *encoder.buffers()]
    shorter = copy.deepcopy(encoder, memo={id(tensor): tensor for tensor in tensors})
    path, blocks = find_blocks(shorter)
    owner, _, name = path.rpartition(".")
    setattr(shorter.get_submodule(owner), name, blocks[:keep])
    return shorter
