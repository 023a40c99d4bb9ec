"""Suite files: models x tasks x budgets, as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import UserError
from .specs import check_budget, did_you_mean, parse, parse_call


class Suite(BaseModel):
    """What a suite file says. A misspelt field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(min_length=1)
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
        if not isinstance(value, list):
            return value
        doubles = [item for index, item in enumerate(value) if item in value[:index]]
        if doubles:
            raise ValueError(f"{doubles[0]!r} stands there twice")
        return tuple(value)

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
    where = str(path)
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506 - a safe loader, stricter
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read it: {error}", where=where, todo="name a suite file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"not YAML: {getattr(error, 'problem', None) or error}", where=f"{where}{line}", todo="mend it"
        ) from error
    if not isinstance(content, dict):
        raise UserError("not a suite: it holds no fields", where=where, todo="write name, models and tasks")
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        hint = did_you_mean(field, Suite.model_fields) if first["type"] == "extra_forbidden" else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"{field}: {message}{hint}", where=where, todo="see `adaptbench list suites` for examples"
        ) from error


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases, which can blow up, and with each key once."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _checked(check: Any, value: Any) -> Any:
    """Run a check whose `UserError` becomes pydantic's, and return the value as it was written."""
    try:
        check(value)
    except UserError as error:
        raise ValueError(str(error)) from error
    return value
