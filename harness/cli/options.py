"""Options that commands share."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

Plugins = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads this at run time
    typer.Option("--plugin", metavar="FILE|MODULE", help="Load this plugin too; may be given several times."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
