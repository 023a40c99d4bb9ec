"""Every model type that transformers knows, small enough to run for real: ``tiny:qwen3_vl``."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import TYPE_CHECKING, Any

import torch

from ..harness.errors import UserError
from ..harness.real_passes import TOKENS, RealPass
from . import installed
from .loading import loading
from .meta_parts import method
from .tiny_configs import IMAGE_WORDS, tiny_configs
from .tiny_fields import DEFAULTS, FIELDS
from .transformers_meta import Blueprint, build, class_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

_PARAMETERS = 150_000_000
"""The most that are made for real: 600 MB of them."""
_TEXT = 21
"""Tokens of a text that an image is read with."""


def tiny(model_type: str, auto: str = "") -> TinyStock:
    """The smallest config of a model type that can be built.

    Raises:
        UserError: There is none, with what transformers says of the first one.
    """
    import transformers

    with loading(model_type):
        full = transformers.AutoConfig.for_model(model_type, **DEFAULTS.get(model_type, {})).to_dict()
    refused = ""
    for fields in tiny_configs(full, FIELDS.get(model_type, {})):
        found = TinyStock(model_type, auto, fields)
        try:
            if sum(parameter.numel() for parameter in found.model.parameters()) > _PARAMETERS:
                continue
            found.real  # noqa: B018 - whether it can be built
        except UserError as error:
            refused = refused or str(error)
            continue
        try:
            for one in found.passes(TOKENS):
                one.run()
        except UserError:  # it is not refused by its library
            return found
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            refused = refused or f"{type(error).__name__}: {error}"
            continue
        return found
    raise UserError(refused or "it stays large", where=model_type, todo="report this model")


class TinyStock(Blueprint):
    """A small config of a model type, which is built with weights as well.

    Args:
        model_type: As a ``config.json`` names it.
        auto: The Auto class that chooses which of its models it is; empty for the first that builds one.
        fields: Of its config.
    """

    def __init__(self, model_type: str, auto: str, fields: Mapping[str, Any]) -> None:
        super().__init__({**fields, "model_type": model_type}, f"tiny:{model_type}")
        if auto:
            self.config = {**self.config, "architectures": [installed.model_types(auto)[model_type]]}
        self.apart = ""
        """Why an image and a text are not passed together; empty if they are."""

    @functools.cached_property
    def real(self) -> Any:
        """The model with random weights."""
        torch.manual_seed(0)
        config = copy.deepcopy(self._config)
        with loading(self.source):
            return build(class_of(config), config)

    @functools.cached_property
    def _counterparts(self) -> dict[int, torch.nn.Module]:
        """Module on ``meta`` -> the same one with weights."""
        return {id(one): other for one, other in zip(self.model.modules(), self.real.modules(), strict=True)}

    @functools.cache  # noqa: B019 - a model lives as long as it takes to look at it
    def passes(self, tokens: int) -> list[RealPass]:
        """Passes with real weights and inputs: one of the whole model if that is known, or else one of each part."""
        parts = self.parts()
        found = [self._pass(part, tokens) for part in parts]
        pair = "text" in found[-1].phases  # of which each is passed on its own
        whole = self._together(found) if len(found) > 1 and not pair else None
        return [whole] if whole is not None else found

    def _pass(self, part: Any, tokens: int) -> RealPass:
        module = copy.deepcopy(part.module, dict(self._counterparts))
        inputs = {name: self._made(name, value) for name, value in part.inputs(tokens).items()}
        return RealPass(module, inputs, dict.fromkeys(part.phases.values(), 1 if part.fixed else tokens))

    def _made(self, name: str, value: Any) -> Any:
        """An input with numbers: noise for an image, and words of which none is a special one."""
        if not isinstance(value, torch.Tensor):
            return value
        if value.is_meta:
            return torch.rand(value.shape)
        return self._words(value.shape[1]).expand_as(value) if name == "input_ids" else value.clone()

    def _words(self, count: int) -> torch.Tensor:
        special = set(_special(self._config.to_dict()))
        most = min(getattr(self.model.config.get_text_config(), "vocab_size", 512), 512)
        words = [word for word in range(3, most) if word not in special] or [0]
        return torch.tensor([words[7 * place % len(words)] for place in range(count)])

    def _together(self, found: list[RealPass]) -> RealPass | None:
        """One pass over an image and a text; ``None`` if it is not known how they are given to the model together."""
        image, config = found[0], self.real.config
        asked = inspect.signature(self.real.forward).parameters
        word = next((value for name in IMAGE_WORDS if isinstance(value := getattr(config, name, None), int)), None)
        look = method(self.real, "get_image_features")
        if word is None or look is None:
            self.apart = "it is not known how they are given to it together"
            return None
        with torch.no_grad():
            seen = _features(look(**image.inputs))
        sizes = (sum(one.shape[:-1].numel() for one in seen), sum(one.numel() for one in seen) // _width(self.real))
        tried = (self._with_words(found, word, rows, asked) for rows in dict.fromkeys(sizes))
        return next((one for one in tried if one is not None), None)

    def _with_words(self, found: list[RealPass], word: int, rows: int, asked: Container[str]) -> RealPass | None:
        """A pass over an image and a text with as many words for it as it has rows of features."""
        image, text = found[0], found[-1]
        words = self._words(_TEXT)
        ids = torch.cat([words[:2], torch.full((rows,), word), words[2:]])[None]
        kinds = (ids == word).long()
        beside = {name: kinds for name in ("mm_token_type_ids", "token_type_ids") if name in asked}
        inputs = {**image.inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids), **beside}
        if "decoder_input_ids" in text.inputs:
            inputs["decoder_input_ids"] = text.inputs["decoder_input_ids"]
        read = {phase: rows if phase == "projector" else ids.shape[1] for one in found[1:] for phase in one.phases}
        return self._tried(inputs, {**image.phases, **read})

    def _tried(self, inputs: Mapping[str, Any], phases: Mapping[str, int]) -> RealPass | None:
        try:
            with torch.no_grad():
                self.real(**inputs)
        except Exception as error:  # noqa: BLE001 - then each part is passed on its own
            self.apart = self.apart or f"{type(error).__name__}: {error}"
            return None
        self.apart = ""
        return RealPass(self.real, inputs, phases)


def _width(model: Any) -> int:
    """Numbers of an embedded token."""
    return int(model.get_input_embeddings().weight.shape[-1])


def _features(output: Any) -> list[torch.Tensor]:
    """The features of an image for the language model, of what a model returns."""
    pooled = getattr(output, "pooler_output", None)
    output = output if pooled is None else pooled
    if isinstance(output, torch.Tensor):
        return [output]
    if getattr(output, "last_hidden_state", None) is not None:
        return [output.last_hidden_state]
    if not isinstance(output, list | tuple):
        return []
    return [tensor for one in output for tensor in _features(one)]


def _special(config: Mapping[str, Any]) -> Iterator[int]:
    """Numbers of words that a config names."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _special({str(key): one for key, one in value.items()})
        elif name.endswith(("_id", "_ids", "_index")):
            yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int))
