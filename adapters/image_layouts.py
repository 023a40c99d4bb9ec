"""What one image, and the text beside it, may look like to a model of images and texts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Inputs = Mapping[str, Any]

_SIDE = 448
"""Pixels of an image's side where neither the config nor the user says."""
_PATCH = 16
"""Pixels of a patch's side where the config does not say."""
_VISION = ("vision_config", "vision_encoder_config", "encoder")


def vision_of(config: Any) -> Any:
    """The config of the encoder of images; the whole one where there is no other."""
    found = next((one for name in _VISION if hasattr(one := getattr(config, name, None), "to_dict")), None)
    return config if found is None else vision_of(found)


def layouts(asked: set[str], config: Any, vision: Any) -> Iterator[Inputs]:
    """What one image may look like to a model, as arguments: the first that it can read is right.

    Args:
        asked: Names of the arguments that it takes.
        config: Of the whole.
        vision: Of the encoder of images.
    """
    if "flattened_patches" in asked:  # each with its row and column before its numbers
        most, numbers = getattr(config, "max_patches", 2048), channels_of(vision) * (_patch(vision)) ** 2
        yield {"flattened_patches": pixels((1, most, 2 + numbers)), "attention_mask": torch.ones(1, most)}
        yield {"flattened_patches": pixels((1, most, 2 + numbers))}
        return
    for one in _plain(asked, config, vision):
        yield {**one, **_beside(asked, config, vision)}


def _beside(asked: set[str], config: Any, vision: Any) -> Inputs:
    """What models take beside an image, and what is right for a single one."""
    found: dict[str, Any] = {}
    if "qformer_input_ids" in asked:
        one = torch.ones(1, 1, dtype=torch.long)
        found |= {"qformer_input_ids": one, "qformer_attention_mask": one}
    if "high_res_pixel_values" in asked:
        finer = config.high_res_vision_config
        found["high_res_pixel_values"] = pixels((1, channels_of(finer), *sides(finer)))
    if "image_merge_sizes" in asked:
        found["image_merge_sizes"] = torch.tensor([_merge(vision)])
    if "aspect_ratio_ids" in asked:  # one tile of as many as there may be
        found["aspect_ratio_ids"] = torch.ones(1, 1, dtype=torch.long)
        found["aspect_ratio_mask"] = torch.ones(1, 1, getattr(vision, "max_num_tiles", 1), dtype=torch.long)
    return found


def _merge(vision: Any) -> int:
    named = ("spatial_merge_size", "merge_kernel_size", "merge_size")
    return next((value for name in named if (value := first(vision, name))), 2)


def _patch(vision: Any) -> int:
    return first(vision, "patch_size") or _PATCH


