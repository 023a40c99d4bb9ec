"""Recipes as commands: options are the fields of a pydantic model, checked in the words of methods."""

from __future__ import annotations

from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ...harness.methods import readable
from .finetune import finetune

if TYPE_CHECKING:
    from collections.abc import Callable

    from .finetune import Recipe


def command(kind: type[Recipe]) -> Callable[..., None]:
    """Return the command of a recipe; the command line asks for its arguments, which are the recipe's fields."""

    def train(out: Path, **asked: Any) -> None:
        try:
            recipe = kind(**asked)
        except ValidationError as error:
            raise readable(error, kind, f"recipe {kind.name}") from error
        finetune(recipe, out)

    fields = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=Parameter.empty if field.is_required() else field.default)
        for name, field in kind.model_fields.items()
    ]
    train.__signature__ = Signature([Parameter("out", Parameter.POSITIONAL_OR_KEYWORD), *fields])  # type: ignore[attr-defined]
    train.__doc__ = kind.__doc__
    return train
