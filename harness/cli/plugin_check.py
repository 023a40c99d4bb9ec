"""``adaptbench plugin check``."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec

import typer

from ..conformance import check
from ..plugins import load_plugins, plugin_name
from ..progress import Lines
from ..specs import is_path
from .output import write_columns, write_json


def check_plugin(name: str, *, as_json: bool) -> None:
    """Write what the conformance kit finds; exit status 1 if a contract is not kept."""
    plugins = load_plugins()
    if name not in [plugin.name for plugin in plugins.loaded] and _can_be_loaded(name):
        plugins = load_plugins((name,), strict=False)
    findings = check(plugins, plugin_name(name), Lines(0).note)
    if as_json:
        write_json([asdict(finding) for finding in findings])
    else:
        write_columns(
            [
                ["ok" if f.ok else "FAILED", f.name if f.ok and not f.detail else f"{f.name}: {f.detail}"]
                for f in findings
            ]
        )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _can_be_loaded(name: str) -> bool:
    """Whether a name is a file's or a module's, rather than a misspelt plugin's."""
    return is_path(name) or find_spec(name.partition(".")[0]) is not None
