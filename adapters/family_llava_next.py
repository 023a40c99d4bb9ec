"""LLaVA-NeXT: the whole image as one view and its tiles as others, in a grid whose padding is taken out.

Liu et al. 2024 (LLaVA-NeXT, 30 January 2024), as in transformers: the tokens of the whole image come first, then the
rows of the grid, a learned newline after each. A selector chooses in each view apart, and newlines are left out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from ..harness.errors import UserError
from ..harness.execution import Execution
from ..harness.measure.architecture import read_architecture
from .any_resolution import NEWLINE, Layout, numbered, packed, views_of
from .family import Processed, Seen, Size, choose, each
from .tower_signals import TowerSignals, Views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL.Image import Image

    from ..harness.transformer import Architecture
    from .multimodal_checkpoint import Checkpoint
    from .tower_memory import Kept
    from .tower_signals import Heads, Query


class LlavaNext(Processed):
    """A LLaVA-NeXT in transformers' format."""

    def __init__(self, loaded: Checkpoint) -> None:
        super().__init__(loaded)
        self.tower = self._model.model.vision_tower
        as_llava = {"model_type": "llava", "architectures": None}
        of_view = read_architecture(self._model.config.to_dict() | as_llava)  # which is an image of LLaVA-1.5
        vision: Any = of_view.vision
        given, patches = of_view.visual_tokens, vision.patches
        if given != patches:
            what = f"its tower gives the projector {given} tokens of {patches} patches, which are put into no grid"
            raise UserError(what, where=f"hf:{self._model.name_or_path}", todo="fix vision_feature_select_strategy")
        self.architecture = replace(of_view, model_type="llava_next", vision=replace(vision, views=(given,)))
        """The shape of its parts, and of an image of one view."""

    def see(self, inputs: Mapping[str, torch.Tensor], selector: Any, questions: Sequence[str] = ()) -> list[Seen]:
        """What the language model is given of images."""
        layouts = [Layout(*row) for row in torch.cat([inputs["tiles"], inputs["image_sizes"].cpu()], dim=1).tolist()]
        images = zip(inputs["pixel_values"], layouts, each(questions, len(layouts)), strict=True)
        return [self._see(pixels[: layout.views], layout, own, selector) for pixels, layout, own in images]

    def look(self, image: Image, selector: Any, questions: Sequence[str], kept: Kept | None) -> Seen:
        """What the language model is given of an image."""
        return self._see(
            lambda: self.inputs([image])["pixel_values"][0], self._layout(image), questions, selector, kept
        )

    def tower_work(self, image: Image, selector: Any) -> Execution | None:  # noqa: ARG002 - none acts inside it
        """All of the tower, on the patches and the CLS token of each view."""
        vision: Any = self.architecture.vision
        return Execution.full(vision.stack, self.size(image).tiles * (vision.patches + vision.extra_tokens))

    def seeing(self, image: Image) -> Architecture:
        """The architecture with the visual tokens of an image that selectors choose from, view by view."""
        layout = self._layout(image)
        views = views_of(self._model, layout)
        vision: Any = replace(self.architecture.vision, views=views, tiles=layout.views)  # type: ignore[type-var]
        return replace(self.architecture, vision=vision, visual_tokens=sum(views))

    def _see(
        self,
        pixels: torch.Tensor | Callable[[], torch.Tensor],
        layout: Layout,
        questions: Sequence[str],
        selector: Any,
        kept: Kept | None = None,
    ) -> Seen:
        """What the language model is given of an image, whose views are [views, 3, h, w]; the rest as `look` has it."""
        model, asked = self._model.model, [*questions] * layout.views
        tower = TowerSignals(self._model, pixels, asked, kept=kept)
        if selector is None:
            return Seen(packed(self._model, tower.projected, layout, model.image_newline))
        chosen, _ = choose(selector, self._views(tower, layout))
        return Seen(model.multi_modal_projector(chosen[None])[0])

    def _views(self, tower: TowerSignals, layout: Layout) -> Views:
        """What the tower says of the views of an image, of which those that show only padding are left out."""
        placed, own = numbered(self._model, layout), self.architecture.visual_tokens
        side, grid = round(own**0.5), _without_newlines(placed[own:])
        tiles, numbers = grid // own, torch.zeros_like(grid)
        every = [_View(tower.one(0), placed[:own], (side, side))]
        for tile in sorted(set(tiles.flatten().tolist())):
            mask = tiles == tile
            rows, columns = (int(mask.any(dim=axis).sum()) for axis in (1, 0))
            numbers[mask] = len(every)
            every.append(_View(tower.one(tile), grid[mask] % own, (rows, columns)))
        if not grid.numel():
            return Views(every, torch.zeros(own, dtype=torch.int64))
        below, right = (_middles(side, count) for count in grid.shape)
        return Views(every, numbers[below][:, right].flatten())

    def _layout(self, image: Image) -> Layout:
        return Layout(self.size(image).tiles, image.height, image.width)

    def _beside(self, images: Sequence[Image]) -> Mapping[str, torch.Tensor]:
        return {"tiles": torch.tensor([[self.size(image).tiles] for image in images])}

    def _sized_by(self, size: tuple[int, int]) -> Size:
        from PIL import Image as Pillow

        views = self._processed([Pillow.new("RGB", size)])["pixel_values"].shape[1]
        tokens = len(numbered(self._model, Layout(views, *size[::-1])))
        return Size(tokens, tokens, 0, 0, views, views * self.architecture.visual_tokens)

    def _given(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        return {"pixel_values": inputs["pixel_values"][0]}


class _View:
    """What a tower says of a view of an image, of its tokens without padding.

    Args:
        tower: Of the whole view.
        tokens: Which of its tokens, int64 [N].
        grid: Rows and columns that they are in.
    """

    def __init__(self, tower: TowerSignals, tokens: torch.Tensor, grid: tuple[int, int]) -> None:
        self._tower, self._tokens, self.grid, self.questions = tower, tokens, grid, tower.questions

    @cached_property
    def features(self) -> torch.Tensor:
        """[1, N, width]: what the projector would be given."""
        return self._tower.features[:, self._tokens]

    @cached_property
    def projected(self) -> torch.Tensor:
        """[1, N, d]: what the language model would be given."""
        projected: torch.Tensor = self._tower.projector(self.features)
        return projected

    @property
    def cls(self) -> torch.Tensor:
        """[1, width]: the CLS token of the view."""
        return self._tower.cls

    def keys(self, layer: int) -> torch.Tensor:
        """Keys [1, N, width] in a block, float32."""
        return self._tower.keys(layer)[:, self._tokens]

    def heads(self, layer: int) -> int:
        """Attention heads of a block."""
        return self._tower.heads(layer)

    def received(self, layer: int, query: Query, heads: Heads) -> torch.Tensor:
        """The probability with which each token is attended to within its view, padding included: [1, N]."""
        return self._tower.received(layer, query, heads)[:, self._tokens]


def _without_newlines(rows: torch.Tensor) -> torch.Tensor:
    """Rows of tokens one after the other, each with its newline -> [rows, columns]."""
    count = int((rows == NEWLINE).sum())
    return rows.view(count, -1)[:, :-1] if count else rows.view(0, 0)


def _middles(cells: int, count: int) -> torch.Tensor:
    """Return which of ``count`` places in a line the middle of each of some equal cells is in, int64 [cells]."""
    return (2 * torch.arange(cells) + 1) * count // (2 * cells)
