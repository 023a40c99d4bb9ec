"""How groups of commands read their own flags and show their help."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class Group(TyperGroup):
    """A group whose own flags are read without pydantic, which typer imports to convert anything but True and False."""

    def get_params(self, ctx: Any) -> Any:
        """Return the group's options, their flags off instead of unset."""
        params = super().get_params(ctx)
        for param in params:
            if param.default is None and getattr(param, "is_flag", False):
                param.default = False
        return params


def show_help(context: typer.Context) -> None:
    """Show the help of a group that was called without a command: something is missing, so the status is 2."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
