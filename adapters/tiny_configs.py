"""Small configs of every kind: a default config with fewer layers, heads, experts and words, and narrower.

All widths are divided by one factor, so that what fits together still does. Of heads there are fewer, as wide as
before; where their number cannot be divided, there are as many, narrower ones. Of layers the first ones are kept, as
many as it takes to have every kind.
"""

from __future__ import annotations

import copy
import math
import re
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FACTORS = (8, 4, 2, 1)
"""What widths may be divided by, the smallest model first."""
_WORDS = 512
_LAYERS, _MOST_LAYERS = 4, 12
_EXPERTS, _CHOSEN = 8, 2
IMAGE_WORDS = ("image_token_id", "image_token_index", "video_token_index")
"""What a config calls the word that stands for an image."""
_FOR_IMAGES = 9
"""A word for images, where a config has none."""
_WINDOW = 16
_POSITIONS = 96
_SIDE, _SMALL_SIDE = 448, 112
"""Pixels of an image's side: at most, and where the config has none."""
_CHANNELS = {"num_channels", "in_channels", "in_chans"}

_DEPTH = re.compile(r"(num_hidden|num|n|(num_)?(encoder|decoder)|num_lstm)_layers?|(resampler_|decoder_)?depths?|layers"
                    r"|num_self_attends_per_block|num_blocks|conf_num_hidden_layers|num_global_layers")  # fmt: skip
_PLACES = re.compile(r"\w*(indexes|indices|layer_ids|target_layers)|cross_attention_layers|vision_feature_layer"
                     r"|mlp_only_layers")  # fmt: skip
"""Lists of the numbers of some layers."""
_PLACE = re.compile(r"first_k_dense_replace|num_dense_layers|num_kv_shared_layers|moe_layer_\w+_index"
                    r"|max_window_layers|insert_layer_id")  # fmt: skip
"""The number of a layer, or of the first or the last ones."""
_PERIOD = re.compile(r"\w+_layer_period|\w+_every_n_layers|n_layers_per_attn_res_block")
_OFFSET = re.compile(r"\w+_layer_offset")
_EXPERT = re.compile(r"(num|n|moe_num)_(routed_|local_)?experts|zero_expert_num")
_TOP = re.compile(r"num_experts_per_tok(en)?|moe_top_?k|top_k_experts|moe_k|n_group|num_expert_group")
_HEADS = re.compile(r"(\w+_)?(heads|n_head)|num_query_groups")
_SHARED = re.compile(r"\w*(key_value|kv)(_n)?_heads|num_query_groups|num_key_value_heads|kv_n_heads")
_HEAD = re.compile(r"\w*head_(dim|size)|d_head|d_kv|kv_channels|rotary_dim|\w*headdim|\w*d_head|query_pre_attn_scalar")
_WIDTH = re.compile(r"\w*(size|sizes|dim|dims|rank|width|channels|d_ff|dff|d_inner|n_inner|n_embd|d_model|d_ssm|embd)"
                    r"|d_latents|hidden_size_global")  # fmt: skip
_NO_WIDTH = re.compile(r"\w*(vocab|image|img|crop|patch|kernel|window|chunk|state|block|buffer|group|position|pool|"
                       r"conv_|batch|cache|num_channels|in_channels|audio_channels|tile|multiple|cluster|unit|"
                       r"out_channels_|vocabulary|grid|train|step|parallel|kpool|dilation|max_|pos_emb"
                       r")\w*")  # fmt: skip
_WINDOWS = re.compile(r"(attention_)?sliding_window(_size)?|attention_window_size|(attention_|mamba_)?chunk_size")
_VOCABULARY = re.compile(r"(\w+_)?vocab_size(_per_layer_input)?")
_TOKEN = re.compile(r"\w*_(id|ids|index)")
_BOUNDS = {
    _PERIOD: 2, _OFFSET: 1, _EXPERT: _EXPERTS, _TOP: _CHOSEN, re.compile("topk_group"): 1, _WINDOWS: _WINDOW,
}  # fmt: skip
"""Numbers that are not divided, and the most that they are."""
_DERIVED = ("transformers_version", "stage_names", "out_features", "architectures", "id2label", "label2id")


