"""Any transformers architecture on the ``meta`` device: modules from a config alone, with as many layers as wanted.

No weights are read or allocated: a 70B model takes no more memory than a small one.
"""

from __future__ import annotations

import copy
import functools
import json
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.measure.configs import (
    image_size,
    is_original_llava,
    processed_size,
    standard_config,
    with_image_size,
)
from ..harness.measure.counting import PhaseCount
from ..harness.measure.memory import free_memory
from ..harness.measure.quantisation import read_quantisation
from .countable import countable
from .loading import checkpoint, loading
from .original_llava import stated_tower

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from ..harness.results import Timing
    from .meta_parts import Part
    from .traced_model import TracedModel

_PROCESSOR = "preprocessor_config.json"
_LAYERS = ("num_hidden_layers", "n_layer")
_POSITIONS = ("max_position_embeddings", "n_positions")
_TOWERS = {"clip_vision_model": "CLIPVisionModel", "siglip_vision_model": "SiglipVisionModel"}
"""Model types that no Auto class builds."""
_BUILDERS = (
    "AutoModelForImageTextToText", "AutoModelForZeroShotImageClassification", "AutoModelForSeq2SeqLM",
    "AutoModelForMaskedLM", "AutoModelForCausalLM", "AutoModel",
)  # fmt: skip
"""What builds a model whose config does not name its class: the first that knows it."""


class Blueprint:
    """A model that can be built on ``meta``.

    Args:
        config: As ``config.json`` holds it.
        source: Where it comes from, as shown to users.
        recorded: Phase -> the result of `Counter.record`.
        processed: Pixels a side that its processor makes of an image; ``None`` if that is not known.
        weights: Numbers of all its weights, where they are recorded.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        source: str,
        recorded: Mapping[str, PhaseCount] = MappingProxyType({}),
        processed: int | None = None,
        weights: int | None = None,
    ) -> None:
        if not isinstance(config.get("model_type"), str):
            raise UserError("the config names no model_type", where=source, todo="give a whole config.json")
        self.config, self.source, self.recorded = standard_config(config, source), source, recorded
        stated = image_size(self.config)
        self._weights = weights
        self.missing = ""
        """Why images are not priced, once the parts are built; empty if they are."""
        self.note = ""
        if processed is not None and stated is not None and stated != processed:
            told = f"its processor makes {processed} x {processed} of them: --image-size {processed}"
            self.note = f"images of {stated} x {stated} pixels, as the config states; {told}"

    @property
    def parameters(self) -> tuple[int, int] | None:
        """Numbers of all weights and of those that one token meets, once they are known: recorded, or it is built."""
        if self._weights is not None:
            return self._weights, self._weights
        return (self.traced.parameters, self.traced.active) if "_parts" in vars(self) else None

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
    def chunks(self) -> list[int]:
        """Numbers of tokens that its layers may work on at once, as the config names them."""
        every = [self._config, *_sub_configs(self._config)]
        named = [value for one in every for name, value in vars(one).items() if "chunk" in name or name == "block_size"]
        return sorted({value for value in named if isinstance(value, int) and value > 1})

    @functools.cached_property
    def longest(self) -> int:
        """The most tokens that it has positions for."""
        every = [getattr(self._config, name, None) for name in ("text_config", "decoder")]
        named = [getattr(one, name, None) for one in (self._config, *every) for name in _POSITIONS]
        return min([value for value in named if isinstance(value, int) and value > 0], default=2**31)

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
            model = build(transformers.AutoModelForCausalLM, config).to(dtype)
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

    def parts(self) -> list[Part]:
        """Build the model on ``meta`` and return its parts."""
        return self._parts

    @functools.cached_property
    def traced(self) -> TracedModel:
        """Its operators from its modules, for a model without a closed form."""
        from .traced_model import TracedModel

        parts, config = self.parts(), self._config
        tied = bool(getattr(config.get_text_config(decoder=True), "tie_word_embeddings", False))
        if self.missing:
            self.note = f"images are not priced: {self.missing}"
        return TracedModel(self.model, parts, tied=tied, quantisation=read_quantisation(self.config))

    @functools.cached_property
    def _parts(self) -> list[Part]:
        from .meta_parts import parts_of

        with loading(self.source):
            found, self.missing = parts_of(self.model, self.model.config)
        return found

    @functools.cached_property
    def model(self) -> Any:
        """The whole model on ``meta``, in evaluation mode."""
        import torch

        from . import installed

        config = countable(copy.deepcopy(self._config))
        for one in (config, *_sub_configs(config)):
            one.use_cache = False
            one._experts_implementation = "batched_mm"  # the routed share, by operators that all counters know
        with loading(self.source), torch.device("meta"):
            model: Any = build(class_of(config), config)
        installed.capture_outputs(model)  # while all layers are in place
        own = vars(model.config)
        own["pad_token_id"] = None if own.get("pad_token_id") is None else 0  # a prompt of ones has no padding
        return model


def _sub_configs(config: Any) -> list[Any]:
    own = [getattr(config, name, None) for name in getattr(config, "sub_configs", {})]
    inner = [one for one in own if one is not None]
    return inner + [deeper for one in inner for deeper in _sub_configs(one)]


def class_of(config: Any) -> Any:
    """The class that builds a model from its config: the one that the config names, or the first that can."""
    import transformers

    from . import installed

    named = next(iter(getattr(config, "architectures", None) or []), "")
    if named and hasattr(transformers, named):
        return getattr(transformers, named)
    if config.model_type in _TOWERS:
        return getattr(transformers, _TOWERS[config.model_type])
    return getattr(transformers, next((name for name in _BUILDERS if installed.builds(name, config)), "AutoModel"))


def build(kind: Any, config: Any) -> torch.nn.Module:
    """Build a model from its config; an Auto class has another name for it than a plain one."""
    if hasattr(kind, "from_config"):
        model = kind.from_config(config, trust_remote_code=False)
    else:
        inner = (getattr(config, name, None) for name in ("text_config", "decoder"))
        model = kind(next((one for one in inner if one is not None and isinstance(one, kind.config_class)), config))
    built: torch.nn.Module = model.eval()
    return built


def _shorten(config: Any, layers: int) -> None:
    """Keep ``layers`` layers, the first ones where they are of several kinds."""
    for name in _LAYERS:
        if hasattr(config, name):
            setattr(config, name, layers)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]


def card(path: str) -> Blueprint:
    """A shipped architecture: a JSON file with ``source``, ``config``, and the records ``parameters`` and ``counted``.

    It may have ``processed``, the pixels a side that its processor makes of an image.
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    recorded = {
        phase: PhaseCount(
            tuple(map(Fraction, told["beside"])),
            tuple(tuple(map(Fraction, kind)) for kind in told["kinds"]),
            tuple(kind for kind, times in told["order"] for _ in range(times)),
            told["attention"],
        )
        for phase, told in content.get("counted", {}).items()
    }
    return Blueprint(
        content["config"], content["source"], recorded, content.get("processed"), content.get("parameters")
    )


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
