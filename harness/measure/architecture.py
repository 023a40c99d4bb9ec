"""The shape of a transformer, read from its Hugging Face config."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..transformer import Architecture, Language, Linear, Stack, Vision
from ..yaml_files import read_yaml
from .configs import standard_config
from .quantisation import read_quantisation

if TYPE_CHECKING:
    from collections.abc import Mapping


class NoClosedForm(UserError):
    """The model type has no closed form here."""


_GATED = frozenset({"gemma", "gemma2", "llama", "mistral", "qwen2", "qwen3"})
"""Decoders whose MLP is gate, up and down with rotary positions."""
_GROUPED = _GATED | {"phi"}
"""Decoders whose queries may share keys and values; elsewhere that field of a config means nothing."""
_PLAIN_ROTARY = frozenset({"gpt_neox", "phi"})
_PLAIN = frozenset({"gpt2", "gpt_neo", "opt"})
_VISION = frozenset({"clip_vision_model", "deit", "dinov2", "siglip_vision_model", "vit"})
_MASKED = frozenset({"bert", "roberta", "xlm-roberta"})
_WINDOWED = frozenset({"gemma2", "mistral", "qwen2", "qwen3"})
_DUAL = frozenset({"clip", "siglip"})
_SPEAKING = ("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForConditionalGeneration")
"""How the names of classes end that have a head of words; of encoders of images there is a closed form without one."""
_SUPPORTED = sorted(_GATED | _PLAIN_ROTARY | _PLAIN | _VISION | _MASKED | _DUAL | {"llava"})


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Read a config as ``config.json`` holds it; what it leaves out is what transformers takes for it.

    Of a CLIP or SigLIP both towers are read.

    Raises:
        UserError: The model type has no closed form here, or a number of the config makes no sense.
    """
    config = _filled(standard_config(config))
    return replace(_architecture(config), quantisation=read_quantisation(config))


def _architecture(config: Mapping[str, Any]) -> Architecture:
    kind = str(config.get("model_type", ""))
    ends = "Model" if kind in _VISION | _DUAL else _SPEAKING
    for name in config.get("architectures") or ():
        if not str(name).endswith(ends):
            raise NoClosedForm(f"a {name} has no closed form, for its head")
    if kind == "llava":
        return _llava(config)
    if kind in _DUAL:
        return _dual(config)
    if kind in _VISION:
        return Architecture(kind, _vision_config(config))
    return Architecture(kind, language=_language(config))


