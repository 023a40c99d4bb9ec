"""How the command line is put together, and how groups show their help."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXTS = (str, list[str])


class App(typer.Typer):
    """Commands whose options are read when they are called: to read those of all takes longer than to import typer."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Register a function as `typer.Typer.command` does."""

        def register(function: Any) -> Any:
            @functools.cache
            def whole() -> Any:
                app = typer.Typer(add_completion=False, rich_markup_mode=None)
                app.command(name, cls=_Command, **settings)(function)
                return typer.main.get_command(app)

            class Unread(TyperCommand):
                def make_context(self, *arguments: Any, **keywords: Any) -> Any:
                    return whole().make_context(*arguments, **keywords)

            @functools.wraps(function, assigned=("__name__", "__doc__"))
            def unread() -> None: ...

            del unread.__wrapped__  # typer would read its options
            super(App, self).command(name, cls=Unread, **settings)(unread)
            return function

        return register


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _as_typed(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Any) -> Any:
        """Return the group's options."""
        return _as_typed(super().get_params(ctx))


def _as_typed(params: list[Any]) -> list[Any]:
    """Have flags and texts taken as they are typed, without pydantic, which takes longer to import than typer does."""
    for param in params:
        if param.default is None and getattr(param, "is_flag", False):
            param.default = False
        if param.type_descriptor.annotation in _TEXTS:
            param.get_runtime_param = _Text
    return params


class _Text:
    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002 - as typer calls it
        if param.multiple or param.nargs == -1:
            return [*(value or ())]
        return value


def show_help(context: typer.Context) -> None:
    """Show the help of a group that was called without a command: something is missing, so the status is 2."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
