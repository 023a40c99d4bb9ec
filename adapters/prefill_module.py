"""The whole prefill of a model of images and text as one torch module, which is what is counted and timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from .decoder import Cache, Method
    from .family import Seen


def prefill_module(owner: Any) -> Any:
    """Wrap an `HFMultimodal` so that its forward pass is the whole prefill."""
    import torch

    class Prefill(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = owner._loaded.model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **pixels: torch.Tensor
        ) -> torch.Tensor:
            images = owner.see(pixels) if pixels else []
            return read(owner, input_ids, attention_mask, images, owner.methods)[0]

    return Prefill().eval()


def read(
    owner: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, images: Sequence[Seen], methods: Sequence[Method]
) -> tuple[torch.Tensor, Cache]:
    """Run an `HFMultimodal`'s decoder on whole prompts.

    Args:
        owner: The model.
        input_ids: As `HFMultimodal.prepare` returns it.
        attention_mask: Likewise.
        images: What the decoder is given of all prompts' images.
        methods: What steers it.

    Returns:
        As `Decoder.finish`.
    """
    from .prompt_rows import padded

    left, rows = iter(images), []
    for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
        own = ids[len(mask) - sum(mask) :]
        count = own.count(owner.network.config.image_token_id)
        rows.append(owner._embedded(own, [next(left) for _ in range(count)]))
    embeddings, real, visual, positions, deep = padded(rows)
    found: tuple[torch.Tensor, Cache] = owner.decoder.prefill(embeddings, real, visual, methods, positions, deep)
    return found
