"""Configs as they are published -> configs as transformers writes them, with numbers that a model can have."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..specs import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SIZES: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"n_layers?|num_(\w+_)?layers|(en|de)coder_layers|depth"), 10_000),
    (re.compile(r"n_head|num_(\w+_)?heads|n(um)?_(\w+_)?experts"), 100_000),
    (re.compile(r"image_size|patch_size"), 100_000),
    (re.compile(r"d_model|n_embd|n_inner|ffn_dim|(hidden|intermediate|vocab)_size|head_dim"), 100_000_000),
)
"""Names of whole numbers of a config, and the most that is believed of them."""
_RATIO = 1000
"""The most that an MLP is believed to be wider than its block."""

_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
"""Which kernel a checkpoint was trained with: no part of an architecture, and perhaps not installed here."""

_CLIP = {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
         "num_hidden_layers": 24, "patch_size": 14}  # fmt: skip
_SIGLIP = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
           "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14}  # fmt: skip
_TOWERS: dict[str, dict[str, Any]] = {
    "clip-vit-large-patch14": {**_CLIP, "image_size": 224},
    "clip-vit-large-patch14-336": {**_CLIP, "image_size": 336},
    "siglip-so400m-patch14-224": {**_SIGLIP, "image_size": 224},
    "siglip-so400m-patch14-384": {**_SIGLIP, "image_size": 384},
}
"""Towers that the original LLaVA's configs name, by the last part of their hub id."""
_LLAVA_TOWER = "openai/clip-vit-large-patch14-336"
_ORIGINAL = ("llava", "llava_llama", "llava_mistral", "llava_phi", "llava_qwen")
_LANGUAGES = {"LlavaLlama": "llama", "LlavaMistral": "mistral", "LlavaPhi": "phi", "LlavaQwen": "qwen2"}
"""Beginnings of the original LLaVA's class names -> the language model inside."""
_WITH_TOWERS = ("clip", "llava", "siglip")
"""Model types with a ``vision_config``, whether it is written out or not."""
_IN_PAIRS = ("hiera", "molmo2_vision")
"""Model types whose sizes are two numbers, square or not."""
_FEATURES = {"patch": "default", "cls_patch": "full"}


