"""The method ``layers``: an encoder cut after its first blocks, so that the rest is really not run."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from ...harness.budgets import exact
from ...harness.errors import UserError
from ...harness.methods import Budget, Method

if TYPE_CHECKING:
    import torch

    from ...harness.measure.work import Work

_WHERE = "method layers"


class Layers(Method):
    """Keep the first blocks of a transformer; an encoder's last norm and its pooling stay.

    A budget is the share of the blocks to keep, rounded down, at least one.
    """

    keep: int | None = Field(None, ge=1)
    """How many blocks are kept, instead of a budget."""
    budget: Budget = 1.0

    @model_validator(mode="after")
    def _once(self) -> Layers:
        if self.keep is not None and self.budget != 1:
            raise UserError("it says twice how many layers to keep", todo="write layers(keep=3) or layers@0.5")
        return self

    def apply(self, model: Any) -> Any:
        """Return the encoder cut after its first blocks; it shares its weights with the given one."""
        return model.with_network(_cut(model.network, self.kept(len(find_blocks(model.network)[1]))))

    def leaves(self, work: Work) -> Work:
        """Return the work of the first blocks: the language model's, or of an encoder of images the tower's."""
        if work.execution is not None:
            return work.with_first_layers(self.kept(len(work.execution.layers)))
        if work.tower is None:
            raise UserError(f"a {work.model.model_type} has no layers to cut", where=_WHERE, todo="leave it out")
        return work.with_tower(work.tower.keep_layers(self.kept(len(work.tower.layers))))

    def switched_on(self) -> Layers:
        """Return the method that keeps all blocks."""
        return Layers()

    def kept(self, count: int) -> int:
        """Return how many of ``count`` blocks are kept."""
        keep = max(1, math.floor(exact(self.budget) * count)) if self.keep is None else self.keep
        if keep > count:
            raise UserError(f"cannot keep {keep} of {count} layers", where=_WHERE, todo=f"keep 1 to {count}")
        return keep


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
