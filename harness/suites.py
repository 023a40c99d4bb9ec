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
    where = str(path)
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506 - a safe loader, stricter
    except OSError as error:
        raise UserError(f"cannot read it: {error.strerror}", where=where, todo="name a suite file") from error
    except UnicodeDecodeError as error:
        raise UserError("not UTF-8 text", where=where, todo="name a suite file") from error
    except RecursionError as error:
        raise UserError("not a suite: it is nested too deeply", where=where, todo="name a suite file") from error
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
    """Safe YAML without aliases, which can blow up, and with each key once; every fault has its line."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _fault(self.peek_event(), "aliases are not allowed")  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # PyYAML's own, as for the date 2001-99-99
            raise _fault(node, f"{node.value!r} cannot be read; put it in quotes") from error

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                raise _fault(key, "a key must be a text")
            if key.value in seen:
                raise _fault(key, f"the key {key.value!r} stands there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _fault(place: Any, what: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, place.start_mark)


def _checked(check: Any, value: Any) -> Any:
    """Run a check whose `UserError` becomes pydantic's, and return the value as it was written."""
    try:
        check(value)
    except UserError as error:
        raise ValueError(str(error)) from error
    return value
