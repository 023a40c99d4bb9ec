"""``adaptbench plugin check``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from ..conformance import check
from ..plugins import load_plugins
from .output import write_columns, write_json


def check_plugin(name: str, *, as_json: bool) -> None:
    """Write what the conformance kit finds; exit status 1 if a contract is not kept."""
    is_path = name.endswith(".py") or "/" in name
    plugins = load_plugins((name,) if is_path else ())
    findings = check(plugins, Path(name).stem if is_path else name)
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