def standard_config(
    config: Mapping[str, Any], where: str = "", tower: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a config as transformers writes it. What is standard already stays equal.

    An original LLaVA gets its ``text_config`` and ``vision_config``, square sizes become one number, and the attention
    kernel is left out.

    Args:
        config: As ``config.json`` holds it.
        where: Where it comes from, for messages.
        tower: Config of the tower of an original LLaVA, if it is known better than by its name.

    Raises:
        UserError: A number is not one that a model can have, or an original LLaVA has parts that transformers' lacks.
    """
    check_sizes(config, where)
    plain = _without_kernels(config)
    return _standard_llava(plain, where, tower) if is_original_llava(plain) else plain


def is_original_llava(config: Mapping[str, Any]) -> bool:
    """Whether a config is of LLaVA's own code, which keeps the language model's sizes on top and no ``text_config``."""
    flat = "hidden_size" in config or any(name.startswith("mm_") for name in config)
    return config.get("model_type") in _ORIGINAL and "text_config" not in config and flat


def tower_of_llava(config: Mapping[str, Any]) -> str:
    """Return the hub id or folder of the tower that an original LLaVA's config names; by default that of LLaVA-1.5."""
    return str(config.get("mm_vision_tower") or _LLAVA_TOWER)


def image_size(config: Mapping[str, Any]) -> int | None:
    """Return the pixels a side of the square images that a config is for; ``None`` if it states none."""
    side = _image_part(config).get("image_size")
    return side if _whole(side) else None


def with_image_size(config: Mapping[str, Any], side: int) -> dict[str, Any]:
    """Return the config of the same model on images of ``side`` x ``side`` pixels.

    Raises:
        UserError: The size is not one that an image can have, or the config leaves out the part that reads images.
    """
    if side < 1:
        raise UserError(f"an image cannot have {side} pixels a side", todo="give 1 or more")
    if not _image_part(config):
        raise UserError("it has no vision_config", todo="write it out, or leave --image-size out")
    changed = {**_image_part(config), "image_size": side}
    check_sizes(changed)
    return {**config, "vision_config": changed} if _has_towers(config) else {**changed}


def processed_size(processor: Mapping[str, Any]) -> int | None:
    """Return the pixels a side that a processor makes of an image, by its config; ``None`` if it is not square."""
    crops = processor.get("do_center_crop", "crop_size" in processor)
    size = processor.get("crop_size" if crops else "size")
    sides = {size.get("height"), size.get("width")} if isinstance(size, dict) else {size}
    side = sides.pop() if len(sides) == 1 else None
    return side if _whole(side) else None


def _image_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the part that reads images."""
    part = config.get("vision_config") if _has_towers(config) else config
    return part if isinstance(part, dict) else {}


def _has_towers(config: Mapping[str, Any]) -> bool:
    return "vision_config" in config or config.get("model_type") in _WITH_TOWERS


def check_sizes(config: Mapping[str, Any], where: str = "") -> None:
    """Refuse sizes of a config, or of its parts, that no model has: it would be priced, but in hours.

    Raises:
        UserError: A size is not a whole number, negative, or more than is believed.
    """
    for kind, name, value in _numbers(config, str(config.get("model_type", "config"))):
        most = next((most for pattern, most in _SIZES if pattern.fullmatch(name)), None)
        if most is not None and not (_whole(value) and 0 <= value <= most):
            what, todo = f"{name} is {value!r} in the config of a {kind}", f"give a whole number from 0 to {most:,}"
            raise UserError(what, where=where, todo=todo)
        if name == "mlp_ratio" and not (_real(value) and 0 < value <= _RATIO):
            what, todo = f"{name} is {value!r} in the config of a {kind}", f"give a number above 0, at most {_RATIO:,}"
            raise UserError(what, where=where, todo=todo)


def _numbers(config: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str, Any]]:
    """All fields of a config and its parts, element by element: model type, name, value."""
    for name, value in config.items():
        if isinstance(value, dict):
            if name.endswith("_config"):
                yield from _numbers(value, str(value.get("model_type", f"{kind}'s {name}")))
        elif value is not None:
            yield from ((kind, name, one) for one in (value if isinstance(value, list | tuple) else [value]))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _without_kernels(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without attention kernels, in which square sizes are one number."""
    plain: dict[str, Any] = {}
    for name, value in config.items():
        if name in _ATTENTION:
            continue
        plain[name] = value
        if isinstance(value, dict) and name.endswith("_config"):
            plain[name] = _without_kernels(value)
        sides = name in ("image_size", "patch_size") and config.get("model_type") not in _IN_PAIRS
        if sides and isinstance(value, list | tuple) and len({*value}) == 1:
            plain[name] = value[0]
    return plain


def _standard_llava(config: Mapping[str, Any], where: str, vision: Mapping[str, Any] | None) -> dict[str, Any]:
    """The config of an original LLaVA as transformers writes it; what it leaves out is as in LLaVA-1.5."""
    projector = config.get("mm_projector_type", "mlp2x_gelu")
    if projector != "mlp2x_gelu":
        todo = "only mlp2x_gelu is in transformers' LLaVA"
        raise UserError(f"its mm_projector_type is {projector!r}", where=where, todo=todo)
    if config.get("image_aspect_ratio") == "anyres" or "unpad" in str(config.get("mm_patch_merge_type")):
        todo = "give the config that transformers wrote of it, of the model type llava_next"
        raise UserError("this original LLaVA cuts an image into tiles", where=where, todo=todo)
    named = tower_of_llava(config)
    tower = named.rstrip("/").rpartition("/")[2]
    if vision is None and tower not in _TOWERS:
        todo = f"it knows {', '.join(_TOWERS)}; or give the config that transformers wrote of it"
        raise UserError(f"unknown mm_vision_tower {named!r}{did_you_mean(tower, _TOWERS)}", where=where, todo=todo)
    classes = config.get("architectures") or ["LlavaLlama"]
    name = str(classes[0] if isinstance(classes, list) else classes)
    kind = next((kind for start, kind in _LANGUAGES.items() if name.startswith(start)), None)
    if kind is None:
        todo = "give the config that transformers wrote of it"
        raise UserError(f"the language model of a {name} is unknown", where=where, todo=todo)
    features = str(config.get("mm_vision_select_feature", "patch"))
    if features not in _FEATURES:
        todo = f"choose from {', '.join(_FEATURES)}"
        raise UserError(f"its mm_vision_select_feature is {features!r}", where=where, todo=todo)
    own = ("model_type", "architectures", "image_aspect_ratio", "transformers_version")
    text = {key: value for key, value in config.items() if key not in own and not key.startswith(("mm_", "tune_mm_"))}
    return {
        "model_type": "llava",
        "text_config": {"model_type": kind, **text},
        "vision_config": dict(vision or _TOWERS[tower]),
        "vision_feature_layer": config.get("mm_vision_select_layer", -2),
        "vision_feature_select_strategy": _FEATURES[features],
        "image_token_index": text.get("vocab_size", 32000),
        "tie_word_embeddings": bool(text.get("tie_word_embeddings")),
    }
