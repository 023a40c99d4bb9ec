"""The whole prefill of a model of images and text as one torch module, which is what is counted and timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def prefill_module(owner: Any) -> Any:
    """Wrap an `HFMultimodal` so that its forward pass is the whole prefill."""
    import torch

    from .decoder_state import padded

    class Prefill(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = owner._loaded.model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **pixels: torch.Tensor
        ) -> torch.Tensor:
            images = iter(owner.see(pixels) if pixels else [])
            rows = []
            for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
                own = ids[len(mask) - sum(mask) :]
                count = own.count(self.model.config.image_token_id)
                rows.append(owner._embedded(own, [next(images) for _ in range(count)]))
            embeddings, real, visual, positions = padded(rows)
            logits: torch.Tensor = owner.decoder.prefill(embeddings, real, visual, owner.methods, positions)[0]
            return logits

    return Prefill().eval()