def tiny_configs(config: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Small configs of the same kind as one, from the smallest on.

    Args:
        config: With all of its fields, and those of the configs in it.
        own: Fields that these rules do not find, as they are to be in the end.
    """
    for factor in FACTORS:
        yield _with(_Shrinking(factor).shrunk(config), own)


def _with(config: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(config)
    for name, value in own.items():
        inner = found.get(name)
        found[name] = _with(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return found


class _Shrinking:
    """What is shared by a config and those in it: the factor, and which special words have which numbers."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._words: dict[int, int] = {}

    def shrunk(self, config: Mapping[str, Any]) -> dict[str, Any]:
        found = copy.deepcopy({name: value for name, value in config.items() if name not in _DERIVED})
        depth = next((v for name, v in found.items() if _DEPTH.fullmatch(name) and _whole(v)), 0)
        kept = _kept(found, depth)
        heads = [v for name, v in found.items() if _HEADS.fullmatch(name) and not _SHARED.fullmatch(name)]
        fewer = all(n % self._factor == 0 for n in _numbers(heads) if n > 1)
        for name, value in found.items():
            if isinstance(value, dict):
                found[name] = self._inner(value, kept, fewer=fewer)
            elif not isinstance(value, bool | str):
                found[name] = self._field(name, value, depth, kept, fewer=fewer)
        _images(found)
        _missing(found)
        longest = found.get("max_position_embeddings")
        if "rope_parameters" in found and _whole(longest):
            found["max_position_embeddings"] = min(longest, _POSITIONS)
        return found

    def _inner(self, value: dict[Any, Any], kept: int, *, fewer: bool) -> dict[Any, Any]:
        if "model_type" in value:
            return self.shrunk(value)
        if value and all(str(key).isdigit() and isinstance(one, dict) for key, one in value.items()):  # of each layer
            return {key: self.shrunk(one) for key, one in value.items() if int(key) < kept}
        if not fewer and "mrope_section" in value:
            sections = [max(1, n // self._factor) for n in value["mrope_section"]]
            return {**value, "mrope_section": sections}
        return value

    def _field(self, name: str, value: Any, depth: int, kept: int, *, fewer: bool) -> Any:
        if isinstance(value, list) and depth and len(value) == depth:
            value = value[:kept]
            return [self._field(name, one, 0, 0, fewer=fewer) for one in value] if _WIDTH.fullmatch(name) else value
        if _PLACES.fullmatch(name) and isinstance(value, list):
            return list(dict.fromkeys(n if n < 0 else n * kept // depth for n in value)) if depth else value
        if name == "vision_feature_layer" or value is None:
            return value
        if _PLACE.fullmatch(name):
            return min(value, max(1, value * kept // depth)) if depth else value
        if isinstance(value, list):
            return [self._field(name, one, 0, 0, fewer=fewer) for one in value]
        return self._number(name, value, kept, fewer=fewer) if _whole(value) else value

    def _number(self, name: str, value: int, kept: int, *, fewer: bool) -> int:
        if _VOCABULARY.fullmatch(name):
            return min(value, _WORDS)
        if _TOKEN.fullmatch(name):
            return value if value < _WORDS else self._words.setdefault(value, _WORDS - 1 - len(self._words))
        bounds = {**_BOUNDS, _DEPTH: kept or 2}
        most = next((most for pattern, most in bounds.items() if pattern.fullmatch(name)), None)
        if most is not None:
            return min(value, most)
        if _SHARED.fullmatch(name) or _HEADS.fullmatch(name):
            divided = fewer
        elif _HEAD.fullmatch(name):
            divided = not fewer
        else:
            width = _WIDTH.fullmatch(name) is not None and not _NO_WIDTH.fullmatch(name)
            divided = width and value > self._factor
        return math.ceil(value / self._factor) if divided else value


def _kept(config: Mapping[str, Any], depth: int) -> int:
    """How many of the first layers have every kind."""
    lists = [value for value in config.values() if isinstance(value, list) and len(value) == depth]
    for count in range(min(depth, _LAYERS), min(depth, _MOST_LAYERS) + 1):
        if all({*map(str, one[:count])} == {*map(str, one)} for one in lists if len({*map(str, one)}) < depth):
            return count
    return min(depth, _LAYERS)


def _images(config: dict[str, Any]) -> None:
    """Make images of many patches smaller ones of fewer."""
    side, patch = config.get("image_size"), config.get("patch_size")
    if _whole(side) and side > _SIDE:
        rows = side // patch if _whole(patch) and side % patch == 0 else side
        fewer = next(n for n in range(_SIDE * rows // side, 0, -1) if rows % n == 0)
        config["image_size"] = side // rows * fewer
    elif _CHANNELS & config.keys() and not {"image_size", "input_size"} & config.keys():
        config["image_size"] = _SMALL_SIDE


def _missing(config: dict[str, Any]) -> None:
    """Say what some default configs leave out, though their models need it."""
    config.update({name: _FOR_IMAGES for name in IMAGE_WORDS if config.get(name, 0) is None})
    heads = config.get("num_attention_heads")
    if _whole(heads) and config.get("num_key_value_heads", 0) is None:
        config["num_key_value_heads"] = heads
    if _whole(heads) and config.get("head_dim", 0) is None:
        config["head_dim"] = config["hidden_size"] // heads
    text, vision = config.get("text_config"), config.get("vision_config")
    if isinstance(text, dict) and isinstance(vision, dict) and "out_hidden_size" in vision:
        vision["out_hidden_size"] = text["hidden_size"]


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(values: Any) -> Iterator[int]:
    for value in values:
        if isinstance(value, list):
            yield from _numbers(value)
        elif _whole(value):
            yield value
