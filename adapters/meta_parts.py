"""The parts of a model on ``meta``, each with the inputs that it is passed: what its FLOPs are counted on.

A model of images and texts has two: its images up to what the language model reads, and a text. An encoder-decoder
reads the prompt and begins its answer. The phases of a part are found by the paths of its modules.
"""

from __future__ import annotations

import inspect
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ..harness.errors import UserError
from .countable import projected
from .image_layouts import channels_of, layouts, pixels, sides, vision_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Inputs = Mapping[str, Any]

_TOWERS = (
    "vision_tower", "vision_model", "visual", "vision_encoder", "image_tower", "vision_backbone", "vision", "vit",
    "vision_embed_tokens", "embed_vision", "image_encoder", "encoder",
)  # fmt: skip
"""What the encoder of images is called in a model of images and texts."""
_SPEAKING = ("language_model", "text_model", "text_decoder", "decoder")
"""What the language model in it is called."""
_PROJECTORS = ("multi_modal_projector", "image_to_text_projection", "visual_projection", "enc_to_dec_proj")
"""What stands between the two."""


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
    images = method(model, "get_image_features")
    if images is None:
        return _without_features(model, config)
    try:
        found, missing = [_image_part(images, config)], ""
    except UserError as error:
        found, missing = [], str(error)
    texts = method(model, "get_text_features")
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
    shape = (1, channels_of(config), *sides(config))
    return Part(tower, lambda _: {"pixel_values": pixels(shape)}, {"": "vision"}, fixed=True)


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


def _without_features(model: Any, config: Any) -> tuple[list[Part], str]:
    asked, vision = set(inspect.signature(model.forward).parameters), vision_of(config)
    if model.main_input_name == "pixel_values" and not _reads_text(model):
        base = _base(model)
        phases = {base: "vision", "": "head"} if base else {"": "vision"}
        inputs = next((one for one in layouts(asked, config, vision) if _runs(model, one)), None)
        inputs = inputs or {"pixel_values": pixels((1, channels_of(vision), *sides(vision)))}
        return [Part(model, lambda _: inputs, phases, fixed=True)], ""
    if not {"pixel_values", "flattened_patches"} & asked:
        return [_text_part(_speaking(model), config)], ""
    for image in layouts(asked, config, vision):
        for mask, queries in ((False, 0), (True, getattr(config, "num_query_tokens", 0))):
            part = _with_image(model, asked, image, mask=mask, queries=queries)
            if _runs(part.module, part.inputs(8)):
                return [part], ""
    return [_text_part(_speaking(model), config)], "it is not known how an image and a text are given to it together"


def _with_image(model: Any, asked: set[str], image: Inputs, *, mask: bool, queries: int) -> Part:
    """A model that reads an image and a text in one pass: what is said of the image, or of the text beside it.

    Args:
        model: As transformers builds it.
        asked: Names of the arguments that it takes.
        image: The image, as arguments.
        mask: Whether it wants a mask of the text.
        queries: Words that stand for the image before the text.
    """
    reads, base = "input_ids" if "input_ids" in asked else "decoder_input_ids", _base(model)

    def both(tokens: int) -> Inputs:
        tokens += queries
        beside = {
            "image_embeds_position_mask": (torch.arange(tokens) < getattr(model.config, "latent_query_num", 0))[None],
            "image_attention_mask": torch.ones(1, tokens, 1, dtype=torch.long),
            "bbox": _boxes(model.config, tokens),
            "logits_to_keep": torch.zeros(1, dtype=torch.long),  # of the image's tokens there would be logits, too
        }
        if "aspect_ratio_mask" in image:  # every token sees the image
            beside["cross_attention_mask"] = torch.ones(1, tokens, 1, image["aspect_ratio_mask"].shape[-1])
        if {"input_ids", "decoder_input_ids"} <= asked:
            beside["decoder_input_ids"] = torch.ones(1, 1, dtype=torch.long)
        if mask:
            beside["attention_mask"] = torch.ones(1, tokens, dtype=torch.long)
        known = {name: value for name, value in beside.items() if name in asked}
        return {**image, reads: torch.ones(1, tokens, dtype=torch.long), **known}

    paths = [".".join(filter(None, (base, name))) for name in _TOWERS] + list(_TOWERS)
    tower = next((path for path in paths if _has(model, path)), "")
    speaking = next((path for name in _SPEAKING for path in (f"{base}.{name}", name) if _has(model, path)), base)
    if not (tower and speaking):
        return Part(model, both)
    between = [path for name in _PROJECTORS for path in (f"{base}.{name}", name) if _has(model, path)]
    phases = {tower: "vision", speaking: "prefill", "": "head"}
    return Part(model, both, phases | dict.fromkeys(between[:1], "projector"))


