"""The built-in adapters, registered like anybody's plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.cards import ModelCard
from ..harness.hooks import hookimpl

if TYPE_CHECKING:
    from ..harness.registry import Registrar


@hookimpl
def register(registry: Registrar) -> None:
    """Register the bridges to other people's libraries."""
    registry.architecture("hf", "adaptbench.adapters.transformers_meta:pretrained")
    registry.model(
        "hf",
        "adaptbench.adapters.transformers_vision:HFVisionEncoder",
        card=ModelCard(
            summary="Any transformers vision encoder, by local path or hub id: hf:facebook/dinov2-small",
            capabilities=("embed",),
            offers=frozenset({"layers"}),
            source="https://huggingface.co/docs/transformers",
        ),
    )
