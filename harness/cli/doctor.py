"""``adaptbench doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ..errors import UserError
from ..measure import hardware
from ..plugins import load_plugins
from ..store import RunDirectory
from .output import write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def examine(runs: Sequence[Path], extra: Sequence[str], *, as_json: bool) -> None:
    """Report on the machine, the plugins and the given runs; exit status 1 if anything is wrong."""
    plugins = load_plugins(extra).loaded
    checks = {str(path): _check_run(path) for path in runs}
    broken = {plugin.name: plugin.error for plugin in plugins if plugin.error}
    if as_json:
        write_json({"machine": hardware.describe(), "broken_plugins": broken, "runs": checks})
    else:
        typer.echo("machine")
        write_columns([[key, _text(value)] for key, value in hardware.describe().items()])
        typer.echo(f"plugins: {len(plugins) - len(broken)} ok, {len(broken)} broken")
        write_columns([[name, error] for name, error in broken.items()])
        for name, problems in checks.items():
            typer.echo(f"run {name}: {'whole' if not problems else f'{len(problems)} problems'}")
            write_columns([[problem] for problem in problems])
    if broken or any(checks.values()):
        raise typer.Exit(1)


def _check_run(path: Path) -> list[str]:
    """Everything that is wrong with a run: records that are not those of the result, or cells that are not complete."""
    problems = []
    for journal in RunDirectory.existing(path).journals():
        try:
            if journal.result() is None:
                done = sum(1 for _ in journal.records())
                problems.append(
                    f"cell {journal.folder.name} is not complete: {done} records; run the same command again"
                )
            journal.check()
        except UserError as error:
            problems.append(str(error))
    return problems


def _text(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
