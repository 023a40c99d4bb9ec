"""The parts of a model on ``meta``, each with the inputs that it is passed: what its FLOPs are counted on.

A model of images and texts has two: its images up to what the language model reads, and a text. An encoder-decoder
reads the prompt and begins its answer. The phases of a part are found by the paths of its modules.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ..harness.errors import UserError
from .countable import projected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Inputs = Mapping[str, Any]

_SIDE = 448
"""Pixels of an image's side where neither the config nor the user says."""
_TOWERS = (
    "vision_tower", "vision_model", "visual", "vision_encoder", "image_tower", "vision_backbone", "vision", "vit",
    "vision_embed_tokens", "embed_vision", "image_encoder", "encoder",
)  # fmt: skip
"""What the encoder of images is called in a model of images and texts."""
_ENCODERS = ("encoder",)


@dataclass(frozen=True, slots=True)
class Part:
    """A module that is passed as one, and what it is given.

    Attributes:
        module: On ``meta``.
        inputs: Number of tokens -> keyword arguments of its forward pass. Tensors on the CPU have known numbers.
        phases: Path of a module in it -> phase; the empty path is for all that is in no other one.
        fixed: Whether its inputs have one size, whatever the number of tokens.
    """

    module: torch.nn.Module
    inputs: Callable[[int], Inputs]
    phases: Mapping[str, str] = field(default_factory=lambda: {"": "prefill"})
    fixed: bool = False


def parts_of(model: Any, config: Any) -> tuple[list[Part], str]:
    """Take a model apart; return its parts, and why its images have none if so.

    Args:
        model: As transformers builds it.
        config: Its config.
    """
    if config.model_type == "llava":
        return _llava(model, config), ""
    if config.model_type in {"clip", "siglip"} and hasattr(model, "text_model"):
        return _dual(model, config), ""
    images = _method(model, "get_image_features")
    if images is None:
        return _without_features(model, config), ""
    try:
        found, missing = [_image_part(images, config)], ""
    except UserError as error:
        found, missing = [], str(error)
    texts = _method(model, "get_text_features")
    part = Part(_Calling(texts), _ids, {"": "text"}) if texts is not None else _text_part(_speaking(model), config)
    return [*found, part], missing


def _llava(model: Any, config: Any) -> list[Part]:
    """Its projector is a part of its own, which reads as many visual tokens as are left."""
    inner, whole = model.model, {"": "prefill"}
    return [
        _image_tower(inner.vision_tower, config.vision_config),
        _states(inner.multi_modal_projector, inner.multi_modal_projector.linear_1.in_features, "projector"),
        Part(inner.language_model, _ids, whole),
        _states(model.lm_head, config.text_config.hidden_size, "head"),
    ]


def _dual(model: Any, config: Any) -> list[Part]:
    parts, texts = [_image_tower(model.vision_model, config.vision_config)], model.text_model
    if hasattr(model, "visual_projection"):
        parts.append(_states(model.visual_projection, model.visual_projection.in_features, "projector"))
    if hasattr(model, "text_projection"):
        texts = projected(texts, model.text_projection)
    return [*parts, Part(texts, _ids, {"": "text"})]


def _image_tower(tower: torch.nn.Module, config: Any) -> Part:
    shape = (1, _channels(config), *_sides(config))
    return Part(tower, lambda _: {"pixel_values": _pixels(shape)}, {"": "vision"}, fixed=True)


def _states(module: torch.nn.Module, width: int, phase: str) -> Part:
    """A module that reads one hidden state for each token."""
    first = next(iter(inspect.signature(module.forward).parameters))
    return Part(module, lambda n: {first: torch.empty(1, n, width, device="meta")}, {"": phase})


def _speaking(model: Any) -> Any:
    """What of a model of images and texts can be passed a text alone."""
    needed = [
        p
        for p in inspect.signature(model.forward).parameters.values()
        if p.default is p.empty and p.kind == p.POSITIONAL_OR_KEYWORD
    ]
    inner = getattr(model, "language_model", None) or getattr(model, "text_model", None)
    return model if inner is None or {p.name for p in needed} <= {"input_ids"} else inner


