"""Decoders of the public AdaLLaVA checkpoints: a Llama and a projector that were finetuned with their scheduler.

They are saved as the original LLaVA saves itself: the projector's and the tower's tensors are named as parts of the
language model, and the vocabulary has no rows for what transformers adds to it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ...adapters.loading import checkpoint
from ...harness.errors import UserError
from .scheduler import opened, own_name, shards
from .switches import CONFIG, FILES, read_config

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = (
    ("model.multi_modal_projector.linear_1.", "model.mm_projector.0."),
    ("model.multi_modal_projector.linear_2.", "model.mm_projector.2."),
    ("model.language_model.", "model."),
)
"""How names of transformers' LLaVA begin, and the same names in a public checkpoint."""
_TOWER = "model.vision_tower."
"""Of either; it was frozen, so the model's own is that of the checkpoint."""
_VOCABULARY = ("model.embed_tokens.weight", "lm_head.weight")
_PADDING = 128
"""Rows that transformers' LLaVAs may add to a vocabulary: image token, padding token, and up to a multiple of 64."""
_TODO = "name a checkpoint that was finetuned from this model"


class _Wanted(NamedTuple):
    """A parameter of the model, and its name there."""

    name: str
    parameter: torch.Tensor


def decoder(path: str, model: Any) -> dict[str, torch.Tensor]:
    """Read the language model, head and projector of a public checkpoint.

    All names and shapes are compared before any tensor is read; then one after the other is.

    Args:
        path: Folder or hub id.
        model: transformers' LLaVA that they are for. Where its vocabulary has some more rows, these stay as they are.

    Returns:
        Tensors by the names of the model's parameters, with their dtype, on their device: for all but the tower's. None
        if there is a scheduler that `scheduler.save` wrote.

    Raises:
        UserError: The checkpoint cannot be read, is of another model, or is not whole.
    """
    folder, where = checkpoint(path, None, FILES), f"checkpoint {path}"
    if (folder / CONFIG).is_file():
        return {}
    read_config(path)
    _check_config(json.loads((folder / "config.json").read_text()), model.config.text_config, where)
    files = shards(folder, where)
    wanted = {
        _original(name): _Wanted(name, parameter.detach())
        for name, parameter in model.named_parameters()
        if not name.startswith(_TOWER)
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with opened(file, where) as archive:
            for name in filter(_is_read, archive.keys()):
                shapes[name] = tuple(archive.get_slice(name).get_shape())
    _check_shapes(shapes, wanted, where)
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        with opened(file, where) as archive:
            for name in filter(_is_read, archive.keys()):
                own = wanted[name].parameter
                tensor = archive.get_tensor(name).to(own)
                more = own[len(tensor) :]
                tensors[wanted[name].name] = torch.cat([tensor, more]) if len(more) else tensor
    return tensors


def _original(name: str) -> str:
    for new, old in _NAMES:
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def _is_read(name: str) -> bool:
    """Whether a tensor belongs to language model, head or projector; rotary frequencies follow from the config."""
    return not (name.startswith(_TOWER) or name.endswith(".rotary_emb.inv_freq") or own_name(name))


def _check_config(fields: Mapping[str, Any], text: Any, where: str) -> None:
    """Refuse a model that computes something else with the same weights."""
    if text.model_type != "llama":
        what = f"its language model is a llama, and the model's is a {text.model_type}"
        raise UserError(what, where=where, todo=_TODO)
    rope = text.rope_parameters
    own = {
        "hidden_act": text.hidden_act,
        "rms_norm_eps": text.rms_norm_eps,
        "rope_theta": rope["rope_theta"],
        "rope_scaling": None if rope["rope_type"] == "default" else rope,
    }
    for name, value in own.items():
        if fields.get(name, value) != value:
            what = f"its config.json has {name} {fields[name]}, and the model's is {value}"
            raise UserError(what, where=where, todo=_TODO)


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], wanted: Mapping[str, _Wanted], where: str) -> None:
    for name, (_, parameter) in wanted.items():
        found, own = shapes.get(name), tuple(parameter.shape)
        if found is None:
            raise UserError(f"its weights lack {name}", where=where, todo="get the whole of it, or " + _TODO)
        rows = own[0] - found[0] if name in _VOCABULARY and found[1:] == own[1:] else 0
        if found != own and not 0 < rows <= _PADDING:
            raise UserError(f"its {name} is {found}, and the model's is {own}", where=where, todo=_TODO)
    for name in shapes.keys() - wanted.keys():
        raise UserError(f"it has {name}, for which the model has no place", where=where, todo=_TODO)
