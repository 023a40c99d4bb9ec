"""``adaptbench train glyphs-encoder``: a small encoder of letters, to be adapted to others."""

from __future__ import annotations

import math
from dataclasses import asdict
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, get_args

from ...harness.errors import UserError
from ...harness.plugins import load_plugins
from ..finetuning.asked import same
from .glyphs_pretraining import Objective, Pretraining

if TYPE_CHECKING:
    from pathlib import Path

_WHERE = "recipe glyphs-encoder"


def train_glyphs_encoder(out: Path, **asked: Any) -> None:
    """Train an encoder; what was done before is not done again.

    Args:
        out: Folder of the checkpoints, ``log.jsonl``, ``recipe.json`` and the folder ``model``, which ``hf:`` reads.
        asked: Of a `Pretraining`.

    Raises:
        UserError: An argument is out of range, or ``out`` holds another training.
    """
    asked_for = Pretraining(**asked)
    _check(asked_for)
    if asked_for.objective != "random":
        task = load_plugins().registry.find("task", "glyphs").factory()
        images = task(
            split="base", scripts=asked_for.scripts, per_class=asked_for.per_class, seed=asked_for.seed
        ).images
    same(out, {k: v for k, v in asdict(asked_for).items() if k not in ("save_every", "threads")})

    import torch

    from . import train_glyphs_encoder as training

    if asked_for.threads:
        torch.set_num_threads(asked_for.threads)
    encoder = training.initial(asked_for.seed)
    if asked_for.objective != "random":
        training.train(encoder, asked_for, images, out)
    training.write(encoder, out / "model")


# The command line asks for a recipe's arguments: they are those of a `Pretraining`.
train_glyphs_encoder.__signature__ = Signature(  # type: ignore[attr-defined]
    [Parameter("out", Parameter.POSITIONAL_OR_KEYWORD), *signature(Pretraining).parameters.values()]
)


def _check(asked: Pretraining) -> None:
    known = get_args(Objective)
    if asked.objective not in known:
        todo = f"choose from {', '.join(known)}"
        raise UserError(f"unknown objective {asked.objective!r}", where=_WHERE, todo=todo)
    for name, least in {"per_class": 2, "steps": 1, "batch": 2, "save_every": 1}.items():
        value = getattr(asked, name)
        if type(value) is not int or value < least:
            raise UserError(f"{name}={value} is less than {least}", where=_WHERE, todo=f"give {least} or more")
    for name in ("rate", "temperature"):
        value = getattr(asked, name)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise UserError(f"{name}={value} is not a positive number", where=_WHERE, todo="give more than 0")