def _filled(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the defaults of its model type, and of its parts' model types."""
    given = _defaults().get(str(config.get("model_type", "")), {})
    full = {**given, **config}
    for part in ("text_config", "vision_config"):
        if part in given:
            # A part that is not there is as the whole wants it; one that is has its own type's defaults.
            own = config.get(part) or given[part]
            if not isinstance(own, dict):
                raise UserError(f"{part} is {own!r}, which holds no fields", todo="give a whole config.json")
            full[part] = _filled({"model_type": given[part]["model_type"], **own})
    return full


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    with resources.as_file(resources.files(__package__) / "config_defaults.yaml") as path:
        return read_yaml(path, kind="table of defaults", fields="MODEL_TYPE: {FIELD: NUMBER}")


def _llava(config: Mapping[str, Any]) -> Architecture:
    vision, language = _vision_config(config["vision_config"]), _language(config["text_config"])
    read = config.get("vision_feature_layer")
    width = vision.stack.hidden * (len(read) if isinstance(read, list) else 1)
    hidden = language.stack.hidden
    projector = (Linear("linear_1", width, hidden), Linear("linear_2", hidden, hidden))
    whole = config.get("vision_feature_select_strategy") == "full"
    return Architecture("llava", vision, projector, language, vision.patches + whole * vision.extra_tokens)


def _dual(config: Mapping[str, Any]) -> Architecture:
    """A tower of images and one of texts; CLIP projects both, SigLIP the texts alone."""
    vision, text = _vision_config(config["vision_config"]), config["text_config"]
    stack = _stack(text, gated=False, rotary=False)
    if config["model_type"] == "siglip":
        head = Linear("head", stack.hidden, _number(text, "projection_size", "hidden_size"))
        return Architecture("siglip", vision, text=Language(stack, (head,), causal=False))
    shared = _number(config, "projection_dim")
    projection = Linear("visual_projection", vision.stack.hidden, shared)
    head = Linear("text_projection", stack.hidden, shared)
    return Architecture("clip", vision, (projection,), text=Language(stack, (head,), causal=True))


def _language(config: Mapping[str, Any]) -> Language:
    kind = str(config.get("model_type", ""))
    if kind not in _GATED | _PLAIN_ROTARY | _PLAIN | _MASKED:
        raise NoClosedForm(
            f"there is no closed form for the model type {kind!r}", todo=f"it knows {', '.join(_SUPPORTED)}"
        )
    stack = _stack(config, gated=kind in _GATED, rotary=kind in _GATED | _PLAIN_ROTARY)
    width = _number(config, "word_embed_proj_dim", default=stack.hidden) if kind == "opt" else stack.hidden
    out = Linear("lm_head", width, _number(config, "vocab_size"))
    if kind in _MASKED:
        return Language(stack, (Linear("lm_head.dense", stack.hidden, stack.hidden), out), causal=False)
    ends = (Linear("project_in", width, stack.hidden), Linear("project_out", stack.hidden, width))
    return Language(stack, (out,), causal=True, around=ends if width != stack.hidden else ())


def _vision_config(config: Mapping[str, Any]) -> Vision:
    kind = str(config.get("model_type", ""))
    if kind not in _VISION:
        raise NoClosedForm(
            f"there is no closed form for the vision model type {kind!r}", todo=f"it knows {', '.join(sorted(_VISION))}"
        )
    (height, width), (high, wide) = _sides(config, "image_size"), _sides(config, "patch_size")
    extra = {"siglip_vision_model": 0, "deit": 2}.get(kind, 1) + int(config.get("num_register_tokens") or 0)
    numbers = _number(config, "num_channels", default=3) * high * wide
    pooling = kind == "siglip_vision_model" and config.get("vision_use_head") is not False
    patches = (height // high) * (width // wide)
    if not patches:
        raise UserError(
            f"an image of {height} x {width} holds no patch of {high} x {wide}", todo="give a larger image_size"
        )
    return Vision(_stack(config, gated=False, rotary=False), patches, extra, numbers, pooling)


def _sides(config: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Height and width, which a config states as one number or as two."""
    value = config.get(name)
    if not isinstance(value, list | tuple):
        return (_number(config, name),) * 2
    if len(value) != 2:
        raise UserError(f"{name} is {value!r}", todo="give one whole number, or height and width")
    height, width = (_number({**config, name: side}, name) for side in value)
    return height, width


def _stack(config: Mapping[str, Any], *, gated: bool, rotary: bool) -> Stack:
    hidden = _number(config, "hidden_size", "n_embd")
    heads = _number(config, "num_attention_heads", "n_head", "num_heads")
    grouped = config.get("model_type") in _GROUPED
    kv_heads = _number(config, "num_key_value_heads", default=heads) if grouped else heads
    if config.get("head_dim") is None and hidden % heads:
        raise UserError(
            f"{hidden} numbers cannot be split into {heads} heads", todo="fix the config, or give its head_dim"
        )
    head_dim = _number(config, "head_dim", default=hidden // heads)
    ratio = config.get("mlp_ratio") or 4
    if isinstance(ratio, list | tuple):
        raise UserError(f"mlp_ratio is {ratio!r} in the config of a {config.get('model_type')}", todo="give one number")
    ffn = _number(config, "ffn_dim", "intermediate_size", "n_inner", default=int(ratio * hidden))
    layers = _number(config, "num_hidden_layers", "n_layer", "num_layers")
    return Stack(layers, hidden, heads, kv_heads, head_dim, ffn, gated, rotary, _windows(config, layers))


def _windows(config: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """Windows of the blocks, as the model type places them: on all, every other one, or where the config says."""
    kind = config.get("model_type")
    off = config.get("sliding_window") is None or config.get("use_sliding_window") is False
    if kind not in _WINDOWED or off:
        return ()
    window, types = _number(config, "sliding_window"), config.get("layer_types")
    if kind == "mistral":
        types = ["sliding_attention"] * layers
    elif types is None:
        first, step = (0, 2) if kind == "gemma2" else (int(config.get("max_window_layers") or 0), 1)
        types = ["full_attention"] * layers
        types[first::step] = ["sliding_attention"] * len(types[first::step])
    if not isinstance(types, list) or len(types) != layers:
        raise UserError(f"layer_types is not a list of {layers} entries", todo="name the type of each layer")
    windows = tuple(window * (one == "sliding_attention") for one in types)
    return windows if any(windows) else ()


def _number(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    """The first of several names that the config gives a value, or the default."""
    name, value = next(((name, config[name]) for name in names if config.get(name) is not None), (names[0], default))
    if not isinstance(value, int) or value < 1:
        raise UserError(
            f"{name} is {value!r} in the config of a {config.get('model_type')}", todo="give a whole number above 0"
        )
    return value