def _without_features(model: Any, config: Any) -> list[Part]:
    if model.main_input_name == "pixel_values" and not _reads_text(model):
        base = _base(model)
        phases = {base: "vision", "": "head"} if base else {"": "vision"}
        vision = getattr(config, "vision_config", None) or config
        asked = set(inspect.signature(model.forward).parameters)
        inputs = next((one for one in _layouts(asked, config, vision) if _runs(model, one)), None)
        inputs = inputs or {"pixel_values": _pixels((1, _channels(vision), *_sides(vision)))}
        return [Part(model, lambda _: inputs, phases, fixed=True)]
    return [_text_part(_speaking(model), config)]


class _Calling(torch.nn.Module):
    """A method of a model as a module's forward pass."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.model, self.name = method.__self__, method.__name__

    def forward(self, **inputs: Any) -> Any:
        return getattr(self.model, self.name)(**inputs)


def _method(model: Any, name: str) -> Any:
    """A method of a model, or of the model in it that has no head."""
    return next((found for one in (model, getattr(model, "model", None)) if (found := getattr(one, name, None))), None)


def _reads_text(model: Any) -> bool:
    return {"input_ids", "decoder_input_ids"} & set(inspect.signature(model.forward).parameters) != set()


def _base(model: Any) -> str:
    """Path of the model without its head; empty if it has none."""
    base = str(getattr(model, "base_model_prefix", ""))
    return base if base and isinstance(getattr(model, base, None), torch.nn.Module) else ""


def _text_part(model: Any, config: Any) -> Part:
    """A text, up to logits for each of its tokens."""
    base = _base(model)
    if (
        getattr(config, "is_encoder_decoder", False)
        and "decoder_input_ids" in inspect.signature(model.forward).parameters
    ):
        encoder = next(
            (path for name in _ENCODERS for path in (f"{base}.{name}", name) if _has(model, path.strip("."))), ""
        )

        def both(tokens: int) -> Inputs:
            return {**_ids(tokens), "decoder_input_ids": torch.ones(1, 1, dtype=torch.long)}

        decoder = encoder.replace("encoder", "decoder")
        return Part(model, both, {encoder.strip("."): "encoder", decoder.strip("."): "prefill", "": "head"})
    return Part(model, _ids, {base: "prefill", "": "head"} if base else {"": "prefill"})


def _has(model: Any, path: str) -> bool:
    try:
        return bool(path) and isinstance(model.get_submodule(path), torch.nn.Module)
    except AttributeError:
        return False


def _ids(tokens: int) -> Inputs:
    return {"input_ids": torch.ones(1, tokens, dtype=torch.long)}


def _pixels(shape: Sequence[int]) -> torch.Tensor:
    return torch.empty(tuple(shape), device="meta")


def _image_part(method: Any, config: Any) -> Part:
    vision = next(
        (found for name in ("vision_config", "vision_encoder_config") if (found := getattr(config, name, None))), config
    )
    asked = set(inspect.signature(method).parameters)
    refused = ""
    for inputs in _layouts(asked, config, vision):
        module = _Calling(method)
        try:
            run(module, inputs)
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            refused = refused or f"{type(error).__name__}: {error}"
            continue
        tower = next((f"model.{name}" for name in _TOWERS if _has(method.__self__, name)), "")
        if not tower and _has(method.__self__, "model"):
            tower = next((f"model.model.{name}" for name in _TOWERS if _has(method.__self__.model, name)), "")
        phases = {tower: "vision", "": "projector"} if tower else {"": "vision"}
        return Part(module, lambda _, inputs=inputs: inputs, phases, fixed=True)  # type: ignore[misc]
    raise UserError(
        f"it is not known what its images look like ({refused or 'no layout fits'})", where=config.model_type
    )


def _runs(module: torch.nn.Module, inputs: Inputs) -> bool:
    try:
        run(module, inputs)
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False
    return True


def run(module: torch.nn.Module, inputs: Inputs) -> Any:
    """Run a part on ``meta``, one layer of each kind."""
    from ..harness.measure.known_numbers import KnownNumbers
    from ..harness.measure.repeats import once_each_kind

    numbers = KnownNumbers()
    known = {n: numbers.on_meta(v) if isinstance(v, torch.Tensor) and not v.is_meta else v for n, v in inputs.items()}
    with torch.no_grad(), numbers, once_each_kind(module):
        return module(**known)


def _layouts(asked: set[str], config: Any, vision: Any) -> Iterator[Inputs]:
    """What one image may look like to a model: the first that it can read is right."""
    channels, (height, width) = _channels(vision), _sides(vision)
    image = (channels, height, width)
    patch = _first(vision, "patch_size")
    merge = getattr(vision, "spatial_merge_size", None) or _first(vision, "merge_kernel_size") or 2
    if "image_grid_thw" in asked:
        patch = patch or 14
        rows, columns = (max(1, size // patch // merge) * merge for size in (height, width))
        frames = getattr(vision, "temporal_patch_size", None) or 1
        numbers = channels * patch**2
        grid = torch.tensor([[1, rows, columns]])
        for shape in (
            (rows * columns, numbers * frames),
            (rows * columns, numbers),
            (1, rows * columns, channels, patch, patch),
            (rows * columns, channels, patch, patch),
        ):
            yield {"pixel_values": _pixels(shape), "image_grid_thw": grid}
    if "spatial_shapes" in asked and patch:
        rows, columns = height // patch // 2 * 2, width // patch // 2 * 2
        yield {
            "pixel_values": _pixels((1, rows * columns, channels * patch**2)),
            "spatial_shapes": torch.tensor([[rows, columns]]),
            "pixel_attention_mask": torch.ones(1, rows * columns, dtype=torch.long),
        }
    if "image_position_ids" in asked:
        patch = patch or 16
        pool = getattr(vision, "pooling_kernel_size", None) or 1
        rows, columns = (size // patch // pool * pool for size in (height, width))
        places = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), -1).reshape(
            1, -1, 2
        )
        yield {"pixel_values": _pixels((1, rows * columns, channels * patch**2)), "image_position_ids": places}
    sizes = {"image_sizes": torch.tensor([[height, width]])} if "image_sizes" in asked else {}
    if sizes and getattr(config, "image_grid_pinpoints", None):
        yield {"pixel_values": _pixels((1, 1 + _tiles(config, height, width), *image)), **sizes}
    extra = {}
    if "qformer_input_ids" in asked:
        extra = {
            "qformer_input_ids": torch.ones(1, 1, dtype=torch.long),
            "qformer_attention_mask": torch.ones(1, 1, dtype=torch.long),
        }
    for shape in ((1, *image), (1, 1, *image)):
        yield {"pixel_values": _pixels(shape), **sizes, **extra}
    if "pixel_attention_mask" in asked:  # padding is looked for in the pixels
        tile = torch.ones(1, 1, *image)
        yield {"pixel_values": tile, "pixel_attention_mask": torch.ones(1, 1, height, width, dtype=torch.bool)}
        yield {"pixel_values": tile, "pixel_attention_mask": torch.ones(1, 1, dtype=torch.long)}


def _tiles(config: Any, height: int, width: int) -> int:
    """Tiles into which an image is cut besides the whole: those of the best of the config's resolutions."""
    from transformers.image_processing_utils import select_best_resolution

    rows, columns = select_best_resolution((height, width), config.image_grid_pinpoints)
    side = _sides(config.vision_config)[0]
    return int((rows // side) * (columns // side))


def _channels(config: Any) -> int:
    return _first(config, "num_channels") or _first(config, "in_channels") or _first(config, "in_chans") or 3


def _first(config: Any, name: str) -> int | None:
    """A number of the config, or the first one of a list of them."""
    value = getattr(config, name, None)
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, int) else None


def _sides(config: Any) -> tuple[int, int]:
    """Height and width of an image in pixels."""
    own = getattr(config, "image_size", None) or getattr(config, "input_size", None)
    if isinstance(own, int):
        return own, own
    if isinstance(own, list | tuple) and len(own) >= 2:
        return int(own[-2]), int(own[-1])
    return _SIDE, _SIDE
