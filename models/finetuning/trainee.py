"""What a `loop.fit` trains: a module whose checkpoints hold what learns, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch


class Trainee(nn.Module):
    """A module of which some parameters learn. Batch norms stay in evaluation mode, with the statistics of the base.

    A subclass has the forward pass, which returns a mapping with the ``loss``.
    """

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but the batch norms."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, _BatchNorm):
                part.eval()
        return self

    def state_dict(self, *_: Any, **__: Any) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """Return what is trained: the rest is the base's, and need not be in every checkpoint."""
        return dict(self.trained())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what `state_dict` returns."""
        known = dict(self.trained())
        own = super().load_state_dict(state_dict, strict=False, assign=assign)
        missing, unexpected = sorted(known.keys() - state_dict.keys()), own.unexpected_keys
        if strict and (missing or unexpected):
            raise UserError("a checkpoint does not fit", where=str((missing + unexpected)[0]), todo="start anew")
        return type(own)(missing, unexpected)

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what learns, by name; a tensor with two names has the first."""
        return ((name, part) for name, part in self.named_parameters() if part.requires_grad)
