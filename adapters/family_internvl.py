"""InternVL: images cut into tiles, the whole image last; four patches a token by pixel shuffle, positions in a line.

Chen et al. 2024 (arXiv 2404.16821), section 3.2, as in transformers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from ..harness.errors import UserError
from ..harness.execution import Execution
from ..harness.measure.architecture import read_architecture
from ..harness.transformer import Architecture
from .family import Processed, Seen, Size, choose, each
from .tower_memory import Pass
from .tower_shapes import tower_shape
from .tower_signals import attended, noted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from PIL.Image import Image

    from .multimodal_checkpoint import Checkpoint
    from .tower_memory import Kept
    from .tower_signals import Heads, Query


class InternVL(Processed):
    """An InternVL in transformers' format; it is shown images, no videos."""

    def __init__(self, loaded: Checkpoint) -> None:
        super().__init__(loaded)
        config = self._model.config
        if config.vision_feature_select_strategy != "default" or not isinstance(config.vision_feature_layer, int):
            raise UserError("it projects its tower's CLS token, or several layers", todo="run it as hf-vlm")
        self.tower = self._model.model.vision_tower
        vision, projector = tower_shape(config)  # type: ignore[misc] # it is one of them
        language = read_architecture(config.text_config.to_dict()).language
        self._vision = vision
        self.architecture = Architecture("internvl", vision, projector, language, config.image_seq_length)

    def see(self, inputs: Mapping[str, torch.Tensor], selector: Any, questions: Sequence[str] = ()) -> list[Seen]:
        """What the language model is given of images; a selector chooses among the tokens of all tiles of one."""
        images = torch.split(inputs["pixel_values"], inputs["tiles"].tolist())
        asked = each(questions, len(images))
        return [Seen(self._see(tiles, own, selector)) for tiles, own in zip(images, asked, strict=True)]

    def look(self, image: Image, selector: Any, questions: Sequence[str], kept: Kept | None) -> Seen:
        """What the language model is given of an image."""
        signals = InternVLSignals(self._model, lambda: self.inputs([image])["pixel_values"], questions, kept=kept)
        return Seen(self._chosen(signals, selector))

    def tower_work(self, image: Image, selector: Any) -> Execution | None:  # noqa: ARG002 - none acts inside it
        """All of the tower, on the patches and the CLS token of each tile."""
        tokens = self._vision.patches + self._vision.extra_tokens
        return Execution.full(self._vision.stack, self.size(image).tiles * tokens)

    def seeing(self, image: Image) -> Architecture:
        """The architecture with the visual tokens and tiles of an image."""
        size = self.size(image)
        return replace(self.architecture, vision=replace(self._vision, tiles=size.tiles), visual_tokens=size.tokens)

    def _see(self, tiles: torch.Tensor, questions: Sequence[str], selector: Any) -> torch.Tensor:
        model = self._model
        if selector is None:
            features: torch.Tensor = model.get_image_features(pixel_values=tiles, return_dict=True).pooler_output
            return features.flatten(0, 1)
        return self._chosen(InternVLSignals(model, tiles, questions), selector)

    def _chosen(self, signals: InternVLSignals, selector: Any) -> torch.Tensor:
        if selector is None:
            return signals.projected[0]
        chosen, _ = choose(selector, signals)
        projected: torch.Tensor = self._model.model.multi_modal_projector(chosen[None])[0]
        return projected

    def _beside(self, images: Sequence[Image]) -> Mapping[str, torch.Tensor]:
        return {"tiles": torch.tensor([self.size(image).tiles for image in images])}

    def _sized_by(self, size: tuple[int, int]) -> Size:
        tiles = len(self._blank_tiles(size))
        tokens = tiles * self._model.config.image_seq_length
        side = round(self._model.config.image_seq_length**0.5) if tiles == 1 else 0
        return Size(tokens, tokens, side, side, tiles)

    def _blank_tiles(self, size: tuple[int, int]) -> torch.Tensor:
        from PIL import Image as Pillow

        found: torch.Tensor = self._processed([Pillow.new("RGB", size)])["pixel_values"]
        return found

    def _given(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        return {"pixel_values": inputs["pixel_values"]}


class InternVLSignals:
    """A pass of the tower over the tiles of one image, whose tokens stand one tile after the other.

    Args:
        model: transformers' InternVL.
        tiles: [tiles, 3, h, w], or what makes them.
        questions: The one on it, if it is asked for.
        kept: Parts of the pass that are known already.
    """

    def __init__(
        self,
        model: Any,
        tiles: torch.Tensor | Callable[[], torch.Tensor],
        questions: Sequence[str] = (),
        *,
        kept: Kept | None = None,
    ) -> None:
        self.questions = questions
        self._model, self._blocks = model, (blocks := model.model.vision_tower.encoder.layer)

        def run() -> dict[Hashable, torch.Tensor]:
            shown = tiles() if callable(tiles) else tiles
            with noted([block.attention for block in blocks]) as given:
                made = model.model.vision_tower(
                    pixel_values=shown.to(model.dtype), output_hidden_states=True, return_dict=True
                )
            layer = model.config.vision_feature_layer
            states = made.last_hidden_state if layer == -1 else made.hidden_states[layer]
            return {"states": states, **{at: one.hidden for at, one in enumerate(given)}}

        self._pass = Pass(run, kept, usual=("states",))
        self._known_keys: dict[int, torch.Tensor] = {}
        side = round(model.config.image_seq_length**0.5)
        self.grid = side, side

    @cached_property
    def features(self) -> torch.Tensor:
        """[1, N, 4 width]: what the projector would be given of all tokens."""
        patches = self._pass["states"][:, 1:]
        side = round(patches.shape[1] ** 0.5)
        square = patches.reshape(len(patches), side, side, -1)
        shuffled = self._model.model.pixel_shuffle(square, scale_factor=self._model.config.downsample_ratio)
        features: torch.Tensor = shuffled.reshape(1, -1, shuffled.shape[-1])
        return features

    @cached_property
    def projected(self) -> torch.Tensor:
        """[1, N, d]: what the language model would be given of all tokens."""
        projected: torch.Tensor = self._model.model.multi_modal_projector(self.features)
        return projected

    @property
    def cls(self) -> torch.Tensor:
        """The CLS token cannot be projected: it has no neighbours to be shuffled with.

        Raises:
            UserError: Always.
        """
        raise UserError("its projector takes no CLS token", todo="say cls_token=false")

    def keys(self, layer: int) -> torch.Tensor:
        """Keys [1, N, width] in a block, a mean over the patches of a token; float32."""
        return self._of_tokens(self._keys(layer)[:, 1:])

    def heads(self, layer: int) -> int:
        """Attention heads of a block."""
        return int(self._blocks[layer].attention.num_heads)

    def received(self, layer: int, query: Query, heads: Heads) -> torch.Tensor:
        """The probability with which each token is attended to within its tile, a mean over its patches: [1, N]."""
        queries = self._part(layer, "q", slice(1) if query == "cls" else slice(None))
        probability = attended(queries, self._keys(layer), self.heads(layer), heads)
        return self._of_tokens(probability[:, 1:, None])[..., 0]

    def _keys(self, layer: int) -> torch.Tensor:
        if layer not in self._known_keys:
            self._known_keys[layer] = self._part(layer, "k", slice(None))
        return self._known_keys[layer]

    def _part(self, layer: int, name: str, tokens: slice) -> torch.Tensor:
        """Queries or keys [tiles, CLS and patches, width] of a block, float32, of some tokens."""
        attention = self._blocks[layer].attention
        projected = getattr(attention, f"{name}_proj")(self._pass[layer % len(self._blocks)][:, tokens])
        normed: torch.Tensor = getattr(attention, f"{name}_norm")(projected)
        return normed.float()

    def _of_tokens(self, values: torch.Tensor) -> torch.Tensor:
        """Values [tiles, patches, k] -> their means over the patches of a token, [1, N, k]."""
        tiles, patches, width = values.shape
        times = round(1 / self._model.config.downsample_ratio)
        side = round(patches**0.5) // times
        means = values.view(tiles, side, times, side, times, width).mean(dim=(2, 4))
        return means.reshape(1, -1, width)
