"""Reading YAML that people write: each key once, no aliases, and an error that names the line or the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from .errors import UserError
from .reading import read_text, why_unread
from .specs import did_you_mean

_Model = TypeVar("_Model", bound=BaseModel)


def read_yaml(path: str | Path, *, kind: str, fields: str) -> dict[str, Any]:
    """Read a file that holds a mapping.

    Args:
        path: The file, in UTF-8.
        kind: What it should be, for messages: ``suite``.
        fields: What to write into one, for messages.

    Raises:
        UserError: The file cannot be read, is not YAML, or holds something else.
    """
    where, todo = str(path), f"name a {kind} file"
    try:
        content = yaml.load(read_text(path), Loader=_Loader)  # noqa: S506 - a safe loader, stricter
    except RecursionError as error:
        raise UserError(f"not a {kind}: it is nested too deeply", where=where, todo=todo) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"not YAML: {getattr(error, 'problem', None) or error}", where=f"{where}{line}", todo="fix it"
        ) from error
    except ValueError as error:  # PyYAML's own, of a version with thousands of digits
        raise UserError(f"not YAML: {why_unread(error)}", where=where, todo="fix it") from error
    if not isinstance(content, dict):
        raise UserError(f"not a {kind}: it holds no fields", where=where, todo=f"write {fields}")
    return content


def validated(model: type[_Model], content: dict[str, Any], *, where: str, todo: str) -> _Model:
    """Make a model of what a file holds; what does not fit is a `UserError` that names the field."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        hint = did_you_mean(field, model.model_fields) if first["type"] == "extra_forbidden" else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{field}: {message}{hint}", where=where, todo=todo) from error


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases, which can blow up, and with each key once; every fault has its line."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _fault(self.peek_event(), "aliases are not allowed")  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:  # PyYAML's own, as for the date 2001-99-99
            raise _fault(node, f"{node.value!r} cannot be read; put it in quotes") from error

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                raise _fault(key, "a key must be a text")
            if key.value in seen:
                raise _fault(key, f"the key {key.value!r} appears twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _fault(place: Any, what: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, place.start_mark)
