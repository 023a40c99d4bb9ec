"""Suite files: models x tasks x budgets, as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .errors import UserError
from .specs import check_budget, parse, parse_call
from .yaml_files import read_yaml, validated


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
    batch_size: int | None = Field(default=None, ge=1)
    device: str | None = None

    @field_validator("models", "tasks", "budgets", "seeds", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("write a list, one item a line after '- '")
        doubles = [item for index, item in enumerate(value) if item in value[:index]]
        if doubles:
            raise ValueError(f"{doubles[0]!r} stands there twice")
        return tuple(value)

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

    @field_validator("tasks")
    @classmethod
    def _task_specs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(parse_call, text) for text in value)

    @field_validator("budgets")
    @classmethod
    def _budgets(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(_checked(lambda budget: check_budget(budget, "budgets"), budget) for budget in value)


def load_suite(path: str | Path) -> Suite:
    """Read a suite file.

    Raises:
        UserError: The file cannot be read, or is no suite; the message names the line or the field.
    """
    content = read_yaml(path, kind="suite", fields="name, models and tasks")
    return validated(Suite, content, where=str(path), todo="see `adaptbench list suites` for examples")


def _checked(check: Any, value: Any) -> Any:
    """Run a check whose `UserError` becomes pydantic's, and return the value as it was written."""
    try:
        check(value)
    except UserError as error:
        raise ValueError(str(error)) from error
    return value
