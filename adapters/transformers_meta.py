"""Any transformers architecture on the ``meta`` device: modules from a config alone, with as many layers as wanted.

No weights are read or allocated: a 70B model takes no more memory than a small one.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.measure.architecture import read_architecture
from ..harness.measure.configs import (
    image_size,
    is_original_llava,
    processed_size,
    standard_config,
    with_image_size,
)
from ..harness.measure.counting import PhaseCount
from ..harness.measure.memory import free_memory
from .countable import countable, projected
from .loading import checkpoint, loading
from .original_llava import stated_tower

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from ..harness.results import Timing

    Inputs = Mapping[str, torch.Tensor]

_PROCESSOR = "preprocessor_config.json"
_LAYERS = ("num_hidden_layers", "n_layer")
_TOWERS = {"clip_vision_model": "CLIPVisionModel", "siglip_vision_model": "SiglipVisionModel"}
"""Model types that no Auto class builds."""


@dataclass(frozen=True, slots=True)
class Part:
    """A module of a model and what it is given.

    Attributes:
        module: On ``meta``.
        inputs: Number of tokens -> keyword arguments of its forward pass.
    """

    module: torch.nn.Module
    inputs: Callable[[int], Inputs]


class Blueprint:
    """A model that can be built on ``meta``.

    Args:
        config: As ``config.json`` holds it.
        source: Where it comes from, as shown to users.
        recorded: Phase -> the result of `Counter.record`.
        processed: Pixels a side that its processor makes of an image; ``None`` if that is not known.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        source: str,
        recorded: Mapping[str, PhaseCount] = MappingProxyType({}),
        processed: int | None = None,
    ) -> None:
        if not isinstance(config.get("model_type"), str):
            raise UserError("the config names no model_type", where=source, todo="give a whole config.json")
        self.config, self.source, self.recorded = standard_config(config, source), source, recorded
        stated = image_size(self.config)
        self.note = ""
        if processed is not None and stated is not None and stated != processed:
            told = f"its processor makes {processed} x {processed} of them: --image-size {processed}"
            self.note = f"images of {stated} x {stated} pixels, as the config states; {told}"

    def with_image_size(self, side: int) -> Blueprint:
        """The same on images of ``side`` x ``side`` pixels."""
        if side == image_size(self.config):
            return Blueprint(self.config, self.source, self.recorded)
        return Blueprint(with_image_size(self.config, side), self.source)

    @functools.cached_property
    def _config(self) -> Any:
        """The config as transformers has it."""
        with loading(self.source):
            import transformers

            rest = {name: value for name, value in self.config.items() if name != "model_type"}
            return transformers.AutoConfig.for_model(self.config["model_type"], **rest)

    @functools.cached_property
    def depth(self) -> dict[str, int]:
        """Layers of the vision tower and of the language model."""
        model = read_architecture(self.config)
        stacks = {"vision": model.vision, "text": model.text, "prefill": model.language}
        return {phase: part.stack.layers for phase, part in stacks.items() if part is not None}

    def measure(self, *, tokens: int, batch: int, layers: int) -> tuple[Timing, Timing]:
        """Time the language model (see `measure_prefill`) in float32 on this machine's GPU, or its CPU."""
        import torch

        from .transformers_prefill import measure_prefill

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return measure_prefill(
            self.language, source=self.source, tokens=tokens, batch=batch, layers=layers, device=device
        )

    def language(self, device: str, dtype: torch.dtype, layers: int | None = None) -> tuple[Any, torch.nn.Module]:
        """Build the causal language model with random weights, for timing; return its body and its head.

        Raises:
            UserError: There is none, or it does not fit into the machine's free memory.
        """
        import torch
        import transformers

        from . import installed

        config = copy.deepcopy(getattr(self._config, "text_config", None) or self._config)
        if not installed.builds("AutoModelForCausalLM", config) or hasattr(config, "image_size"):
            raise UserError(f"a {config.model_type} is not a causal language model", where=self.source, todo="name one")
        if layers is not None:
            _shorten(config, layers)
        with loading(self.source), torch.device("meta"):
            model = _new(transformers.AutoModelForCausalLM, config).to(dtype)
        needed, free = sum(p.numel() * p.element_size() for p in model.parameters()), free_memory(device)
        if needed > free:
            raise UserError(
                f"its weights take {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free on {device}",
                where=self.source,
                todo="choose fewer layers, a smaller dtype or another device",
            )
        model = model.to_empty(device=device)
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                torch.nn.init.normal_(tensor, std=0.02)
        head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[operator]
        return model.get_submodule(str(model.base_model_prefix)), head

    def parts(self, layers: int | None = None) -> dict[str, Part]:
        """Build the model on ``meta`` and return its parts by phase: ``vision``, ``projector``, ``prefill``, ``head``.

        Args:
            layers: Blocks of every stack, instead of all of them.
        """
        import torch
        import transformers

        from . import installed

        config = countable(copy.deepcopy(self._config))
        for stack in (config, getattr(config, "text_config", None), getattr(config, "vision_config", None)):
            if stack is not None and layers is not None:
                _shorten(stack, layers)
        with loading(self.source), torch.device("meta"):
            if config.model_type == "llava":
                return _llava_parts(transformers.LlavaForConditionalGeneration(config).eval())
            if config.model_type in {"clip", "siglip"}:
                return _dual_parts(transformers.AutoModel.from_config(config).eval())
            if hasattr(config, "image_size"):
                kind = getattr(transformers, _TOWERS.get(config.model_type, "AutoModel"))
                return {"vision": _images(_new(kind, config), config)}
            masked = installed.builds("AutoModelForMaskedLM", config)
            model = _new(transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM, config)
        head = next(part for name, part in model.named_children() if name in {"lm_head", "embed_out", "cls"})
        return {
            "prefill": _tokens(model.get_submodule(str(model.base_model_prefix))),
            "head": _states(head, getattr(head, "in_features", config.hidden_size)),
        }


