"""The command ``adaptbench import``. Its work is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Plugins  # noqa: TC001 - typer reads them at run time


def import_results(
    paths: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Run directory; made if it is not there.")],
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Import results of lm-eval, lmms-eval or inspect_ai as a run.

    With the samples that the tool logged; their mean must be what the tool states. What the run holds already is left
    as it is.
    """
    from .importing import import_command

    import_command(paths, out, plugin or (), as_json=json)
