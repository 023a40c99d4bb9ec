"""Reading YAML that people write: each key once, no aliases, and an error that names the line or the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from .errors import UserError
from .specs import did_you_mean

_Model = TypeVar("_Model", bound=BaseModel)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a file that holds a mapping.

    Raises:
        UserError: The file cannot be read, is not YAML, or holds something else.
    """
    where = str(path)
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506 - a safe loader, stricter
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read it: {error}", where=where, todo="name a YAML file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"not YAML: {getattr(error, 'problem', None) or error}", where=f"{where}{line}", todo="mend it"
        ) from error
    if not isinstance(content, dict):
        raise UserError("it holds no fields", where=where, todo="write one 'field: value' a line")
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
