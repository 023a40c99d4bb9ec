"""A transformers model without a closed form, as the operators that it runs: of an image, a prompt, a further token."""

from __future__ import annotations

import functools
import math
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ..harness.errors import UserError
from ..harness.measure.flops import passing
from ..harness.measure.known_numbers import KnownNumbers, known_inputs
from ..harness.measure.repeats import NotAlike, Repeats, once_each_kind
from ..harness.measure.traced import Layered, trace
from ..harness.measure.traced_work import Kept
from ..harness.transformer import Architecture, Language, Stack, Vision
from . import installed
from .any_resolution import Layout, views_of
from .tower_shapes import tower_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.measure.quantisation import Quantisation
    from .meta_parts import Part

_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts")
_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "decoder_attention_heads")
_BOUNDED = ("sliding_attention", "chunked_attention")
_CLS = ("cls_token", "class_embedding", "class_token")
_WIDTH = ("hidden_size", "n_embd", "d_model")
_INSIDE = ("intermediate_size", "moe_intermediate_size", "ffn_dim", "n_inner", "d_ff", "decoder_ffn_dim")


class TracedModel:
    """The operators of a model on ``meta``.

    Args:
        model: As transformers builds it.
        parts: What `meta_parts.parts_of` makes of it.
        tied: Whether its head is its embedding table.
        quantisation: How its weights are stored, if not in the precision of everything else.
    """

    def __init__(
        self, model: Any, parts: Sequence[Part], *, tied: bool, quantisation: Quantisation | None = None
    ) -> None:
        self._model, self._tied, self._quantisation = model, tied, quantisation
        self._images = next((part for part in parts if part.fixed), None)
        self._text = next((part for part in parts if not part.fixed), None)

    @functools.cached_property
    def image(self) -> Layered:
        """The operators of one image, up to what the language model reads."""
        part = self._images
        if part is None:
            return Layered({}, {})
        return trace(part.module, part.inputs(1), part.phases)

    @functools.cache  # noqa: B019 - a model lives as long as a command
    def prompt(self, tokens: int) -> Layered:
        """The operators of a prompt, with logits at each of its tokens."""
        part = self._text
        return Layered({}, {}) if part is None else trace(part.module, part.inputs(tokens), part.phases)

    def logits(self, tokens: int) -> int:
        """At how many positions a pass over a prompt makes logits.

        An encoder-decoder does at its first token alone, and a classifier at none of them: once.
        """
        one = {"decoder_input_ids", "logits_to_keep"}
        if self._text is None or one & self._text.inputs(tokens).keys():
            return 1
        if getattr(self._text.module, "can_generate", lambda: True)():
            return tokens
        flops = {sum(operator.flops for operator in self.prompt(n).whole("head")) for n in (tokens, tokens + 1)}
        return tokens if len(flops) > 1 else 1  # of a classifier

    @functools.cache  # noqa: B019
    def step(self, context: int) -> Layered:
        """The operators of a token that follows ``context`` tokens; none if the model does not go on from a cache."""
        name, cache, _ = self._prompted(context)
        if self._text is None or not name:
            return Layered({}, {})
        token = {"input_ids": torch.ones(1, 1, dtype=torch.long), "use_cache": True, name: cache}
        try:
            return trace(self._text.module, token, self._text.phases)
        except UserError:  # it wants more than the one token
            return Layered({}, {})

    def kept(self, tokens: int) -> Kept:
        """What a prompt of ``tokens`` tokens leaves: keys and values, latents, or states."""
        return self._prompted(tokens)[2]

    @functools.cache  # noqa: B019
    def _prompted(self, tokens: int) -> tuple[str, Any, Kept]:
        """The name of the model's cache, that of a prompt, in which one layer of each kind is, and what all have."""
        none = "", None, Kept(())
        if self._text is None or not getattr(self._text.module, "can_generate", lambda: False)():
            return none
        numbers = KnownNumbers()
        inputs = known_inputs(self._text.inputs(tokens), numbers)
        # What layers keep of an image that is read with the text is not in the cache of one layer of each kind.
        if {"decoder_input_ids", "pixel_values"} & inputs.keys():
            return none
        try:
            with passing(self._text.module), numbers, once_each_kind(self._text.module) as repeats:
                name, cache = installed.cached(self._text.module(**inputs, use_cache=True))
        except (NotAlike, UserError):
            return none
        return (name, cache, self._kept(cache, tokens, repeats)) if hasattr(cache, "layers") else none

    def _kept(self, cache: Any, tokens: int, repeats: Repeats) -> Kept:
        config = installed.first_layer(self._model.config.get_text_config(decoder=True))
        rank, rope = getattr(config, "kv_lora_rank", None), getattr(config, "qk_rope_head_dim", None)
        sizes = {place: _numbers(layer, tokens) for place, layer in enumerate(cache.layers)}
        stood = {path: ran for ran, paths in repeats.of.items() if ran in repeats.outer for path in (ran, *paths)}
        places = {path: int(path.rpartition(".")[2]) for path in stood if path.rpartition(".")[2].isdigit()}
        every = [sizes.get(places[stood[path]], (0, 0)) for path in sorted(places, key=places.__getitem__)]
        latent = rank + rope if isinstance(rank, int) and isinstance(rope, int) else None
        return Kept(tuple(cached for cached, _ in every), tuple(state for _, state in every), latent)

    @property
    def parameters(self) -> int:
        """Numbers of all weights, those of all experts among them."""
        every = sum(parameter.numel() for parameter in self._model.parameters())
        return int(every) - (self._head_size if self._tied else 0)

    @property
    def active(self) -> int:
        """Numbers of the weights that one token meets: of experts those that it is sent to."""
        idle = sum(
            (len(p) - self._top_k) * (p.numel() // len(p))
            for module in self._model.modules()
            if _holds_experts(module) and self._top_k
            for p in module.parameters(recurse=False)
        )
        return self.parameters - int(idle)

    @property
    def table(self) -> int:
        """Numbers of the embedding table, if it is not the head."""
        return 0 if self._tied else int(self._model.get_input_embeddings().weight.numel())

    @property
    def _head_size(self) -> int:
        head = self._model.get_output_embeddings()
        return 0 if head is None else int(head.weight.numel())

    @functools.cached_property
    def _top_k(self) -> int:
        config = installed.first_layer(self._model.config.get_text_config(decoder=True))
        names = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
        return next((value for name in names if isinstance(value := getattr(config, name, None), int)), 0)

    def outline(self) -> Architecture:
        """The model's shape, as far as methods need it: how many layers and heads there are."""
        config = self._model.config
        text = config.get_text_config(decoder=True)
        language = tower = vision = None
        if self._text is not None and "text" in self._text.phases.values():
            tower = Language(_stack(text, len(self.prompt(8).layers.get("text", ()))), (), causal=False)
        elif self._text is not None:
            layers = len(self.prompt(8).layers.get("prefill", ()))
            stack = replace(_stack(text, layers), windows=_windows(text, layers), chunked=_chunked(text))
            language = Language(stack, (), causal=bool(self._model.can_generate()))
        if self._images is not None:
            seeing = getattr(config, "vision_config", None) or config
            # Blocks that differ, as those of windows do in Qwen2.5-VL, are traced as one piece.
            layers = len(self.image.layers.get("vision", ())) or getattr(seeing, "num_hidden_layers", 0)
            before = int(any(name.rpartition(".")[2] in _CLS for name, _ in self._model.named_parameters()))
            vision = Vision(_stack(seeing, layers), max(1, self.visual_tokens), before, 0, merged=0)
        seen, how = self.visual_tokens if language else 0, self._quantisation
        known, projector = tower_shape(config) or (vision, ())
        if vision is not None and known is not None:
            vision = self._shown(known) or replace(known, patches=seen * known.merged or vision.patches)
        return Architecture(config.model_type, vision, projector, language, seen, tower, how)

    def _shown(self, tower: Vision) -> Vision | None:
        """A tower with the views of the image that it is shown, if it is read in some."""
        if self._images is None or self._model.config.model_type != "llava_next":
            return None
        given = self._images.inputs(1)
        layout = Layout(given["pixel_values"].shape[1], *given["image_sizes"][0].tolist())
        return replace(tower, views=views_of(self._model, layout), tiles=layout.views)

    @functools.cached_property
    def visual_tokens(self) -> int:
        """Tokens that the language model reads of an image."""
        if self._images is None or self._text is None:
            return 0
        from .meta_parts import run

        found = run(self._images.module, self._images.inputs(1))
        features = getattr(found, "pooler_output", found)
        tensors = features if isinstance(features, list | tuple) else [features]
        return sum(math.prod(t.shape[:-1]) for t in tensors if isinstance(t, torch.Tensor))


def _holds_experts(module: torch.nn.Module) -> bool:
    """Whether the weights of a module are those of experts, one after the other."""
    count = next((value for name in _EXPERTS if isinstance(value := getattr(module, name, None), int)), 0)
    return any(p.ndim == 3 and len(p) == count for p in module.parameters(recurse=False))


def _windows(config: Any, layers: int) -> tuple[int, ...]:
    """Windows of the layers as the cache of transformers has them; a model that it is not made for has none."""
    from transformers import DynamicCache

    found: list[int] = []
    with suppress(AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        found = [getattr(layer, "sliding_window", None) or 0 for layer in DynamicCache(config=config).layers]
    types = getattr(config, "layer_types", None) or ()
    if not any(found) or not set(types) <= {*_BOUNDED, "full_attention", "linear_attention"}:
        return ()  # others attend to more than a window, such as to what of earlier tokens is compressed
    return tuple([*found, *[0] * layers][:layers])


def _chunked(config: Any) -> bool:
    return _BOUNDED[1] in (getattr(config, "layer_types", None) or ())


def _numbers(layer: Any, tokens: int) -> tuple[int, int]:
    """Numbers of a layer of a cache: keys and values, and states.

    Among the former is the one position of a window that is left to the next token.
    """
    found: dict[int, int] = {}
    pending: list[Any] = [vars(layer)]
    while pending:
        value = pending.pop()
        if isinstance(value, torch.Tensor):
            if value.is_floating_point():
                found[id(value)] = value.numel()
        elif isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value
    window, keys, values = (getattr(layer, name, None) for name in ("sliding_window", "keys", "values"))
    cached = sum(found.pop(id(one), 0) for one in (keys, values))
    if isinstance(window, int) and isinstance(keys, torch.Tensor) and isinstance(values, torch.Tensor):
        held = keys.shape[-2] if keys.numel() else 0  # a layer that never ran holds nothing
        cached += (keys.numel() + values.numel()) // max(1, held) * (min(tokens, window) - held)
    return cached, sum(found.values())


def _stack(config: Any, layers: int) -> Stack:
    """The shape of layers, or, where they differ, of the first one."""
    config = installed.first_layer(config)
    hidden, heads = _of(config, _WIDTH, 1), _of(config, _HEADS, 1)
    shared = getattr(config, "num_key_value_heads", None)
    head_dim = getattr(config, "head_dim", None)
    return Stack(
        layers, hidden, heads, shared if isinstance(shared, int) else heads,
        head_dim if isinstance(head_dim, int) else max(1, hidden // heads),
        _of(config, _INSIDE, 4 * hidden), True, True,
    )  # fmt: skip


def _of(config: Any, names: Sequence[str], default: int) -> int:
    found = (getattr(config, name, None) for name in names)
    return next((value for value in found if isinstance(value, int) and value > 0), default)
