"""Whether an argument is of the type that its parameter is annotated with, and the words that say so."""

from __future__ import annotations

import sys
from types import NoneType, SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import Parameter

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def check(value: object, parameter: Parameter, factory: Callable[..., Any], where: str, todo: str) -> None:
    """Refuse a value that is not of its parameter's type, as strictly as pydantic refuses those of methods' options.

    Checked are bool, int, float, str, literals, None and unions of these, where the names of the annotation are known
    when the factory runs. Others are for the factory to check.

    Raises:
        UserError: It is of another type.
    """
    annotation = _resolved(parameter, factory)
    kinds = _alternatives(annotation)
    if value is parameter.default or not all(map(_plain, kinds)):  # None may be the default of any annotation
        return
    if not any(_suits(value, kind) for kind in kinds):
        if value is not None and any(_suits(str(shown(value)), kind) for kind in kinds):
            todo = f'put it in quotes: {parameter.name}="{shown(value)}"'
        raise UserError(f"{parameter.name} must be {words(annotation)}, not {shown(value)}", where=where, todo=todo)


def words(annotation: Any) -> str:
    """Say which values a type has, such as "a whole number or text"; that it has None goes without saying."""
    return " or ".join(
        "one of " + ", ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else _WORDS.get(kind, str(kind))
        for kind in _alternatives(annotation)
        if kind is not NoneType
    )


def shown(value: object) -> object:
    """Return a refused value as a message shows it: as a spec would say it, a text without quotes."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else value


def _resolved(parameter: Parameter, factory: Callable[..., Any]) -> Any:
    """The annotation as a type, or as it is written if it names what only a type checker imports."""
    holder: Any = SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        return get_type_hints(holder, globalns=vars(sys.modules[factory.__module__]))["it"]
    except Exception:  # noqa: BLE001 - evaluates a stranger's text, which may fail in any way
        return parameter.annotation


def _plain(kind: Any) -> bool:
    return kind is NoneType or get_origin(kind) is Literal or (isinstance(kind, type) and kind in _WORDS)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _suits(value: object, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(kind))  # 1 == True == 1.0
    if isinstance(value, bool):  # which Python counts as a whole number
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
