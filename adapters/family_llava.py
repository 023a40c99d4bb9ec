"""LLaVA-1.5: square images of one size, each a fixed number of patches, at positions in a line."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..harness.measure.architecture import read_architecture
from ..harness.measure.work import Work
from ..harness.methods import Selector
from .family import Seen, Size
from .images import squared
from .multimodal_costs import tower_flops, vision_flops
from .placement import device_of
from .tower_signals import TowerSignals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from PIL.Image import Image

    from ..harness.execution import Execution
    from ..harness.transformer import Architecture
    from .multimodal_checkpoint import Checkpoint
    from .tower_memory import Kept


class Llava:
    """A LLaVA: images are padded to a square with the processor's mean colour, as LLaVA does."""

    around: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    def __init__(self, loaded: Checkpoint, path: str) -> None:
        self._model, self._processor = loaded.model, loaded.processor.image_processor
        self._path = path
        self.tower = self._model.model.vision_tower

    @functools.cached_property
    def architecture(self) -> Architecture:
        """The shape of its parts, from its config."""
        return read_architecture(self._model.config.to_dict())

    def size(self, image: Image) -> Size:  # noqa: ARG002 - all are made equal
        """What follows from the size of an image: all are made equal."""
        return self._size

    @functools.cached_property
    def _size(self) -> Size:
        tokens = self.architecture.visual_tokens
        side = round(tokens**0.5)
        return Size(tokens, tokens, side, side)

    def shown(self, image: Image) -> Image:
        """The square that is made of an image."""
        return squared(image.convert("RGB"), self._processor.image_mean)

    def inputs(self, images: Sequence[Image]) -> Mapping[str, torch.Tensor]:
        """Return ``pixel_values`` [images, 3, h, w]."""
        pixels = self._processor(images=list(map(self.shown, images)), return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixels.to(device_of(self._model), self._model.dtype)}

    def see(self, inputs: Mapping[str, torch.Tensor], selector: Any, questions: Sequence[str] = ()) -> list[Seen]:
        """What the language model is given of images."""
        model, pixels = self._model, inputs["pixel_values"]
        if selector is None:
            return list(map(Seen, model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output))
        selected = selector(model, pixels, questions) if questions else selector(model, pixels)
        return [Seen(model.model.multi_modal_projector(features[None])[0]) for features in selected]

    def look(self, image: Image, selector: Any, questions: Sequence[str], kept: Kept | None) -> Seen:
        """What the language model is given of an image."""
        if kept is None or not (selector is None or hasattr(selector, "left")):  # one that runs the tower itself
            return self.see(self.inputs([image]), selector, questions)[0]
        signals = TowerSignals(self._model, lambda: self.inputs([image])["pixel_values"], questions, kept=kept)
        features = signals.features if selector is None else selector.left(signals)[0]
        return Seen(self._model.model.multi_modal_projector(features)[0])

    def tower_flops(self, image: Image, selector: Any) -> int:  # noqa: ARG002 - all are made equal
        """FLOPs of the tower for an image."""
        merging = self._merging(selector)
        return self._flops if merging is None else tower_flops(self.architecture, merging)

    def tower_work(self, image: Image, selector: Any) -> Execution | None:  # noqa: ARG002 - all are made equal
        """What of the tower runs: all, unless a selector acts inside it."""
        return self._merging(selector) or self._work

    def seeing(self, image: Image) -> Architecture:  # noqa: ARG002 - all are made equal
        """The architecture: all images are made equal."""
        return self.architecture

    def _merging(self, selector: Any) -> Execution | None:
        return selector.tower(self.architecture) if isinstance(selector, Selector) else None

    @functools.cached_property
    def _flops(self) -> int:
        return vision_flops(self._model.config, self._path)

    @functools.cached_property
    def _work(self) -> Execution | None:
        return Work.whole(self.architecture, text_tokens=1).tower