def _new(kind: Any, config: Any) -> torch.nn.Module:
    """Build a model from its config; an Auto class has another name for it than a plain one."""
    model = kind.from_config(config, trust_remote_code=False) if hasattr(kind, "from_config") else kind(config)
    built: torch.nn.Module = model.eval()
    return built


def _shorten(config: Any, layers: int) -> None:
    """Keep ``layers`` layers, the first ones where they are of several kinds."""
    for name in _LAYERS:
        if hasattr(config, name):
            setattr(config, name, layers)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]


def _llava_parts(model: Any) -> dict[str, Part]:
    inner, config = model.model, model.config
    width = inner.multi_modal_projector.linear_1.in_features
    return {
        "vision": _images(inner.vision_tower, config.vision_config),
        "projector": _states(inner.multi_modal_projector, width),
        "prefill": _tokens(inner.language_model),
        "head": _states(model.lm_head, config.text_config.hidden_size),
    }


def _dual_parts(model: Any) -> dict[str, Part]:
    import torch

    parts = {"vision": _images(model.vision_model, model.config.vision_config)}
    if hasattr(model, "visual_projection"):
        parts["projector"] = _states(model.visual_projection, model.visual_projection.in_features)
    texts = model.text_model
    if hasattr(model, "text_projection"):
        texts = projected(texts, model.text_projection)
    return {**parts, "text": Part(texts, lambda n: {"input_ids": torch.zeros(1, n, dtype=torch.long, device="meta")})}


def _images(tower: torch.nn.Module, config: Any) -> Part:
    import torch

    side = config.image_size
    shape = (1, config.num_channels, *(side if isinstance(side, list | tuple) else (side, side)))
    return Part(tower, lambda _: {"pixel_values": torch.empty(shape, device="meta")})


def _tokens(model: torch.nn.Module) -> Part:
    import torch

    width = model.get_input_embeddings().embedding_dim  # type: ignore[operator]

    def inputs(tokens: int) -> Inputs:
        # Mask and positions are given, so that the model looks at no value of a tensor that has none.
        return {
            "inputs_embeds": torch.empty(1, tokens, width, device="meta"),
            "attention_mask": torch.ones(1, 1, tokens, tokens, dtype=torch.bool, device="meta"),
            "position_ids": torch.arange(tokens, device="meta")[None],
        }

    return Part(model, inputs)


def _states(module: torch.nn.Module, width: int) -> Part:
    import torch

    first = next(iter(inspect.signature(module.forward).parameters))
    return Part(module, lambda n: {first: torch.empty(1, n, width, device="meta")})


def card(path: str) -> Blueprint:
    """A shipped architecture: a JSON file with the fields ``source``, ``config`` and ``counted``, its record.

    It may have ``processed``, the pixels a side that its processor makes of an image.
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    recorded = {
        phase: PhaseCount(tuple(map(Fraction, told["one"])), tuple(map(Fraction, told["two"])), told["attention"])
        for phase, told in content["counted"].items()
    }
    return Blueprint(content["config"], content["source"], recorded, content.get("processed"))


def pretrained(path: str, revision: str | None = None) -> Blueprint:
    """The architecture of a config file, a local folder or a hub id; only its configs are read."""
    file = Path(path).expanduser()
    if not file.is_file():
        if file.suffix == ".json":
            raise UserError("there is no such file", where=path, todo="name a config.json")
        file = checkpoint(path, revision, ("config.json", _PROCESSOR)) / "config.json"
    config = _fields(file)
    if isinstance(config.get("config"), dict):  # one of ours, with its source
        return Blueprint(config["config"], path)
    if is_original_llava(config):
        config = standard_config(config, path, stated_tower(config))
    processor = file.with_name(_PROCESSOR)
    processed = processed_size(_fields(processor)) if file.name == "config.json" and processor.is_file() else None
    return Blueprint(config, path, processed=processed)


def _fields(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read it: {error}", where=str(file), todo=f"give a whole {file.name}") from error
    if not isinstance(content, dict):
        raise UserError("it holds no fields", where=str(file), todo=f"give a whole {file.name}")
    return content


def blueprint_of(path: str, *, revision: str | None = None, **_: Any) -> Blueprint:
    """The architecture of what an adapter would load, given all of its arguments."""
    return pretrained(path, revision)
