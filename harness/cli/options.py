"""Options that commands share, and how names are completed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..registry import Kind

Plugins = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads this at run time
    typer.Option("--plugin", metavar="FILE|MODULE", help="Load this plugin too; may be given several times."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def named(kind: Kind) -> Callable[[str], list[str]]:
    """Complete a registered name in the shell."""

    def complete(incomplete: str) -> list[str]:
        from ..plugins import load_plugins

        return [entry.name for entry in load_plugins().registry.entries(kind) if entry.name.startswith(incomplete)]

    return complete
