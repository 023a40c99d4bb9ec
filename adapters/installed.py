"""Whatever changes between releases of transformers, asked of the installed one by using it.

Nothing else here leans on the library's insides, and nothing reads its version or a signature: what a call returns
says what things are called, and a call that works, and comes to something else, says that an argument is heeded.

- the cache of keys and values: `cache_name`, `cached`, `cache_of`, `PlainLayer`; what else is in it: `keeps_keys`,
  `keeps_states`, `keep_rows`, `states`
- what a causal language model heeds: `heeded`
- outputs of layers inside of a model: `capture_outputs`
- blocks and their attention, one at a time: `run_block`, `run_attention`
- what a generation_config does to logits: `logits_processors`
- what a model of images and texts embeds them as: `features`
- configs in which layers differ: `first_layer`
- what can be loaded, and with what: `builds`, `class_for`, `model_types`, `attention_of`, `image_processor`,
  `processor`, `pil_image_processor`, `processor_for_images`

To import this is to import transformers, so it is imported in the functions that use it.
"""

from __future__ import annotations

import functools
import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers.cache_utils import DynamicLayer as PlainLayer

from ..harness.errors import UserError
from .loading import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from .kv_cache import AttentionContext

__all__ = [
    "PlainLayer", "attend_by", "attention_of", "builds", "cache_name", "cache_of", "cached", "capture_outputs",
    "class_for", "features", "first_layer", "heeded", "image_processor", "keep_rows", "keeps_keys", "keeps_states",
    "logits_processors", "model_types", "pil_image_processor", "processor", "processor_for_images", "run_attention",
    "run_block", "states",
]  # fmt: skip
_PARTS = {"tokenizer": "AutoTokenizer", "feature_extractor": "AutoFeatureExtractor"}
"""Part of a processor -> what loads it."""

_KEYS = frozenset(("DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer"))
_STATES = frozenset(
    (
        "LinearAttentionLayer",
        "LinearAttentionAndFullAttentionLayer",
        "LinearAttentionAndSlidingWindowAttentionLayer",
    )
)


@functools.cache
def cache_name() -> str:
    """What models, their blocks and their attention call the cache that they are given: as a model calls its own.

    Ask before FLOPs are counted: the first call runs a small model.
    """
    sizes = dict.fromkeys(("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"), 2)
    config = transformers.LlamaConfig(**sizes, vocab_size=2, bos_token_id=None, eos_token_id=None)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        output = transformers.LlamaModel(config)(torch.zeros(1, 1, dtype=torch.long), use_cache=True)
    return cached(output)[0]


def cached(output: Mapping[str, Any]) -> tuple[str, Any]:
    """The cache that a forward pass with ``use_cache=True`` returned, and its name; ``None`` if it keeps none."""
    return next(((name, value) for name, value in output.items() if isinstance(value, transformers.Cache)), ("", None))


def cache_of(output: Mapping[str, Any]) -> Any:
    """The cache alone."""
    return cached(output)[1]


def keeps_keys(cache: Any) -> bool:
    """Whether a cache holds keys and values of each token, of all or of those in a window, and nothing else."""
    return _is_of(cache, _KEYS)


def keeps_states(cache: Any) -> bool:
    """Whether a cache holds, beside keys and values, states of convolutions and recurrences, and nothing else."""
    return _is_of(cache, _KEYS | _STATES)


def _is_of(cache: Any, kinds: frozenset[str]) -> bool:
    # Caches and layers of any other class may keep anything, so that what is derived from these does not count.
    layers = getattr(cache, "layers", ())
    return type(cache) is transformers.DynamicCache and {type(layer).__name__ for layer in layers} <= kinds


def keep_rows(cache: Any, rows: torch.Tensor) -> None:
    """Keep some rows of a cache, int64 [n], whatever its layers hold."""
    if any(hasattr(layer, "recurrent_states") for layer in cache.layers):
        cache.reorder_cache(rows)  # the method of beam search, which alone knows of states
    else:
        cache.batch_select_indices(rows)