def _plain(asked: set[str], config: Any, vision: Any) -> Iterator[Inputs]:
    """Images as patches, where it is asked how they lie, and then as they are."""
    channels, (height, width) = channels_of(vision), sides(vision)
    patch, merge = _patch(vision), _merge(vision)
    rows, columns = (max(1, size // patch // merge) * merge for size in (height, width))
    patches, numbers = rows * columns, channels * patch**2
    if "image_grid_thw" in asked:
        named = (first(vision, name) for name in ("temporal_patch_size", "patch_temporal"))
        frames = next((value for value in named if value), 1)
        grid = torch.tensor([[1, rows, columns]])
        for shape in (
            (patches, numbers * frames),
            (patches, numbers),
            (1, patches, channels, patch, patch),
            (patches, channels, patch, patch),
        ):
            yield {"pixel_values": pixels(shape), "image_grid_thw": grid}
        tiles = (patches // merge**2, merge * patch, merge * patch, channels)  # what is merged comes as one
        yield {"pixel_values": pixels(tiles), "image_grid_thw": torch.tensor([[1, rows // merge, columns // merge]])}
    if "image_grid_hw" in asked:
        yield {"pixel_values": pixels((patches, numbers)), "image_grid_hw": torch.tensor([[rows, columns]])}
    if "target_sizes" in asked:  # patches side by side
        sizes = torch.tensor([[max(1, size // patch // 4) * 4 for size in (height, width)]])
        yield {"pixel_values": pixels((1, channels, patch, patch * int(sizes.prod()))), "target_sizes": sizes}
    if "spatial_shapes" in asked:
        rows, columns = _even(height, patch), _even(width, patch)
        if own := first(vision, "num_patches"):  # of a whole image
            rows = columns = math.isqrt(own)
        yield {
            "pixel_values": pixels((1, rows * columns, numbers)),
            "spatial_shapes": torch.tensor([[rows, columns]]),
            "pixel_attention_mask": torch.ones(1, rows * columns, dtype=torch.long),
        }
    if "image_position_ids" in asked:
        pool = getattr(vision, "pooling_kernel_size", None) or 1
        if own := first(vision, "model_patch_size"):  # pooled beforehand
            patch, pool, numbers = own, 1, channels * own**2
        rows, columns = (size // patch // pool * pool for size in (height, width))
        places = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), -1)
        yield {
            "pixel_values": pixels((1, rows * columns, numbers)),
            "image_position_ids": places.reshape(1, -1, 2),
        }
    if temporal := first(vision, "temporal_patch_size"):  # the image stands for each of a patch's frames
        yield {"pixel_values": pixels((patches, temporal, patch, patch, channels))}
    yield from _whole(asked, config, vision)
    yield {"pixel_values": pixels((1, patches, numbers))}
    yield {"pixel_values": pixels((1, height // patch * (width // patch), numbers))}


def _whole(asked: set[str], config: Any, vision: Any) -> Iterator[Inputs]:
    """Images that are not cut into patches beforehand, or only into tiles."""
    channels, (height, width) = channels_of(vision), sides(vision)
    image, patch = (channels, height, width), _patch(vision)
    if "image_token_pooling" in asked:  # the whole image, of which no tiles are cut; 2 x 2 patches are a token
        rows, columns = height // patch, width // patch
        tokens = math.ceil(rows / 2) * math.ceil(columns / 2)
        grid = torch.tensor([[math.ceil(rows / 2), math.ceil(columns / 2), 0, 0]])
        pooled = torch.arange(4 * tokens).remainder(rows * columns).reshape(tokens, 4)
        for places in (pooled, pooled[None]):
            patches = pixels((1, rows * columns, channels * patch**2))
            yield {"pixel_values": patches, "image_token_pooling": places, "image_grids": grid}
    sizes = {"image_sizes": torch.tensor([[height, width]])} if "image_sizes" in asked else {}
    if sizes and getattr(config, "image_grid_pinpoints", None):
        yield {"pixel_values": pixels((1, 1 + _tiles(config, height, width), *image)), **sizes}
    if "aspect_ratio_ids" in asked:
        yield {"pixel_values": pixels((1, 1, getattr(vision, "max_num_tiles", 1), *image))}
    for side in map(math.isqrt, map(int, getattr(config, "projector_patch_to_query_dict", None) or ())):
        yield {"pixel_values": pixels((1, channels, side * patch, side * patch))}
    for shape in ((1, *image), (1, 1, *image)):
        yield {"pixel_values": pixels(shape), **sizes}
    if "pixel_attention_mask" in asked:  # padding is looked for in the pixels
        tile = torch.ones(1, 1, *image)
        for mask in (torch.ones(1, 1, height, width), torch.ones(1, 1)):
            yield {"pixel_values": tile, "pixel_attention_mask": mask.bool()}


def _even(size: int, patch: int) -> int:
    return size // patch // 2 * 2


def pixels(shape: Sequence[int]) -> torch.Tensor:
    """An image on ``meta``: what it shows is not known."""
    return torch.empty(tuple(shape), device="meta")


def _tiles(config: Any, height: int, width: int) -> int:
    """Tiles into which an image is cut besides the whole: those of the best of the config's resolutions."""
    from transformers.image_processing_utils import select_best_resolution

    rows, columns = select_best_resolution((height, width), config.image_grid_pinpoints)
    side = sides(config.vision_config)[0]
    return int((rows // side) * (columns // side))


def channels_of(config: Any) -> int:
    """Numbers of a pixel."""
    return first(config, "num_channels") or first(config, "in_channels") or first(config, "in_chans") or 3


def first(config: Any, name: str) -> int | None:
    """A number of the config, or the first one of a list of them."""
    value = getattr(config, name, None)
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, int) else None


def sides(config: Any) -> tuple[int, int]:
    """Height and width of an image in pixels."""
    own = getattr(config, "image_size", None) or getattr(config, "input_size", None)
    if isinstance(own, int):
        return own, own
    if isinstance(own, list | tuple) and len(own) >= 2:
        return int(own[-2]), int(own[-1])
    inner = (getattr(config, name, None) for name in getattr(config, "sub_configs", {}))
    return next((sides(one) for one in inner if getattr(one, "image_size", None)), (_SIDE, _SIDE))