class _Calling(torch.nn.Module):
    """A method of a model as a module's forward pass.

    Args:
        method: Of the model.
        projector: Reads what the method returns, where the model calls it outside of the method.
    """

    def __init__(self, method: Any, projector: torch.nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.name, self.projector = method.__self__, method.__name__, projector

    def forward(self, **inputs: Any) -> Any:
        output = getattr(self.model, self.name)(**inputs)
        return output if self.projector is None else self.projector(output.last_hidden_state)


def method(model: Any, name: str) -> Any:
    """A method of a model, or of the model in it that has no head: the one that says more of what it takes."""
    methods = [found for one in (model, getattr(model, "model", None)) if (found := getattr(one, name, None))]
    return max(methods, key=lambda one: len(inspect.signature(one).parameters), default=None)


def _reads_text(model: Any) -> bool:
    return {"input_ids", "decoder_input_ids"} & set(inspect.signature(model.forward).parameters) != set()


def _base(model: Any) -> str:
    """Path of the model without its head; empty if it has none."""
    base = str(getattr(model, "base_model_prefix", ""))
    return base if base and isinstance(getattr(model, base, None), torch.nn.Module) else ""


def _text_part(model: Any, config: Any) -> Part:
    """A text, up to logits for each of its tokens."""
    base, asked = _base(model), set(inspect.signature(model.forward).parameters)
    books = getattr(model.config, "num_codebooks", None)  # where each word is several, one from each
    rows = books if books is not None and not _runs(model, _ids(8)) and _runs(model, _ids(8, books)) else 1

    def prompt(tokens: int) -> Inputs:
        beside = {"lang_ids": torch.zeros(1, dtype=torch.long), "bbox": _boxes(config, tokens)}
        return {**_ids(tokens, rows), **{name: value for name, value in beside.items() if name in asked}}

    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in asked:
        paths = [path for path, _ in model.named_modules()]
        stems = [path.removesuffix("encoder") for path in paths if path == "encoder" or path.endswith(".encoder")]
        stem = next((one for one in stems if _has(model, f"{one}decoder")), None)

        def both(tokens: int) -> Inputs:
            return {**prompt(tokens), "decoder_input_ids": torch.ones(1, 1, dtype=torch.long)}

        if stem is None:
            return Part(model, both)
        return Part(model, both, {f"{stem}encoder": "encoder", f"{stem}decoder": "prefill", "": "head"})
    return Part(model, prompt, {base: "prefill", "": "head"} if base else {"": "prefill"})


def _boxes(config: Any, tokens: int) -> torch.Tensor:
    """Where words stand on their page: in shares of it to UDOP, which decodes, and in thousandths to encoders."""
    shares = getattr(config, "is_encoder_decoder", False)
    return torch.zeros(1, tokens, 4, dtype=torch.float if shares else torch.long)


def _has(model: Any, path: str) -> bool:
    try:
        return bool(path) and isinstance(model.get_submodule(path), torch.nn.Module)
    except AttributeError:
        return False


def _ids(tokens: int, rows: int = 1) -> Inputs:
    """A prompt."""
    return {"input_ids": torch.ones(rows, tokens, dtype=torch.long)}


def _image_part(method: Any, config: Any) -> Part:
    vision = vision_of(config)
    asked = set(inspect.signature(method).parameters)
    refused: Exception | None = None
    for inputs in layouts(asked, config, vision):
        module = _Calling(method)
        try:
            projector = _left_out(module, inputs)
            if projector is not None:
                module = _Calling(method, projector)
                run(module, inputs)
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            refused = error if refused is None or _depth(error) > _depth(refused) else refused
            continue
        tower = next((f"model.{name}" for name in _TOWERS if _has(method.__self__, name)), "")
        if not tower and _has(method.__self__, "model"):
            tower = next((f"model.model.{name}" for name in _TOWERS if _has(method.__self__.model, name)), "")
        phases = {tower: "vision", "": "projector"} if tower else {"": "vision"}
        return Part(module, lambda _, inputs=inputs: inputs, phases, fixed=True)  # type: ignore[misc]
    why = "no layout fits" if refused is None else f"{type(refused).__name__}: {refused}"
    raise UserError(f"it is not known what its images look like ({why})", where=config.model_type)


def _left_out(module: _Calling, inputs: Inputs) -> torch.nn.Module | None:
    """The projector that a model has and that did not run when its images were asked for."""
    found = next((one for name, one in module.model.named_modules() if name.split(".")[-1] in _PROJECTORS[:1]), None)
    ran: list[object] = []
    if found is None:
        run(module, inputs)
        return None
    hook = found.register_forward_hook(lambda *_: ran.append(found))
    try:
        run(module, inputs)
    finally:
        hook.remove()
    return None if ran else found


def _depth(error: Exception) -> int:
    """How far into a model a pass went that failed: of several layouts the one that went furthest tells the most."""
    return sum(1 for _ in traceback.walk_tb(error.__traceback__))


def _runs(module: torch.nn.Module, inputs: Inputs) -> bool:
    try:
        run(module, inputs)
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False
    return True


def run(module: torch.nn.Module, inputs: Inputs) -> Any:
    """Run a part on ``meta``, one layer of each kind."""
    from ..harness.measure.known_numbers import KnownNumbers, known_inputs
    from ..harness.measure.repeats import NotAlike, once_each_kind

    numbers = KnownNumbers()
    known = known_inputs(inputs, numbers)
    with torch.no_grad(), numbers:
        try:
            with once_each_kind(module):
                return module(**known)
        except NotAlike:
            return module(**known)