def states(cache: Any) -> list[torch.Tensor]:
    """All keys, values and states that a cache holds."""
    held = [held for layer in cache.layers for held in vars(layer).values()]
    every = [one for each in held for one in (each.values() if isinstance(each, dict) else [each])]
    return [one for one in every if isinstance(one, torch.Tensor)]


def heeded(model: Any) -> frozenset[str]:
    """Which of ``position_ids`` and ``logits_to_keep`` change what a causal language model says to two tokens."""
    given = {"position_ids": torch.tensor([[0, 3]], device=model.device), "logits_to_keep": 1}
    ids = torch.tensor([[1, 2]], device=model.device)

    def changes(argument: dict[str, Any]) -> bool:
        try:
            logits = model(ids, **argument).logits
        except TypeError:  # there is no such argument
            return False
        return not torch.equal(logits, plain)

    with torch.inference_mode():
        plain = model(ids).logits
        return frozenset(name for name, value in given.items() if changes({name: value}))


def run_block(block: Any, hidden: torch.Tensor, context: AttentionContext) -> torch.Tensor:
    """Run one block of a Llama or its like on [B, n, d]; its keys and values are added to those that it reaches."""
    out: torch.Tensor = block(hidden, use_cache=True, **_attention_arguments(context))
    return out


def run_attention(attention: Any, normed: torch.Tensor, context: AttentionContext) -> torch.Tensor:
    """Run the attention of one block on [B, n, d]; its keys and values are added to those that it reaches."""
    out: torch.Tensor = attention(hidden_states=normed, **_attention_arguments(context))[0]
    return out


def _attention_arguments(context: AttentionContext) -> dict[str, Any]:
    return {"attention_mask": context.mask, "position_embeddings": context.rotary, cache_name(): context.kv_cache}


def logits_processors(model: Any, config: Any, ids: Sequence[int]) -> Any:
    """What ``generate`` would make of a generation_config for one prompt: a ``LogitsProcessorList``.

    Args:
        model: Its own.
        config: With the ``max_length`` of prompt and answer together. It is changed.
        ids: Of the prompt.
    """
    if config.min_new_tokens is not None:
        config.min_length = len(ids) + config.min_new_tokens
    prompt = torch.tensor([ids], device=model.device)
    model._prepare_special_tokens(config, True, device=model.device)
    return model._get_logits_processor(
        config, input_ids_seq_length=len(ids), encoder_input_ids=prompt, device=model.device
    )


def builds(auto: str, config: Any) -> bool:
    """Whether an Auto class, such as ``AutoModelForCausalLM``, is there and has a model for a config."""
    return class_for(auto, config) is not None


def class_for(auto: str, config: Any) -> Any:
    """The class of model that an Auto class has for a config; ``None`` if there is none."""
    kind = getattr(transformers, auto, None)
    return kind._model_mapping[type(config)] if kind is not None and type(config) in kind._model_mapping else None


def model_types(auto: str) -> dict[str, str]:
    """The model types that an Auto class builds -> the class of model that each becomes."""
    named = getattr(transformers, auto)._model_mapping._model_mapping
    return {kind: name if isinstance(name, str) else name[0] for kind, name in named.items()}


def capture_outputs(model: Any) -> None:
    """Let a model's layers note their outputs for who asks, which transformers would arrange at the first question."""
    with suppress(ImportError):
        from transformers.utils.output_capturing import maybe_install_capturing_hooks

        maybe_install_capturing_hooks(model)


def features(output: Any) -> torch.Tensor:
    """What ``get_image_features`` or ``get_text_features`` returned, as vectors [n, d].

    Raises:
        UserError: It is something else.
    """
    found = output if isinstance(output, torch.Tensor) else getattr(output, "pooler_output", None)
    if found is None or found.ndim != 2:
        raise UserError("this architecture does not give one vector per image and per text", todo="name another")
    return found


