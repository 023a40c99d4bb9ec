"""Fields that are computed when they are first read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_REQUIRED: Any = object()


class Lazy(Generic[T]):
    """A field of a dataclass without slots, given as a value or as a function that returns it.

    The function is called once, when the field is first read: so an `Input` that is not asked for is not hashed.

    Args:
        default: The field's default; without it, a value is required.
    """

    def __init__(self, default: T = _REQUIRED) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn the field's name."""
        self._name = name

    def __get__(self, instance: object | None, owner: type) -> T:
        """Return the value; of the class, the default, as dataclasses ask for it."""
        if instance is None:
            if self._default is _REQUIRED:
                raise AttributeError(self._name)
            return self._default
        value = instance.__dict__[self._name]
        if callable(value):
            value = instance.__dict__[self._name] = value()
        return cast("T", value)

    def __set__(self, instance: object, value: T | Callable[[], T]) -> None:
        """Keep a value, or the function that returns it."""
        instance.__dict__[self._name] = value
