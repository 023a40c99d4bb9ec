"""Suite files: models x tasks x budgets, as YAML."""

from __future__ import annotations

import glob
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from .budgets import checked
from .errors import UserError
from .sizes import TEXT_TOKENS, Size, sizes
from .specs import Spec, is_path, parse, parse_call
from .yaml_files import read_yaml, validated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .specs import Call, Value

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Suite(BaseModel):
    """What a suite file says. A misspelt field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^\w[\w .-]*$")
    """Letters, digits, blanks and ``. _ -``: the run's folder is named after it."""
    description: str = ""
    models: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    budgets: tuple[float, ...] = ()
    """For models with a method that takes a budget and a spec that does not say which."""
    seeds: tuple[int, ...] = (0,)
    reports: tuple[str, ...] = ()
    """Reports that answer what the suite asks: `adaptbench report` writes them beside the leaderboard."""
    tokens: tuple[float, ...] = ()
    """For models with a method whose size the spec does not say, as the next three; see `harness.sizes.Size`."""
    average_tokens: tuple[float, ...] = ()
    end_tokens: tuple[float, ...] = ()
    flops: tuple[float, ...] = ()
    text_tokens: int = Field(default=TEXT_TOKENS, ge=0)
    visual_tokens: int | None = Field(default=None, ge=1)
    only: dict[str, str] = {}
    """Pattern of model specs, such as ``*-shop*`` -> the only one of the tasks that these models are asked."""
    batch_size: int | None = Field(default=None, ge=1)
    device: str | None = None
    plugins: tuple[str, ...] = ()
    """Plugins to load: entry points, modules, or files, which are relative to the suite's."""

    @field_validator("models", "tasks", "budgets", "seeds", "reports", "plugins", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("write a list, one item per line after '- '")
        doubles = [item for index, item in enumerate(value) if item in value[:index]]
        if doubles:
            raise ValueError(f"{doubles[0]!r} appears twice")
        return tuple(value)

    @field_validator("tokens", "average_tokens", "end_tokens", "flops", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else (value,)

    @field_validator("tokens", "average_tokens", "end_tokens", "flops")
    @classmethod
    def _amounts(cls, value: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        measure: Any = info.field_name
        return tuple(_checked(lambda amount: Size(measure, amount), one, where="") for one in value)

    @model_validator(mode="after")
    def _prompt_of_a_size(self) -> Self:
        if not self.sizes and {"text_tokens", "visual_tokens"} & self.model_fields_set:
            raise ValueError(
                "text_tokens and visual_tokens describe the prompt of a size, and none is asked: "
                "add tokens, average_tokens, end_tokens or flops"
            )
        return self

    @property
    def sizes(self) -> tuple[Size, ...]:
        """What models are asked to be at that leave the size of a method open."""
        return sizes(
            self.tokens,
            self.average_tokens,
            self.end_tokens,
            self.flops,
            text_tokens=self.text_tokens,
            visual_tokens=self.visual_tokens,
        )

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(seed < 0 for seed in value):
            raise ValueError("a seed is 0 or more")
        return value

    @field_validator("models")
    @classmethod
    def _model_specs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(parse, text) for text in value)

    @field_validator("tasks", "reports")
    @classmethod
    def _task_specs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(parse_call, text) for text in value)

    @field_validator("budgets")
    @classmethod
    def _budgets(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(_checked(checked, budget) for budget in value)


def load_suite(path: str | Path) -> Suite:
    """Read a suite file.

    Raises:
        UserError: The file cannot be read, or is not a suite; the message names the line or the field.
    """
    content = read_yaml(path, kind="suite", fields="name, models and tasks")
    suite = validated(Suite, content, where=str(path), todo="see `adaptbench list suites` for examples")
    plugins = (str(Path(path).parent / name) if is_path(name) else name for name in suite.plugins)
    return suite.model_copy(update={"plugins": tuple(plugins)})


def filled(suite: Suite, environment: Mapping[str, str]) -> Suite:
    """Fill in the variables of a suite: ``checkpoint="${FOLDER}/L[0-9]*/model"``.

    An argument with a variable is a path. Where it has wildcards too, there is a model (or task) for each path that
    they match, in their order.

    Raises:
        UserError: A variable is not set, or nothing matches.
    """
    where = f"suite {suite.name}"
    models = [str(spec) for text in suite.models for spec in _models(parse(text), environment, where)]
    tasks = [str(call) for text in suite.tasks for call in _calls(parse_call(text), environment, where)]
    return suite.model_copy(update={"models": tuple(models), "tasks": tuple(tasks)})


def _models(spec: Spec, environment: Mapping[str, str], where: str) -> list[Spec]:
    calls = [_calls(call, environment, where) for call in (spec.base, *spec.methods)]
    return [Spec(base, tuple(methods), spec.budget) for base, *methods in product(*calls)]


def _calls(call: Call, environment: Mapping[str, str], where: str) -> list[Call]:
    names = [name for name, _ in call.args]
    choices = [_paths(value, environment, where) for value in (call.target, *(value for _, value in call.args))]
    return [
        replace(call, target=None if target is None else str(target), args=tuple(zip(names, values, strict=True)))
        for target, *values in product(*choices)
    ]


def _paths(value: Value, environment: Mapping[str, str], where: str) -> list[Value]:
    """The values of an argument: itself, or the paths that match it."""
    if not isinstance(value, str) or not _VARIABLE.search(value):
        return [value]
    for name in _VARIABLE.findall(value):
        if not environment.get(name):
            todo = f"set the environment variable {name} to what the description of the suite says"
            raise UserError(f"{name} is not set", where=where, todo=todo)
    pattern = _VARIABLE.sub(lambda found: glob.escape(environment[found[1]]), value)
    if glob.has_magic(_VARIABLE.sub("", value)):
        paths = sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute
        if not paths:
            raise UserError(f"nothing matches {pattern}", where=where, todo="make it, or leave it out in a copy")
        return [*paths]
    return [_VARIABLE.sub(lambda found: environment[found[1]], value)]


def _checked(check: Any, value: Any, where: str | None = None) -> Any:
    """Run a check whose `UserError` becomes pydantic's, which names the field, and return the value as written."""
    try:
        check(value)
    except UserError as error:
        place = error.where if where is None else where
        raise ValueError(str(UserError(error.what, where=place, todo=error.todo))) from error
    return value