def first_layer(config: Any) -> Any:
    """The config of the first layer, where layers have configs of their own; otherwise the whole one."""
    return config.per_layer_config[0] if getattr(config, "is_heterogeneous", False) else config


def attention_of(config: Any) -> str:
    """The implementation of attention that a model was built with: ``sdpa``, ``eager`` or another."""
    name: str = config._attn_implementation
    return name


def attend_by(model: Any, implementation: str) -> bool:
    """Have a model use another implementation of attention; return whether it does."""
    try:
        model.set_attn_implementation(implementation)
    except (ImportError, KeyError, ValueError):
        return False
    return attention_of(model.config) == implementation


@contextmanager
def _torchvision(where: str) -> Iterator[None]:
    """Turn the lack of torchvision, which the library tells in many ways, into one line."""
    try:
        yield
    except (ImportError, ValueError) as error:
        if "torchvision" not in str(error).lower():
            raise
        raise UserError(
            "its images can be prepared only with torchvision, which cannot be imported here",
            where=where,
            todo="install the torchvision that belongs to your torch (pip install torchvision)",
        ) from error


def image_processor(folder: Path, where: str) -> Any:
    """The image processor of a checkpoint: the one that needs no torchvision, where there is one.

    Raises:
        UserError: There is none, and no torchvision.
    """
    with _torchvision(where):
        return transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **LOCAL)


def processor(folder: Path, config: Any, where: str) -> Any:
    """The processor of text and images of a checkpoint, without torchvision, which processors of videos need.

    Args:
        folder: Of the checkpoint.
        config: Of its model.
        where: The checkpoint, for messages.

    Raises:
        UserError: Its images need torchvision, and there is none.
    """
    images = image_processor(folder, where)
    with _torchvision(where):
        kind = _processor_class(folder, config)
        names = [] if kind is None else kind.get_attributes()
        if "video_processor" not in names:
            return transformers.AutoProcessor.from_pretrained(folder, backend="pil", **LOCAL)
        stored, _ = kind.get_processor_dict(folder, **LOCAL)
        parts = {"image_processor": images, "video_processor": _NoVideos(stored.get("video_processor") or {})}
        for name in names:
            if name not in parts:
                parts[name] = getattr(transformers, _PARTS[name]).from_pretrained(folder, **LOCAL)
        return _for_images(kind).from_args_and_dict([parts[name] for name in names], stored)


def _processor_class(folder: Path, config: Any) -> Any:
    """The class that a checkpoint names for its processor, or else the one that goes with its model."""
    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (folder / file).is_file():
            name = json.loads((folder / file).read_text(encoding="utf-8")).get("processor_class")
            if name:
                return getattr(transformers, name, None)
    return transformers.PROCESSOR_MAPPING.get(type(config), None)


class _NoVideos(dict[str, Any]):
    """Stands where a processor keeps that of videos, with what is stored of it.

    It can be written as JSON, as a part must, and has what some processors look at to render a conversation.
    """

    model_input_names: tuple[str, ...] = ()
    num_frames = fps = _auto_class = None


def _for_images(kind: Any) -> Any:
    """A class of processors that takes anything for its processor of videos: to check that, torchvision is needed."""

    class ForImages(kind):  # type: ignore[misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument_name == "video_processor":
                return type(argument)
            return super().check_argument_for_proper_class(argument_name, argument)

    ForImages.__name__ = kind.__name__  # which is stored
    return ForImages


def processor_for_images(name: str, *parts: Any, **options: Any) -> Any:
    """A new processor, such as ``InternVLProcessor``, of its image processor and tokenizer, that takes no videos."""
    return _for_images(getattr(transformers, name))(*parts, _NoVideos(), **options)


def pil_image_processor(family: str, **options: Any) -> Any:
    """A new image processor of a family, such as ``CLIP``, that needs no torchvision."""
    return getattr(transformers, f"{family}ImageProcessorPil")(**options)
