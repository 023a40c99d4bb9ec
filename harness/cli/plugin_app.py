"""The commands of ``adaptbench plugin``. Each command's work is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .groups import App, Group, show_help
from .options import Json, Plugins  # noqa: TC001 - typer reads them at run time

plugin_app = App(cls=Group, help="List, make and check plugins.", rich_markup_mode=None)


@plugin_app.callback(invoke_without_command=True)
def plugin_root(context: typer.Context) -> None:
    """List, make and check plugins."""
    show_help(context)


@plugin_app.command("list")
def plugin_list(plugin: Plugins = None, json: Json = False) -> None:
    """Show plugins and what they register.

    Broken plugins are shown with their traceback.
    """
    from .listing import show_plugins

    show_plugins(plugin or (), as_json=json)


@plugin_app.command("new")
def plugin_new(
    name: Annotated[str, typer.Argument(help="Name of the new package, such as my-models.")],
    folder: Annotated[Path, typer.Option("--in", help="Parent folder.")] = Path(),
    model: Annotated[bool, typer.Option("--model", help="With a model.")] = False,
    method: Annotated[bool, typer.Option("--method", help="With a method.")] = False,
    benchmark: Annotated[bool, typer.Option("--benchmark", help="With a benchmark of images and questions.")] = False,
    figure: Annotated[bool, typer.Option("--figure", help="With a figure, which is also shown on the board.")] = False,
) -> None:
    """Write a package with a model, a method, a benchmark or a figure.

    Several may be given; without any, it has a model and a benchmark. Each comes with a test, all with a README.
    """
    from .output import echo
    from .plugin_new import DEFAULT, KINDS, next_steps, write_package

    chosen = [kind for kind, wanted in zip(KINDS, (model, method, benchmark, figure), strict=True) if wanted]
    made = write_package(name, folder, chosen or DEFAULT)
    echo(f"{made}")
    echo("next:\n  " + "\n  ".join(next_steps(made)))


@plugin_app.command("check")
def plugin_check(
    name: Annotated[str, typer.Argument(help="An installed plugin, a file, or a module.")],
    json: Json = False,
) -> None:
    """Check models, methods and tasks of a plugin.

    Exit status 1 if one of them breaks its contract.
    """
    from .plugin_check import check_plugin

    check_plugin(name, as_json=json)
