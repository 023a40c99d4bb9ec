"""Finetuned weights on disk, and back on a base: a folder that says how they were made.

``model.safetensors`` holds what was trained, by its names in the base's network: all of it, or a part. An adapter is a
folder of peft instead. ``adaptation.json`` is written last: a folder without it is not a checkpoint.
"""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...adapters.peft_folder import CONFIG, WEIGHTS, adapted, read_adapter
from ...harness.errors import UserError
from ...harness.fingerprints import object_digest
from ...harness.hashing import sha256_file, sha256_hex
from ...harness.store.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

CARD = "adaptation.json"
_WEIGHTS = "model.safetensors"


def weights_digest(network: torch.nn.Module) -> str:
    """Hash of all weights of a network, with their names and types."""
    return str(object_digest(dict(network.state_dict())))


def add_adapter(network: torch.nn.Module, rank: int, alpha: int, targets: str) -> Any:
    """Put LoRA into a network, in place: what is not of it does not learn any more.

    Args:
        network: Which is trained.
        rank: Of the products.
        alpha: They are scaled by alpha / rank.
        targets: Ends of the names of linear layers, separated by ``/``, or ``all-linear``.

    Returns:
        The `peft.PeftModel`, which writes the folder.

    Raises:
        UserError: peft is not installed, or the network has no such layers.
    """
    try:
        import peft
    except ImportError as error:
        raise UserError("peft is needed", where="lora_r", todo="pip install 'adaptbench[peft]'") from error
    names = targets if targets == "all-linear" else targets.split("/")
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that transformers will drop some day
            return peft.get_peft_model(network, config)
    except ValueError as error:
        raise UserError(f"LoRA does not fit: {error}", where="lora_targets", todo="name its linear layers") from error


def write(
    folder: Path, network: torch.nn.Module, card: Mapping[str, Any], *, half: bool = False, adapter: Any = None
) -> None:
    """Write a checkpoint.

    Args:
        folder: Which is made.
        network: What learns of it is written.
        card: How it was made.
        half: As float16 instead of as they are.
        adapter: From `add_adapter`, if it is what was trained.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if adapter is not None:
        adapter.save_pretrained(str(folder))
    else:
        learnt = {name: part.detach().cpu() for name, part in network.named_parameters() if part.requires_grad}
        kept = {name: (part.to(torch.float16) if half else part).contiguous() for name, part in learnt.items()}
        save_file(kept, folder / _WEIGHTS)
    write_atomic(folder / CARD, (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())


def read_card(checkpoint: str, where: str) -> dict[str, Any]:
    """Return how a checkpoint was made.

    Raises:
        UserError: The folder holds no checkpoint.
    """
    file = Path(checkpoint).expanduser() / CARD
    try:
        card = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        todo = "give checkpoint=DIR/model, where DIR is the --out of a finished training"
        raise UserError(f"{checkpoint} holds no finetuned weights ({CARD})", where=where, todo=todo) from error
    return card


def fingerprint(checkpoint: str) -> str:
    """Hash of the files of a checkpoint that decide what it answers."""
    names = (CARD, _WEIGHTS, WEIGHTS, CONFIG)
    files = [file for name in names if (file := Path(checkpoint).expanduser() / name).is_file()]
    return "files:" + sha256_hex(*(part.encode() for file in files for part in (file.name, sha256_file(file))))


def finetuned(network: torch.nn.Module, checkpoint: str, where: str) -> torch.nn.Module:
    """Return a network with the weights of a checkpoint, an adapter merged; the given one stays as it is.

    Raises:
        UserError: The checkpoint is of another base, or damaged.
    """
    folder = Path(checkpoint).expanduser()
    check_base(network, checkpoint, where)
    if (folder / WEIGHTS).is_file():
        merged: torch.nn.Module = adapted(network, read_adapter(checkpoint), merged=True)
        return merged
    return loaded(copy.deepcopy(network), checkpoint, where)


def check_base(network: torch.nn.Module, checkpoint: str, where: str) -> None:
    """Refuse a network that a checkpoint was not trained from.

    Raises:
        UserError: It was not, or the folder holds no checkpoint.
    """
    card = read_card(checkpoint, where)
    if card.get("weights") != weights_digest(network):
        todo = f"name the base that it was trained from: {card.get('base')}"
        raise UserError(f"{checkpoint} was trained from other weights", where=where, todo=todo)


def loaded(network: torch.nn.Module, checkpoint: str, where: str) -> torch.nn.Module:
    """Put the weights of a checkpoint into a module, and return it."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = Path(checkpoint).expanduser() / _WEIGHTS
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read its weights: {error}", where=str(file), todo="train again") from error
    own = dict(network.named_parameters())
    for name, tensor in weights.items():
        if name not in own or own[name].shape != tensor.shape:
            raise UserError(f"its {name} does not fit the base", where=where, todo="give a checkpoint of this base")
        with torch.no_grad():
            own[name].copy_(tensor)
    return network
